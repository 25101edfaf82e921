"""Every case is decided by the real path, and held to what its test says."""

from pathlib import Path

import pytest

from tests.unit.mesh.testing.suites import HEAD, POLICIES, only, problems, run


def test_whoever_is_not_listed_must_be_denied(tmp_path: Path) -> None:
    result = run(tmp_path, "tests: [{name: a, to: api, request: GET /items, allow: [web]}]")
    assert not result.failed
    assert result.passed == (
        "t.authz-test.yaml::a[web][GET /items]",
        "t.authz-test.yaml::a[anon][GET /items]",
        "t.authz-test.yaml::a[alice][GET /items]",
    )


def test_one_who_gets_through_unlisted_is_a_failure_and_so_is_one_who_does_not_though_listed(tmp_path: Path) -> None:
    result = run(tmp_path, "tests: [{name: a, to: api, request: GET /items, allow: [anon]}]")
    assert problems(result) == {
        "a[web][GET /items]": ["expected DENY, got ALLOW"],
        "a[anon][GET /items]": ["expected ALLOW, got DENY"],
    }


def test_only_those_ask_who_are_named(tmp_path: Path) -> None:
    result = run(tmp_path, "tests: [{name: a, to: api, request: GET /, from: [anon, web], allow: []}]")
    assert [name.partition("[")[2] for name in result.passed] == ["anon][GET /]", "web][GET /]"]


def test_a_matrix_is_every_combination(tmp_path: Path) -> None:
    matrix = "matrix: {method: [GET, POST], path: [/items, /items/7], host: [a, b]}"
    result = run(tmp_path, f"tests: [{{name: a, to: api, {matrix}, from: web, allow: [web]}}]")
    assert result.cases == 8
    assert set(problems(result)) == {
        f"a[web][POST {path} host={host}]" for path in ("/items", "/items/7") for host in "ab"
    }


@pytest.mark.parametrize(
    ("request_", "allowed"),
    [
        ("GET //items", True),
        ("GET /x/../items", True),
        ("GET /items/internal/../7", True),
        ("GET /items//internal", False),
    ],
)
def test_a_path_is_what_the_mesh_makes_of_it(tmp_path: Path, request_: str, allowed: bool) -> None:  # noqa: FBT001  # a row
    allow = "[web]" if allowed else "[]"
    result = run(tmp_path, f"tests: [{{name: a, to: api, request: {request_}, allow: {allow}}}]")
    assert not result.failed


def test_a_path_that_the_proxy_refuses_is_denied(tmp_path: Path) -> None:
    expect = "{verdict: deny, status: 400, reason: refused-path}"
    result = run(tmp_path, f"tests: [{{name: a, to: api, request: GET /items/%00, from: web, expect: {expect}}}]")
    assert not result.failed
    failed = only(run(tmp_path, "tests: [{name: a, to: api, request: GET /%00, from: web, allow: [web]}]"))
    assert failed.answer.headline == "DENY 400  the proxy refuses the path '/%00': it has an escaped NUL"


# Who decides ----------------------------------------------------------------------------------------------------------


def test_the_rule_that_decides_must_be_the_one_that_is_named(tmp_path: Path) -> None:
    assert not run(
        tmp_path, "tests: [{name: a, to: api, request: GET /items, allow: [web], because: shop/read#0}]"
    ).failed
    result = run(tmp_path, "tests: [{name: a, to: api, request: GET /items, allow: [web], because: shop/read#1}]")
    assert problems(result) == {"a[web][GET /items]": ["expected shop/read#1 to decide, and shop/read#0 did"]}


def test_a_rule_that_denies_is_named_for_those_who_are_denied(tmp_path: Path) -> None:
    because = "allow: [], because: shop/closed#0"
    assert not run(tmp_path, f"tests: [{{name: a, to: api, request: GET /items/internal, {because}}}]").failed
    result = run(tmp_path, f"tests: [{{name: a, to: api, request: GET /other, from: web, {because}}}]")
    assert problems(result) == {"a[web][GET /other]": ["expected shop/closed#0 to decide, and no rule did"]}


# What is expected -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expect", "problem"),
    [
        ("verdict: deny", None),
        ("verdict: allow", "expected ALLOW, got DENY"),
        ("status: 403", None),
        ("status: 401", "expected status 401, got 403"),
        ("reason: default-deny", None),
        ("reason: mtls", "expected the reason mtls, got default-deny"),
        ("nearest: shop/read#0", None),
        ("nearest: shop/read#1", "expected shop/read#1 to be the nearest rule, got shop/read#0"),
        ("missing: principals", None),
        ("missing: [principals, paths]", "expected principals, paths to be missing for shop/read#0, got principals"),
        ("missing: []", "expected nothing to be missing for shop/read#0, got principals"),
    ],
)
def test_what_is_expected_is_looked_at_key_by_key(tmp_path: Path, expect: str, problem: str | None) -> None:
    result = run(tmp_path, f"tests: [{{name: a, to: api, request: GET /items, from: anon, expect: {{{expect}}}}}]")
    assert problems(result) == ({} if problem is None else {"a[anon][GET /items]": [problem]})


