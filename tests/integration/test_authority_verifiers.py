"""What the authority issues, put before verifiers that others have written: OpenSSL, Node, Go, py-spiffe, for every kind of key."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from spiffe import X509Bundle, X509Svid

from ca.csr import read_csr
from ca.keys import KeyType
from ca.lifetimes import Settings
from ca.office import Office, now
from identity import PrivateKey, verify_x509_svid
from identity import X509Svid as OurSvid
from tests.unit.ca.offices import WEB, caller, csr, office

AUTHORITIES = {
    "p256": (KeyType.P256, KeyType.P256),
    "p384": (KeyType.P384, KeyType.P384),
    "rsa": (KeyType.RSA_2048, KeyType.RSA_2048),
    "ed25519 below p256": (KeyType.P256, KeyType.ED25519),
}
LEAVES: dict[str, Callable[[], PrivateKey]] = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}
NODE = """
const tls = require("tls"), fs = require("fs");
const own = {key: fs.readFileSync("key.pem"), cert: fs.readFileSync("svid.pem"), ca: fs.readFileSync("bundle.pem")};
const server = tls.createServer({...own, requestCert: true, rejectUnauthorized: true}, socket => {
  socket.end(JSON.stringify([socket.authorized, socket.getPeerCertificate().subjectaltname]));
});
server.listen(0, "127.0.0.1", () => {
  const client = tls.connect({...own, port: server.address().port, checkServerIdentity: () => undefined});
  let said = "";
  client.on("data", data => { said += data; });
  client.on("end", () => {
    console.log(JSON.stringify([client.authorized, client.getPeerCertificate().subjectaltname, JSON.parse(said)]));
    process.exit(0);
  });
});
"""


@pytest.fixture(scope="module", params=AUTHORITIES.items(), ids=lambda param: param[0])
def issued(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A directory with a certificate, its key and the roots, for each kind of leaf."""
    _, (root, intermediate) = request.param
    directory = tmp_path_factory.mktemp("issued")
    settings = Settings(root_key=root, intermediate_key=intermediate)
    found = {}
    with office(directory, settings=settings, at=now()) as made:
        made.entry(WEB, "unix:uid:1")
        for kind, generate in LEAVES.items():
            key = generate()
            svid = asyncio.run(certified(made.office, key))
            place = directory / kind
            place.mkdir()
            (place / "svid.pem").write_bytes(svid.chain_to_pem())
            (place / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            (place / "bundle.pem").write_bytes(made.office.signing.now().bundle.to_pem())
            assert verify_x509_svid(svid.chain, [made.office.signing.now().bundle], at=now()) == WEB
            found[kind] = place
    return found


@pytest.mark.parametrize("leaf", LEAVES)
@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_takes_it_strictly_and_for_both_sides(issued: dict[str, Path], leaf: str, purpose: str) -> None:
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "bundle.pem"]
    done = subprocess.run(
        [*command, "-untrusted", "svid.pem", "svid.pem"], cwd=issued[leaf], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("leaf", LEAVES)
def test_py_spiffe_reads_it(issued: dict[str, Path], leaf: str) -> None:
    read = X509Svid.parse((issued[leaf] / "svid.pem").read_bytes(), (issued[leaf] / "key.pem").read_bytes())
    assert str(read.spiffe_id) == str(WEB)
    bundle = X509Bundle.parse(read.spiffe_id.trust_domain, (issued[leaf] / "bundle.pem").read_bytes())
    assert len(bundle.x509_authorities) == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node on this machine")
@pytest.mark.parametrize("leaf", LEAVES)
def test_node_shakes_hands_with_it_on_both_sides(issued: dict[str, Path], leaf: str) -> None:
    done = subprocess.run(
        ["node", "-e", NODE],  # noqa: S607  # the one that is here
        cwd=issued[leaf],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    name = f"URI:{WEB}"
    assert json.loads(done.stdout) == [True, name, [True, name]]


@pytest.fixture(scope="module")
def go_handshake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built."""
    if shutil.which("go") is None:
        pytest.skip("no Go on this machine")
    directory = tmp_path_factory.mktemp("go")
    environment = {**os.environ, "GOCACHE": str(directory / "cache"), "GO111MODULE": "off", "GOFLAGS": ""}
    subprocess.run(
        ["go", "build", "-o", directory / "handshake", Path(__file__).with_name("handshake.go")],  # noqa: S607  # as above
        env=environment,
        timeout=300,
        check=True,
    )
    return directory / "handshake"


@pytest.mark.parametrize("leaf", LEAVES)
def test_go_shakes_hands_with_it_on_both_sides(issued: dict[str, Path], go_handshake: Path, leaf: str) -> None:
    done = subprocess.run([go_handshake], cwd=issued[leaf], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [str(WEB), str(WEB)]


async def certified(made: Office, key: PrivateKey) -> OurSvid:
    issued = await made.issuance.x509_svid(caller("unix:uid:1"), read_csr(csr(key)), at=now())
    return issued.svid
