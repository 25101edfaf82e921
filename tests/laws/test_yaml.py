"""The laws of reading YAML: it is total, places point at what they are places of, and JSON reads as itself."""

import json
from collections.abc import Iterator

from hypothesis import example, given
from hypothesis import strategies as st

from authz.model import Policy
from authz.peer_authentication import PeerAuthentication
from authz.request_authentication import RequestAuthentication
from authz.span import Span
from parser.cross_checks import check_mesh
from parser.diagnostics import render
from parser.diagnostics import to_data as diagnostic_to_data
from parser.manifests import parse_manifests
from parser.mesh_config import parse_mesh_config
from parser.yaml_nodes import MAX_DEPTH, Mapping, Node, Scalar, Sequence, parse_documents, to_data
from parser.yaml_spans import Spans, node_at

POLICY = b"""\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop, annotations: {istio.io/dry-run: "true"}}
spec:
  selector: &s
    matchLabels: {app: web}
  action: DENY
  rules:
  - from: [{source: {principals: ["cluster.local/ns/shop/sa/web"], notIpBlocks: [10.0.0.0/8]}}]
    to:
    - operation:
        methods: [GET]
        ports: ["80", '81']
        paths: ["/a/{*}", /b*]
    when:
    - key: request.headers[x-a]
      values: [b]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec: {template: {spec: {containers: [{ports: [{containerPort: 80}]}]}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio}
data:
  mesh: |
    trustDomain: a
    pathNormalization: {normalization: BASE}
---
kind: List
apiVersion: v1
items: []
"""

TOKENS = b"""\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z"}
spec:
  targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: edge}]
  jwtRules:
  - issuer: https://idp.example
    audiences: [shop]
    jwksUri: "https://idp.example/keys"
    fromHeaders: [{name: x-token, prefix: "Bearer "}]
    fromParams: [token]
    fromCookies: [session]
    forwardOriginalToken: true
    outputPayloadToHeader: x-payload
    outputClaimToHeaders: [{header: x-sub, claim: sub}]
    spaceDelimitedClaims: [roles]
    timeout: 1.5s
    presence: REQUIRED
  - {issuer: i, jwks: '{"keys": [{"kty": "RSA", "n": "AQ", "e": "AQAB"}]}'}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: istio-system}
spec: {selector: {matchLabels: {app: db}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec:
  action: CUSTOM
  provider: {name: ext}
  rules: [{to: [{operation: {hosts: [a.example], paths: ["/a*"]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: tokens, namespace: shop}
spec:
  rules:
  - from: [{source: {namespaces: [ops, "*x"], requestPrincipals: ["*"]}}]
    when: [{key: "request.auth.claims[a]", values: ["true"]}, {key: source.namespace, notValues: [b]}]
"""
SURROUNDINGS = b"""\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop, annotations: {gateway.istio.io/service-account: a}}
spec: {gatewayClassName: istio, addresses: [{type: IPAddress}], infrastructure: {labels: {a: b}}, listeners: [{port: 80}]}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {selector: {app: db}, ports: [{name: mysql, port: 3306}]}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: e}, spec: {hosts: [a.example]}}
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: db}, annotations: {inject.istio.io/templates: gateway}}
spec: {containers: [{name: istio-proxy, args: [proxy, router]}]}
---
rootNamespace: shop
defaultConfig: {gatewayTopology: {numTrustedProxies: 1}}
extensionProviders:
- {name: log, envoyFileAccessLog: {path: /dev/stdout}}
- name: ext
  envoyExtAuthzHttp:
    service: ops/authz.ops.svc.cluster.local
    port: 80
    timeout: 5s
    statusOnError: "503"
    pathPrefix: /check
    includeRequestBodyInCheck: {maxRequestBytes: 10, packAsBytes: true}
    includeRequestHeadersInCheck: [x-a, "x-*"]
    includeAdditionalHeadersInCheck: {x-b: c}
- {name: other, envoyExtAuthzGrpc: {service: a.example, port: "9191", failOpen: true}}
"""
BASES = (POLICY, TOKENS, SURROUNDINGS, TOKENS + b"---\n" + SURROUNDINGS)