@pytest.mark.parametrize(
    ("caller", "request_", "reason"),
    [
        ("web", "GET /items", "allow-rule"),
        ("anon", "GET /items", "default-deny"),
        ("web", "GET /items/internal", "deny-rule"),
        ("alice", "GET /me", "allow-rule"),
        ("forger", "GET /me", "jwt"),
        ("web", "GET /%00", "refused-path"),
    ],
)
def test_every_reason_has_its_word(tmp_path: Path, caller: str, request_: str, reason: str) -> None:
    head = f"{HEAD}  forger: {{via: anon, jwt: {{iss: https://other}}}}\n"
    test = f"tests: [{{name: a, to: api, request: {request_}, from: {caller}, expect: {{reason: {reason}}}}}]"
    assert not run(tmp_path, test, head=head).failed


def test_a_mesh_without_policies_for_a_workload_lets_everything_through(tmp_path: Path) -> None:
    head = HEAD.replace("now:", "  db: {namespace: shop, labels: {app: db}}\nnow:")
    test = "tests: [{name: a, to: db, request: GET /, expect: {verdict: allow, reason: no-policy}}]"
    assert not run(tmp_path, test, head=head).failed


# Tokens ---------------------------------------------------------------------------------------------------------------


def callers(jwt: str) -> str:
    return HEAD.replace("{iss: https://idp, sub: alice, aud: [shop], claims: {groups: [buyer]}}", jwt)


@pytest.mark.parametrize(
    ("jwt", "reason", "status"),
    [
        ("{iss: https://idp, sub: alice, aud: [shop], claims: {groups: [buyer]}}", "allow-rule", 200),
        ("{iss: https://idp, sub: alice, aud: shop, exp: 2026-01-02T00:00:00Z, claims: {groups: [a, buyer]}}", "allow-rule", 200),
        ("{iss: https://idp, sub: alice, aud: [shop], claims: {groups: [seller]}}", "default-deny", 403),
        ("{iss: https://idp, aud: [shop], claims: {groups: [buyer]}}", "default-deny", 403),
        ("{iss: https://other, sub: alice, aud: [shop], claims: {groups: [buyer]}}", "jwt", 401),
        ("{iss: https://idp, sub: alice, aud: [bank], claims: {groups: [buyer]}}", "jwt", 403),
        ("{iss: https://idp, sub: alice, aud: [shop], exp: 2025-12-31T00:00:00Z}", "jwt", 401),
        ("{iss: https://idp, sub: alice, aud: [shop], nbf: 2026-01-02T00:00:00Z}", "jwt", 401),
    ],
)  # fmt: skip
def test_a_token_is_verified_as_any_other(tmp_path: Path, jwt: str, reason: str, status: int) -> None:
    test = (
        f"tests: [{{name: a, to: api, request: GET /me, from: alice, expect: {{reason: {reason}, status: {status}}}}}]"
    )
    assert not run(tmp_path, test, head=callers(jwt)).failed


@pytest.mark.parametrize(
    "where",
    [
        "fromHeaders: [{name: X-Token, prefix: 'tok '}]",
        "fromParams: [tok]",
        "fromCookies: [tok]",
    ],
)
def test_a_token_is_put_where_its_rule_looks(tmp_path: Path, where: str) -> None:
    policies = POLICIES.replace("audiences: [shop]", f"audiences: [shop], {where}")
    test = "tests: [{name: a, to: api, request: GET /me?x=y, allow: [alice], because: shop/read#1}]"
    assert not run(tmp_path, test, policies=policies).failed


def test_a_token_is_no_good_where_no_policy_asks_for_any(tmp_path: Path) -> None:
    policies = POLICIES.split("---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication")[0]
    assert not run(tmp_path, "tests: [{name: a, to: api, request: GET /me, allow: []}]", policies=policies).failed


# mTLS, addresses, ports and TCP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "caller", "reason"),
    [("STRICT", "anon", "mtls"), ("PERMISSIVE", "anon", "default-deny"), ("STRICT", "web", "allow-rule"), ("DISABLE", "web", "default-deny")],
)  # fmt: skip
def test_mtls_is_what_the_file_says_of_the_whole_mesh(tmp_path: Path, mode: str, caller: str, reason: str) -> None:
    head = HEAD.replace("mesh: {", f"mesh: {{mtls: {mode}, ")
    test = f"tests: [{{name: a, to: api, request: GET /items, from: {caller}, expect: {{reason: {reason}}}}}]"
    assert not run(tmp_path, test, head=head).failed


