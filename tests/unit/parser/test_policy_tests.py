"""Files of policy tests are read as they are meant, and whatever is wrong with one is said with its place and a remedy."""

import json
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.attributes import Protocol
from authz.decision import Verdict
from authz.mesh_config import MeshConfig, PathNormalization
from authz.peer_authentication import MtlsMode
from authz.workload import ServiceRef
from parser.diagnostics import PolicySyntaxError, render
from parser.policy_tests import MAX_REQUESTS, PolicyTests, parse_policy_tests
from parser.yaml_nodes import parse_documents, to_data
from tests.unit.parser.documents import marked

FULL = """
policies: [../a.yaml, b]
mesh:
  trustDomain: td.example
  trustDomainAliases: [old.example]
  rootNamespace: root
  pathNormalization: MERGE_SLASHES
  defaultConfig: {gatewayTopology: {numTrustedProxies: 2}}
  istiodEnv: {ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY: false}
  target: istio-1.29
  mtls: STRICT
workloads:
  api: {namespace: shop, labels: {app: api}, serviceAccount: api, port: 8080, ip: 10.0.0.9, service: shop/api}
callers:
  web: &web {serviceAccount: shop/web, ip: 10.1.2.3}
  ops: {spiffe: spiffe://td.example/ns/ops/sa/admin, ip: "2001:DB8::1", remoteIp: 198.51.100.7}
  anon: {plaintext: true}
  alice: {via: web, jwt: {iss: https://idp, sub: alice, aud: [shop], exp: 2026-01-01T00:00:00Z, nbf: 7, claims: {groups: [buyer], level: 1}}}
  twin: *web
  far: {via: alice, ip: 10.9.9.9, jwt: {aud: shop}}
now: 2026-01-01T00:00:00+01:00
tests:
- name: short
  to: api
  request: GET /api/items?page=2
  allow: [alice, ops]
  because: shop/allow#3
- name: matrix
  to: api
  request: {host: api.shop, port: 9090, headers: {X-A: [a, b], x-n: ""}}
  matrix: {method: [GET, POST], path: [/a, /b]}
  from: [web, anon]
  allow: all
  evasions: [slash-twice, query]
  allowedBy: opa
- name: expected
  to: shop/db
  connection: {protocol: tcp, sni: db.shop, port: 5432}
  from: anon
  expect: {verdict: deny, status: 403, reason: default-deny, nearest: shop/allow#0, missing: [requestPrincipals, 'request.headers[x]']}
  evasions: {except: query}
- name: recorded
  to: api
  log: monday.ndjson.gz
  expect: {newly_denied: 3}
complete: {workload: api, callers: all}
coverage: {policies: 10, rules: 100, conditions: 90.5, routes: {openapi: api.yaml, min: 95}}
"""


def read(text: str) -> PolicyTests:
    return parse_policy_tests(text.encode(), "t.authz-test.yaml")


def test_every_key_is_read() -> None:
    tests = read(FULL)
    assert [written.text for written in tests.policies] == ["../a.yaml", "b"]
    assert tests.mesh.over(MeshConfig()) == MeshConfig(
        trust_domain="td.example",
        trust_domain_aliases=("old.example",),
        root_namespace="root",
        path_normalization=PathNormalization.MERGE_SLASHES,
        trusted_proxies=2,
        selectors_on_gateways=False,
    )
    assert tests.mesh.mtls is MtlsMode.STRICT
    assert tests.now == 1767222000
    api = tests.workloads["api"]
    assert (api.workload.id, dict(api.workload.labels), api.workload.service_account) == (
        "shop/api",
        {"app": "api"},
        "api",
    )
    assert (api.port, api.workload.addresses, api.service) == (
        8080,
        ("10.0.0.9",),
        ServiceRef(namespace="shop", name="api"),
    )
    assert tests.complete[0].workload.text == "api"
    assert tests.complete[0].callers == tuple(tests.callers)
    assert tests.coverage is not None
    assert (tests.coverage.policies, tests.coverage.rules, tests.coverage.conditions) == (10, 100, 90.5)
    assert tests.coverage.routes is not None
    assert (tests.coverage.routes.openapi.text, tests.coverage.routes.minimum) == ("api.yaml", 95)


def test_callers_say_who_they_are_and_what_they_show() -> None:
    callers = read(FULL).callers
    assert callers["web"].service_account == ("shop", "web")
    assert callers["web"].address == ip_address("10.1.2.3")
    assert callers["ops"].spiffe == "spiffe://td.example/ns/ops/sa/admin"
    assert (callers["ops"].address, callers["ops"].remote_address) == (
        ip_address("2001:db8::1"),
        ip_address("198.51.100.7"),
    )
    assert (callers["anon"].service_account, callers["anon"].spiffe, callers["anon"].token) == (None, None, None)
    assert callers["twin"].service_account == ("shop", "web")