FRAGMENTS = (
    b"---\n", b"...\n", b"\n", b" ", b"  ", b"\t", b"- ", b": ", b":", b"{", b"}", b"[", b"]", b",", b"'", b'"', b"|\n", b">\n", b"&a ",
    b"*a ", b"<<: *a\n", b"!!str ", b"!x ", b"!<%F7%BF%BF%BF> ", b"%YAML 1.1\n", b"#", b"? ", b"{{ x }}", b"null", b"8080", b"true", b"\0",
    b"\xff", b"\xef\xbb\xbf", b"\xc2\x85", b"\xe2\x80\xa8", b"\r", b"\r\n", b"\\u", b"~", b"=", b"kind: List\n", b"items:\n", b"spec:\n",
    b"metadata: {name: a}\n", b"kind: AuthorizationPolicy\n", b"apiVersion: security.istio.io/v1\n", b"rules:\n", b"trustDomain: a\n",
    b"kind: RequestAuthentication\n", b"kind: PeerAuthentication\n", b"kind: Gateway\n", b"jwtRules:\n", b"jwks: '{}'\n", b"1h", b"-1s", b"*/",
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A manifest with a few pieces cut out, doubled, or put in."""
    data = draw(st.sampled_from(BASES))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        piece = draw(st.sampled_from([b"", data[start:end] * 2, *FRAGMENTS]) | st.binary(max_size=3))
        data = data[:start] + piece + data[end:]
    return data


soup = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(b"".join)
anything = (
    st.binary(max_size=200)
    | soup
    | mutated()
    | st.text(max_size=100).map(lambda text: text.encode(errors="surrogatepass"))
)


def walk(node: Node) -> Iterator[Node]:
    yield node
    match node:
        case Mapping(entries=entries, keys=keys):
            yield from keys.values()
            for value in entries.values():
                yield from walk(value)
        case Sequence(items=items):
            for item in items:
                yield from walk(item)
        case Scalar():
            pass


def height(node: Node) -> int:
    match node:
        case Mapping(entries=entries):
            return 1 + max(map(height, entries.values()), default=0)
        case Sequence(items=items):
            return 1 + max(map(height, items), default=0)
        case Scalar():
            return 0


def piece(text: str, span: Span) -> str:
    """The text of a span, found by its lines and columns alone."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[span.line - 1 : span.end_line]
    lines[-1] = lines[-1][: span.end_column - 1]
    lines[0] = lines[0][span.column - 1 :]
    return "\n".join(lines)


@given(anything)
@example(b"a: !<%F7%BF%BF%BF> x\n")
@example(b"%TAG ! tag:x,2024:\n---\n!y z\n")
@example(b"\xff\xfe")
@example(b"- &a\n- *a\n")
@example(b"? - a\n  - b\n: - c\n")
def test_reading_is_total(data: bytes) -> None:
    nodes, problems = parse_documents(data, "f.yaml")
    for node in nodes:
        assert height(node) <= MAX_DEPTH
        json.dumps(to_data(node))
    for problem in problems:
        assert problem.span.line >= 1
        assert problem.span.column >= 1
        assert problem.span[1:3] <= problem.span[3:5]


@given(anything)
def test_reading_manifests_is_total_and_whatever_it_finds_can_be_shown(data: bytes) -> None:
    found = parse_manifests([("f.yaml", data), ("g.yaml", data)])
    for problem in (*found.diagnostics, *check_mesh(found, found.mesh_config)):
        shown = render(problem, found.texts.get(problem.span.file))
        assert all(character.isprintable() or character == "\n" for character in shown)
        assert shown.count("\n") <= 3
        json.dumps(diagnostic_to_data(problem))
    policies: list[Policy | RequestAuthentication | PeerAuthentication] = [*found.policies]
    for policy in [*policies, *found.request_authentications, *found.peer_authentications]:
        assert policy.namespace
        assert policy.name
        assert policy.spans[()]
    parse_mesh_config(data, "f.yaml")


FIELDS = st.sampled_from(
    ("selector", "matchLabels", "targetRef", "targetRefs", "kind", "group", "name", "namespace", "rules", "from",
     "to", "when", "source", "operation", "key", "values", "notValues", "hosts", "namespaces", "requestPrincipals",
     "ports", "action", "provider", "mtls", "mode", "portLevelMtls", "80", "jwtRules", "issuer", "audiences",
     "jwksUri", "jwks_uri", "jwks", "fromHeaders", "prefix", "fromParams", "fromCookies", "outputPayloadToHeader",
     "outputClaimToHeaders", "header", "claim", "timeout", "presence", "spaceDelimitedClaims",
     "forwardOriginalToken", "gatewayClassName", "addresses", "type", "infrastructure", "labels", "listeners",
     "port", "containers", "args", "template", "metadata", "annotations", "serviceAccountName", "appProtocol",
     "extensionProviders", "envoyExtAuthzHttp", "envoyExtAuthzGrpc", "service", "statusOnError", "failOpen",
     "pathPrefix", "includeRequestBodyInCheck", "maxRequestBytes", "includeRequestHeadersInCheck",
     "includeAdditionalHeadersInCheck", "defaultConfig", "gatewayTopology", "numTrustedProxies", "trustDomain",
     "rootNamespace", "pathNormalization")
)  # fmt: skip
WORDS = st.sampled_from(
    ("", "*", "a", "a*", "ALLOW", "CUSTOM", "STRICT", "REQUIRED", "5s", "1.5ms", "503", "/a", "https://a.example", '{"keys": []}',
     '{"keys": [{"kty": "oct", "k": "AA"}]}', "Gateway", "gateway.networking.k8s.io", "source.namespace", "request.auth.claims[a]",
     "istio-proxy", "proxy", "router", "istio", "IPAddress", "istio-waypoint", "spiffe://a")
)  # fmt: skip
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 70_000) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=25,
)
KINDS = st.sampled_from(
    (
        ("security.istio.io/v1", "AuthorizationPolicy"),
        ("security.istio.io/v1", "RequestAuthentication"),
        ("security.istio.io/v1", "PeerAuthentication"),
        ("gateway.networking.k8s.io/v1", "Gateway"),
        ("v1", "Service"),
        ("v1", "Namespace"),
        ("v1", "Pod"),
        ("networking.istio.io/v1", "ServiceEntry"),
        ("install.istio.io/v1alpha1", "IstioOperator"),
    )
)


