// The Workload API as grpc-js speaks it. Argument: the address of the socket. Prints one line of JSON.
const grpc = require("@grpc/grpc-js"), loader = require("@grpc/proto-loader"), {X509Certificate} = require("crypto");
const definition = loader.loadSync("ca/workload_api/workload.proto", {keepCase: true});
const Service = grpc.loadPackageDefinition(definition).SpiffeWorkloadAPI;
const client = new Service(process.argv[2], grpc.credentials.createInsecure());
const header = new grpc.Metadata();
header.add("workload.spiffe.io", "true");

const first = (method, metadata) => new Promise((resolve, reject) => {
  const call = client[method]({}, metadata);
  call.on("data", message => { resolve(message); call.cancel(); });
  call.on("error", reject);
});
const ask = (method, request) => new Promise((resolve, reject) =>
  client[method](request, header, (error, answer) => error ? reject(error) : resolve(answer)));
const code = promise => promise.then(() => 0, error => error.code);

(async () => {
  const {svids: [svid]} = await first("FetchX509SVID", header);
  const leaf = new X509Certificate(svid.x509_svid);
  const {bundles} = await first("FetchX509Bundles", header);
  const root = new X509Certificate(Object.values(bundles)[0]);
  const keys = JSON.parse(Object.values((await first("FetchJWTBundles", header)).bundles)[0]).keys;
  const {svids: [token]} = await ask("FetchJWTSVID", {audience: ["a"]});
  const validated = await ask("ValidateJWTSVID", {audience: "a", svid: token.svid});
  console.log(JSON.stringify({
    id: svid.spiffe_id,
    name: leaf.subjectAltName,
    root: root.verify(root.publicKey),
    keys: keys.length,
    validated: validated.spiffe_id,
    otherAudience: await code(ask("ValidateJWTSVID", {audience: "b", svid: token.svid})),
    withoutHeader: await code(first("FetchX509SVID", new grpc.Metadata())),
  }));
  process.exit(0);
})().catch(error => { console.error(error); process.exit(1); });