def test_a_caller_comes_by_the_connection_of_another_and_with_its_own_token() -> None:
    alice, far = read(FULL).callers["alice"], read(FULL).callers["far"]
    assert (alice.service_account, alice.address) == (("shop", "web"), ip_address("10.1.2.3"))
    assert alice.token is not None
    assert alice.token.payload == {
        "iss": "https://idp",
        "sub": "alice",
        "aud": ["shop"],
        "exp": 1767225600,
        "nbf": 7,
        "groups": ["buyer"],
        "level": 1,
    }
    assert (far.service_account, far.address) == (("shop", "web"), ip_address("10.9.9.9"))
    assert far.token is not None
    assert far.token.payload == {"aud": "shop"}


def test_tests_say_who_asks_for_what_and_what_must_come_of_it() -> None:
    short, matrix, expected, recorded = read(FULL).tests
    assert (short.to.text, [request.label for request in short.requests]) == ("api", ["GET /api/items?page=2"])
    assert (short.callers, short.allow) == (tuple(read(FULL).callers), frozenset({"alice", "ops"}))
    assert str(short.because) == "shop/allow#3"
    assert [request.label for request in matrix.requests] == [
        f"{method} {path} host=api.shop x-a=a,b x-n= port=9090" for method in ("GET", "POST") for path in ("/a", "/b")
    ]
    assert matrix.requests[0].headers == {"x-a": ("a", "b"), "x-n": ("",)}
    assert (matrix.callers, matrix.allow) == (("web", "anon"), frozenset({"web", "anon"}))
    assert [kind.text for kind in matrix.evasions] == ["slash-twice", "query"]
    assert [provider.text for provider in matrix.allowed_by] == ["opa"]
    assert expected.requests[0].protocol is Protocol.TCP
    assert expected.requests[0].label == "TCP port=5432 sni=db.shop"
    assert expected.expect is not None
    assert (expected.expect.verdict, expected.expect.status, expected.expect.reason) == (
        Verdict.DENY,
        403,
        "default-deny",
    )
    assert (str(expected.expect.nearest), expected.expect.missing) == (
        "shop/allow#0",
        ("requestPrincipals", "request.headers[x]"),
    )
    assert ([kind.text for kind in expected.evasions], [kind.text for kind in expected.spared]) == (["all"], ["query"])
    assert recorded.log is not None
    assert (recorded.log.path.text, recorded.log.newly_denied, recorded.log.newly_allowed) == ("monday.ndjson.gz", 3, 0)


def test_a_secret_is_no_part_of_the_name_of_a_case() -> None:
    text = SMALL.replace(
        "request: GET /", "request: {method: GET, path: /, headers: {Authorization: hush, cookie: hush, x: z}}"
    )
    (request,) = read(text).tests[0].requests
    assert "hush" not in request.label
    assert "x=z" in request.label


def test_requests_that_say_the_same_are_known_for_the_same() -> None:
    first = read(SMALL).tests[0].requests[0]
    again = read(SMALL.replace("request: GET /", "request: {method: GET, path: /}")).tests[0].requests[0]
    other = (
        read(SMALL.replace("request: GET /", "request: {method: GET, path: /, headers: {x: z}}")).tests[0].requests[0]
    )
    assert first.key == again.key
    assert first.key != other.key