@given(st.lists(st.tuples(KINDS, st.dictionaries(FIELDS, trees, max_size=4)), min_size=1, max_size=4))
def test_whatever_stands_in_a_field_is_read_or_refused(objects: list[tuple[tuple[str, str], object]]) -> None:
    documents = [
        {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": f"a{number}"},
            "spec": {"meshConfig": spec} if kind == "IstioOperator" else spec,
        }
        for number, ((version, kind), spec) in enumerate(objects)
    ]
    found = parse_manifests([(f"{number}.json", json.dumps(each).encode()) for number, each in enumerate(documents)])
    check_mesh(found, found.mesh_config)
    for problem in found.diagnostics:
        assert problem.help or problem.code in ("wrong-type", "unknown-field", "unknown-key")


def test_the_manifests_that_are_mutated_have_nothing_wrong_with_them() -> None:
    for base in BASES:
        found = parse_manifests([("f.yaml", base)])
        assert not found.errors, found.diagnostics


@given(mutated())
def test_every_span_points_at_the_text_of_its_value(data: bytes) -> None:
    nodes, _ = parse_documents(data, "f.yaml")
    text = data.decode(errors="replace").removeprefix("\ufeff")
    for root in nodes:
        for node in walk(root):
            written = piece(text, node.span)
            match node:
                case Scalar(plain=True, text=value) if not written.startswith(("&", "!")) and "\n" not in written:
                    assert written == value
                case Scalar(plain=False) if not written.startswith(("&", "!")):
                    assert written[0] in "'\"|>"
                case _:
                    pass
        spans = Spans.of(root)
        for path in spans:
            found = node_at(root, path)
            assert found is not None
            assert spans[path] == found.span


# Characters that YAML prints; JSON escapes of the others read the same and are tried by `ensure_ascii`.
printable = st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"], exclude_characters="\ufeff\u2028\u2029")
basic = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])


def values(characters: st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    text = st.text(characters, max_size=30)
    leaf = (
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | text
    )
    return st.recursive(
        leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=20
    )


@given(values(printable), st.sampled_from([None, 0, 2, "\t"]))
def test_json_reads_as_itself(value: object, indentation: int | str | None) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indentation)
    nodes, problems = parse_documents(text.encode(), "f.json")
    assert not problems
    (node,) = nodes
    assert to_data(node) == value
    assert json.dumps(to_data(node)) == json.dumps(value)


@given(values(basic))
def test_escaped_json_reads_as_itself(value: object) -> None:
    nodes, problems = parse_documents(json.dumps(value).encode(), "f.json")
    assert not problems
    assert to_data(nodes[0]) == value