def test_the_trust_domain_is_that_of_the_file(tmp_path: Path) -> None:
    head = HEAD.replace("mesh: {", "mesh: {trustDomain: td.example, ")
    policies = POLICIES.replace("cluster.local/ns", "td.example/ns")
    assert not run(
        tmp_path, "tests: [{name: a, to: api, request: GET /items, allow: [web]}]", head=head, policies=policies
    ).failed
    assert run(tmp_path, "tests: [{name: a, to: api, request: GET /items, allow: [web]}]", policies=policies).failed


FACTS = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: facts, namespace: shop}
spec:
  rules:
  - {from: [{source: {ipBlocks: [10.1.0.0/16]}}], to: [{operation: {ports: ["8080"], hosts: [api.shop]}}]}
  - {from: [{source: {remoteIpBlocks: [198.51.100.0/24]}}], to: [{operation: {ports: ["9090"]}}]}
  - {to: [{operation: {ports: ["5432"]}}], when: [{key: connection.sni, values: [db.shop]}]}
"""


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        ("request: {method: GET, path: /, host: api.shop}, from: web", 0),
        ("request: {method: GET, path: /, port: 9090, headers: {x-forwarded-for: 198.51.100.9}}, from: anon", 1),
        ("request: {method: GET, path: /, port: 9090}, from: far", 1),
        ("connection: {protocol: tcp, sni: db.shop, port: 5432}, from: anon", 2),
    ],
)
def test_the_facts_of_a_connection_get_to_the_policies(tmp_path: Path, asked: str, rule: int) -> None:
    head = f"{HEAD}  far: {{plaintext: true, remoteIp: 198.51.100.7}}\n"
    test = f"tests: [{{name: a, to: api, {asked}, allow: all, because: shop/facts#{rule}}}]"
    assert not run(tmp_path, test, head=head, policies=FACTS).failed
    assert run(tmp_path, test.replace(f"#{rule}", f"#{(rule + 1) % 3}"), head=head, policies=FACTS).failed


# External authorizers -------------------------------------------------------------------------------------------------

CUSTOM = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {action: CUSTOM, provider: {name: opa}, rules: [{}]}
"""
ASKING = HEAD.replace(
    "mesh: {",
    "mesh: {extensionProviders: [{name: opa, envoyExtAuthzGrpc: {service: opa.ops.svc.cluster.local, port: 9000}}], ",
)


def test_an_authorizer_refuses_unless_it_is_said_to_let_everything_through(tmp_path: Path) -> None:
    test = "tests: [{name: a, to: api, request: GET /, from: web, expect: {verdict: deny, reason: custom}}]"
    assert not run(tmp_path, test, head=ASKING, policies=CUSTOM).failed
    test = "tests: [{name: a, to: api, request: GET /, from: web, allow: [web], allowedBy: opa}]"
    assert not run(tmp_path, test, head=ASKING, policies=CUSTOM).failed


# Completeness ---------------------------------------------------------------------------------------------------------


def test_complete_lets_nobody_in_whom_no_test_names(tmp_path: Path) -> None:
    tests = """
tests:
- {name: a, to: api, request: GET /items, from: anon, allow: []}
- {name: b, to: api, request: GET /me, allow: [alice]}
"""
    assert not run(tmp_path, tests).failed
    result = run(tmp_path, f"{tests}complete: {{workload: api, callers: all}}\n")
    assert problems(result) == {"complete api[web][GET /items]": ["expected DENY, got ALLOW"]}
    assert result.cases == 6  # those of the tests, and web and alice for what only anon asks


def test_complete_is_about_its_callers_only(tmp_path: Path) -> None:
    tests = "tests: [{name: a, to: api, request: GET /items, from: anon, allow: []}]\ncomplete: {workload: api, callers: [alice]}"
    result = run(tmp_path, tests)
    assert (result.cases, result.failed) == (2, ())


# What a failure says --------------------------------------------------------------------------------------------------


def test_a_failure_says_what_explain_says_and_how_to_ask_again(tmp_path: Path) -> None:
    failed = only(run(tmp_path, "tests: [{name: a, to: api, request: GET /me, allow: []}]"))
    assert failed.caller == "alice (plaintext)"
    assert failed.answer.headline == "ALLOW 200  an ALLOW rule matches"
    assert failed.answer.lines[0][1].startswith("shop/read#1 (")
    assert failed.curl == 'curl --path-as-is -H "authorization: Bearer $TOKEN" http://api.shop:8080/me'
    assert failed.span.line == HEAD.count("\n") + 2


def test_no_token_is_ever_shown(tmp_path: Path) -> None:
    policies = POLICIES.replace("audiences: [shop]", "audiences: [shop], fromParams: [tok]")
    result = run(tmp_path, "tests: [{name: a, to: api, request: GET /me, allow: [], evasions: all}]", policies=policies)
    assert result.failed
    assert "eyJ" not in repr(result)
    assert any("tok=$TOKEN" in (failed.curl or "") for failed in result.failed)