SMALL = """\
policies: a.yaml
callers:
  web: {serviceAccount: shop/web}
  anon: {plaintext: true}
tests:
- name: one
  to: api
  request: GET /
  allow: []
"""
# What is put in place of what, what is said of it, the text that it is said of, and what to do.
WRONG = [
    ("policies:", "polices:", "unknown-field", "unknown field `polices` in `the file`", "polices", "did you mean `policies`?"),
    ("policies: a.yaml\n", "", "bad-test", "`policies` is missing", None, "name the manifests: `policies: [../policies]`"),
    ("policies: a.yaml", "policies: {a: b}", "wrong-type", "expected a list in `policies`, got a mapping", "{a: b}", "begin each entry with `- `"),
    ("to: api", "too: api", "unknown-field", "unknown field `too` in `tests`", "too", "did you mean `to`?"),
    ("{plaintext: true}", "{plantext: true}", "unknown-field", "unknown field `plantext` in `callers.anon`", "plantext", "did you mean `plaintext`?"),
    ("{plaintext: true}", "{}", "bad-test", "caller `anon` does not say who it is", "{}", "give one of `serviceAccount`, `spiffe`, `via` (as another caller does) and `plaintext: true`"),
    ("{plaintext: true}", "{plaintext: false}", "bad-test", "caller `anon` does not say who it is", "{plaintext: false}", "give one of `serviceAccount`, `spiffe`, `via` (as another caller does) and `plaintext: true`"),
    ("{plaintext: true}", "{plaintext: true, via: web}", "bad-test", "caller `anon` says by `plaintext` and `via` who it is", "{plaintext: true, via: web}", "give one of `serviceAccount`, `spiffe`, `via` (as another caller does) and `plaintext: true`"),
    ("{plaintext: true}", "{via: wb}", "unknown-name", "there is no caller `wb`", "wb", "did you mean `web`?"),
    ("{plaintext: true}", "{via: anon}", "bad-test", "caller `anon` comes by itself", "anon", "end with a caller that says who it is"),
    ("{plaintext: true}", "{spiffe: shop/web}", "bad-test", "invalid SPIFFE ID 'shop/web': scheme is missing or is not `spiffe://`", "shop/web", "write `spiffe://trust-domain/ns/…/sa/…`"),
    ("{plaintext: true}", "{plaintext: true, ip: 10.0.0.256}", "bad-test", "'10.0.0.256' is not an IP address", "10.0.0.256", None),
    ("{plaintext: true}", "{plaintext: true, jwt: {isss: a}}", "unknown-field", "unknown field `isss` in `jwt`", "isss", "did you mean `iss`?"),
    ("{plaintext: true}", "{plaintext: true, jwt: {claims: {sub: a}}}", "bad-test", "`sub` does not belong in `claims`", "a}", "write `sub` beside `claims`"),
    ("{plaintext: true}", "{plaintext: true, jwt: {exp: 7}}", "bad-test", "the token of `anon` is for some time, and `now` is missing", "{exp: 7}", "say when the tests happen: `now: 2026-01-01T00:00:00Z`"),
    ("{plaintext: true}", "{plaintext: true, jwt: {iat: soon}}", "bad-test", "`iat` is no time: the string `soon`", "soon", "write one like 2026-01-31T12:00:00Z"),
    ("shop/web", "web", "bad-test", "`web` in `serviceAccount` is not `namespace/name`", "web", "write both, with a slash between them"),
    ("anon:", "all:", "bad-test", "no caller can be named `all`", "{plaintext: true}", "it is the word for all of them; choose another"),
    ("policies: a.yaml", "policies: a.yaml\nnow: then", "bad-test", "`now` is no time: the string `then`", "then", "write one like 2026-01-31T12:00:00Z"),
    ("policies: a.yaml", "policies: a.yaml\nmesh: {trustDomian: a}", "unknown-field", "unknown field `trustDomian` in `mesh`", "trustDomian", "did you mean `trustDomain`?"),
    ("policies: a.yaml", "policies: a.yaml\nmesh: {pathNormalization: MERGE}", "unknown-value", "unknown value `MERGE` of `pathNormalization`", "MERGE", "write one of NONE, BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES"),
    ("policies: a.yaml", "policies: a.yaml\nmesh: {target: istio-1.20}", "unknown-release", "nothing here decides as `istio-1.20` does", "istio-1.20", "write one of istio-1.29, istio-1.30, istio-1.31, istio-1.32"),
    ("policies: a.yaml", "policies: a.yaml\nmesh: {mtls: STRCT}", "unknown-value", "unknown value `STRCT` of `mtls`", "STRCT", "did you mean `STRICT`?"),
    ("policies: a.yaml", "policies: a.yaml\nmesh: {istiodEnv: {A: true}}", "unknown-field", "unknown field `A` in `istiodEnv`", "A", "known here: `PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS`, `ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY`"),
    ("policies: a.yaml", "policies: a.yaml\nworkloads: {api: {labels: {a: b}}}", "bad-test", "workload `api` has no `namespace`", "{labels: {a: b}}", "say in which namespace it is"),
    ("policies: a.yaml", "policies: a.yaml\nworkloads: {shop/api: {namespace: a}}", "bad-test", "`shop/api` is no short name", "{namespace: a}", "a name with a slash is of a workload in the manifests"),
    ("policies: a.yaml", "policies: a.yaml\nworkloads: {api: {namespace: a, port: 0}}", "bad-test", "0 is not a port", "0", "write a number from 1 to 65535"),
    ("policies: a.yaml", "policies: a.yaml\nworkloads: {api: {namespace: a, ports: 1}}", "unknown-field", "unknown field `ports` in `workloads.api`", "ports", "did you mean `port`?"),
    ("name: one", "nam: one", "unknown-field", "unknown field `nam` in `tests`", "nam", "did you mean `name`?"),
    ("- name: one\n  to: api", "- to: api", "bad-test", "this test has no `name`", None, "give it one: failures are reported under it"),
    ("  to: api\n", "", "bad-test", "this test has no `to`", None, "say which workload is asked"),
    ("  request: GET /\n", "", "bad-test", "this test has no request", None, "write `request: GET /path`, or a `matrix`"),
    ("request: GET /", "request: GET", "bad-test", "'GET' is not `METHOD /path`", "GET", None),
    ("request: GET /", "request: {method: GET}", "bad-test", "this test has no `path` in its request", None, "write `request: GET /path`, or a `matrix`"),
    ("request: GET /", "request: {methd: GET, path: /}", "unknown-field", "unknown field `methd` in `request`", "methd", "did you mean `method`?"),
    ("request: GET /", "request: {method: GET, path: /, headers: {host: a}}", "bad-test", "`host` is no header here", "a}", "method, path, host and scheme stand beside `headers`, under their own names"),
    ("request: GET /", "request: {method: GET, path: /, headers: {x: 7}}", "bad-test", "expected text, got the number 7", "7", 'quote it: "7"'),
    ("request: GET /", "request: {method: GET, path: /, port: http}", "wrong-type", "expected a number in `port`, got the string `http`", "http", None),
    ("request: GET /", "matrix: {method: [GET], path: []}", "bad-test", "`path` has no values", "[]", "list at least one, or drop it from `matrix`"),
    ("request: GET /", "matrix: {}", "bad-test", "this matrix varies nothing", "{}", "give it lists, such as `method` and `path`"),
    ("request: GET /", "matrix: {method: GET, path: [/]}", "wrong-type", "expected a list in `method`, got the string `GET`", "GET", 'write it as a list: ["GET"]'),
    ("request: GET /", "matrix: {verb: [GET]}", "unknown-field", "unknown field `verb` in `matrix`", "verb", "known here: `method`, `path`, `host`, `scheme`, `headers`, `port`"),
    ("request: GET /", "connection: {protocol: tcp}\n  request: GET /", "bad-test", "a TCP connection has no request", "request", "drop it, or drop `protocol: tcp`"),
    ("request: GET /", "connection: {protocol: udp}", "unknown-value", "unknown value `udp` of `protocol`", "udp", "write one of http, tcp"),
    ("allow: []", "alow: []", "unknown-field", "unknown field `alow` in `tests`", "alow", "did you mean `allow`?"),
    ("  allow: []\n", "", "bad-test", "neither `allow` nor `expect` says what must come of this test", None, "write `allow: []` if nobody may"),
    ("allow: []", "allow: []\n  expect: {status: 403}", "bad-test", "both `allow` and `expect` say what must come of this test", None, "keep one of them"),
    ("allow: []", "allow: [wbe]", "unknown-name", "there is no caller `wbe`", "wbe", "did you mean `web`?"),
    ("allow: []", "from: web\n  allow: [anon]", "bad-test", "caller `anon` does not ask in this test", "anon", "add it to `from`, or drop it here"),
    ("allow: []", "from: []\n  allow: []", "bad-test", "there are no callers for this test", "[]", "name them, or leave `from` out for all"),
    ("allow: []", "allow: []\n  because: shop/a", "bad-test", "`shop/a` in `because` names no rule", "shop/a", "write `namespace/name#0` for the first rule of that policy"),
    ("allow: []", "expect: {}", "bad-test", "this expects nothing", "{}", "give at least one of `verdict`, `status`, `reason`, `nearest`, `missing`"),
    ("allow: []", "expect: {verdict: denied}", "unknown-value", "unknown value `denied` of `verdict`", "denied", "did you mean `deny`?"),
    ("allow: []", "expect: {reason: default}", "unknown-value", "unknown value `default` of `reason`", "default", "did you mean `default-deny`?"),
    ("allow: []", 'expect: {status: "403"}', "wrong-type", "expected a number in `status`, got the string `403`", '"403"', "remove the quotes"),
    ("allow: []", "allow: []\n  evasions: {but: query}", "unknown-field", "unknown field `but` in `evasions`", "but", "known here: `except`"),
    ("  request: GET /\n  allow: []", "  log: a.json\n  expect: changed", "unknown-value", "unknown value `changed` of `expect`", "changed", "did you mean `unchanged`?"),
    ("  request: GET /\n  allow: []", "  log: a.json", "bad-test", "this test does not say what may become of the traffic", None, "write `expect: unchanged`"),
    ("  allow: []", "  log: a.json\n  expect: unchanged", "bad-test", "`request` has no meaning for recorded traffic", "request", "remove it, or `log`"),
    ("  allow: []\n", "  allow: []\ncomplete: {callers: all}\n", "bad-test", "`complete` has no `workload`", "{callers: all}", "say of which workload the tests tell all"),
    ("  allow: []\n", "  allow: []\ncoverage: {rules: 101}\n", "bad-test", "`rules` is no percentage: the number 101", "101", "write a number from 0 to 100"),
    ("  allow: []\n", "  allow: []\ncoverage: {routes: {min: 5}}\n", "bad-test", "`routes` has no `openapi`", "{min: 5}", "name the OpenAPI document"),
    ("  allow: []\n", "  allow: []\n- {name: one, to: api, request: GET /, allow: []}\n", "bad-test", "there is a test `one` before this", "one,", "give each its own name"),
]  # fmt: skip


@pytest.mark.parametrize("case", WRONG, ids=[case[1] for case in WRONG])
def test_what_is_wrong_is_said_with_its_place_and_a_remedy(
    case: tuple[str, str, str, str, str | None, str | None],
) -> None:
    old, new, code, message, text, remedy = case
    assert old in SMALL
    written = SMALL.replace(old, new, 1)
    with pytest.raises(PolicySyntaxError) as caught:
        read(written)
    problem = caught.value.diagnostics[0]
    assert (problem.code, problem.message, problem.help) == (code, message, remedy)
    if text is not None:
        assert text.startswith(marked(written, problem))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no document in this file"),
        (f"{SMALL}---\n{SMALL}", "more than one document in this file"),
        ("- a\n", "expected a mapping in `the file`, got a list"),
        ("policies: a\ncallers: {a: {plaintext: true}}\ntests: []\n", "there are no tests"),
        ("policies: a\ncallers: {a: {plaintext: true}}\n", "there are no tests"),
        ("policies: a\ntests: [{name: a, to: b, request: GET /, allow: []}]\n", "there are no callers for this test"),
        ("policies: [\n", "expected a value"),
    ],
)
def test_a_file_that_tests_nothing_is_an_error(text: str, message: str) -> None:
    with pytest.raises(PolicySyntaxError) as caught:
        read(text)
    assert message in [problem.message for problem in caught.value.diagnostics]


def test_all_that_is_wrong_is_said_at_once() -> None:
    text = SMALL.replace("to: api", "too: api").replace("plaintext", "plain").replace("GET /", "GET")
    with pytest.raises(PolicySyntaxError) as caught:
        read(text)
    assert [problem.code for problem in caught.value.diagnostics] == ["unknown-field", "unknown-field", "bad-test"]


def test_a_matrix_has_its_limit() -> None:
    axis = "[" + ", ".join(f"/{number}" for number in range(2000)) + "]"
    hosts = axis.replace("/", "h")
    text = SMALL.replace("request: GET /", f"matrix: {{method: [GET], path: {axis}, host: {hosts}}}")
    with pytest.raises(PolicySyntaxError, match=f"the matrix comes to {2000 * 2000:,} requests"):
        read(text)
    assert MAX_REQUESTS < 2000 * 2000


def test_a_yaml_anchor_saves_writing() -> None:
    text = (
        SMALL.replace("allow: []", "allow: &who [web]").replace("request: GET /", "request: GET /\n  from: all")
        + "- {name: two, to: api, request: GET /, allow: *who}\n"
    )
    assert [test.allow for test in read(text).tests] == [frozenset({"web"})] * 2


def paths_in(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths_in(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths_in(inner, (*path, index))


WHOLE: Any = to_data(parse_documents(FULL.encode(), "f")[0][0])
PATHS = list(paths_in(WHOLE))[1:]
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 7, -1, 7.5, "", "all", "web", "x/y", "a#1", [], {}, [None], [[]], {"a": None}, {"via": "alice"}]
)


@given(st.lists(st.tuples(st.sampled_from(PATHS), ODD), min_size=1, max_size=3))
def test_whatever_stands_where_something_else_should_is_read_or_said(
    changes: list[tuple[tuple[str | int, ...], Any]],
) -> None:
    data = json.loads(json.dumps(WHOLE))
    for path, odd in changes:
        inner = data
        try:
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = odd
        except (TypeError, KeyError, IndexError):
            continue
    try:
        whole = bool(read(json.dumps(data)).tests)
    except PolicySyntaxError as error:
        whole = all(render(problem, None) for problem in error.diagnostics)
    assert whole
