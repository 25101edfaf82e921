"""What counts as covered: rules that decide, clauses that were seen to hold and not to, routes that a rule decided about."""

from pathlib import Path

import pytest

from mesh.testing.coverage import Coverage, merged
from mesh.testing.results import Result, Wanted
from tests.unit.mesh.testing.suites import HEAD, POLICIES, run

API = """
openapi: 3.0.0
servers: [{url: "https://api.example/v1"}, {url: /v2}]
paths:
  /items: {get: {}, post: {}}
  /items/{id}: {get: {}, parameters: []}
  /items/special: {get: {}}
"""


def covered(tmp_path: Path, tests: str, *, policies: str = POLICIES, head: str = HEAD) -> Coverage:
    coverage = run(tmp_path, tests, policies=policies, head=head, wanted=[Wanted.COVERAGE]).coverage
    assert coverage is not None
    return coverage


def rules(coverage: Coverage) -> dict[str, int]:
    return {f"{rule.policy}#{rule.rule}": rule.decided for rule in coverage.rules}


def clauses(coverage: Coverage) -> dict[str, str]:
    return {
        f"{clause.policy}#{clause.rule} {clause.field}": ("T" if clause.held else "-") + ("F" if clause.failed else "-")
        for clause in coverage.clauses
    }


def test_a_rule_is_covered_by_what_it_decides(tmp_path: Path) -> None:
    coverage = covered(tmp_path, "tests: [{name: a, to: api, request: GET /items, allow: [web]}]")
    assert rules(coverage) == {"shop/read#0": 1, "shop/read#1": 0, "shop/closed#0": 0}
    assert (coverage.of_rules.covered, coverage.of_rules.total) == (1, 3)
    assert {policy.policy: policy.covered for policy in coverage.policies} == {"shop/read": True, "shop/closed": False}


def test_a_clause_is_covered_where_it_held_and_where_it_did_not(tmp_path: Path) -> None:
    one = "tests: [{name: a, to: api, request: GET /items, from: web, allow: [web]}]"
    assert clauses(covered(tmp_path, one)) == {
        "shop/read#0 principals": "T-",
        "shop/read#0 methods": "T-",
        "shop/read#0 paths": "T-",
        "shop/read#1 requestPrincipals": "-F",
        "shop/read#1 paths": "-F",
        "shop/read#1 request.auth.claims[groups]": "-F",
        "shop/closed#0 paths": "-F",
    }
    more = "tests: [{name: a, to: api, matrix: {method: [GET, POST], path: [/items, /me]}, expect: {status: 200}}]"
    assert clauses(covered(tmp_path, more)) == {
        "shop/read#0 principals": "TF",
        "shop/read#0 methods": "TF",
        "shop/read#0 paths": "TF",
        "shop/read#1 requestPrincipals": "TF",
        "shop/read#1 paths": "TF",
        "shop/read#1 request.auth.claims[groups]": "TF",
        "shop/closed#0 paths": "-F",
    }


def test_what_a_denial_keeps_a_request_from_is_not_covered_by_it(tmp_path: Path) -> None:
    denied = "tests: [{name: a, to: api, request: GET /items/internal, from: web, allow: []}]"
    found = clauses(covered(tmp_path, denied))
    assert found["shop/closed#0 paths"] == "T-"
    assert found["shop/read#0 principals"] == "--"


def test_a_request_that_comes_to_no_policy_covers_none(tmp_path: Path) -> None:
    head = HEAD.replace("mesh: {", "mesh: {mtls: STRICT, ")
    coverage = covered(tmp_path, "tests: [{name: a, to: api, request: GET /items, from: anon, allow: []}]", head=head)
    assert set(clauses(coverage).values()) == {"--"}


def test_what_applies_to_no_workload_of_the_tests_does_not_count(tmp_path: Path) -> None:
    other = POLICIES.replace("name: closed", "name: other").replace("{app: api}", "{app: other}", 2)
    coverage = covered(tmp_path, "tests: [{name: a, to: api, request: GET /, allow: []}]", policies=other)
    assert "shop/other" not in {policy.policy for policy in coverage.policies}


def test_one_that_allows_nothing_is_covered_where_it_is_why(tmp_path: Path) -> None:
    nothing = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: none, namespace: shop}\nspec: {}\n"
    coverage = covered(tmp_path, "tests: [{name: a, to: api, request: GET /, allow: []}]", policies=nothing)
    assert [(policy.policy, policy.covered) for policy in coverage.policies] == [("shop/none", True)]


@pytest.mark.parametrize("action", ["AUDIT", "DENY"])
def test_audits_and_dry_runs_are_covered_by_what_they_would_decide(tmp_path: Path, action: str) -> None:
    dry = ", annotations: {istio.io/dry-run: 'true'}" if action == "DENY" else ""
    policies = f"""
    apiVersion: security.istio.io/v1
    kind: AuthorizationPolicy
    metadata: {{name: see, namespace: shop{dry}}}
    spec:
      action: {action}
      rules: [{{to: [{{operation: {{methods: [GET]}}}}]}}, {{to: [{{operation: {{methods: [PUT]}}}}]}}]
    """
    coverage = covered(
        tmp_path, "tests: [{name: a, to: api, request: GET /, from: web, allow: all}]", policies=policies
    )
    assert rules(coverage) == {"shop/see#0": 1, "shop/see#1": 0}
    assert set(clauses(coverage).values()) == {"T-", "-F"}


def test_one_whose_authorizer_is_asked_is_covered(tmp_path: Path) -> None:
    policies = """
    apiVersion: security.istio.io/v1
    kind: AuthorizationPolicy
    metadata: {name: ask, namespace: shop}
    spec: {action: CUSTOM, provider: {name: opa}, rules: [{}]}
    """
    asking = "extensionProviders: [{name: opa, envoyExtAuthzGrpc: {service: opa.ops.svc.cluster.local, port: 9000}}]"
    head = HEAD.replace("mesh: {", f"mesh: {{{asking}, ")
    test = "tests: [{name: a, to: api, request: GET /, from: web, allow: all, allowedBy: opa}]"
    assert rules(covered(tmp_path, test, policies=policies, head=head)) == {"shop/ask#0": 1}


# Routes ---------------------------------------------------------------------------------------------------------------


def routes(tmp_path: Path, paths: str) -> dict[str, int]:
    (tmp_path / "api.yaml").write_text(API)
    policies = """
    apiVersion: security.istio.io/v1
    kind: AuthorizationPolicy
    metadata: {name: all, namespace: shop}
    spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}
    """
    tests = (
        f"tests: [{{name: a, to: api, matrix: {{method: [GET, POST], path: {paths}}}, from: web, expect: {{status: 200}}}}]\n"
        "coverage: {routes: {openapi: api.yaml}}"
    )
    coverage = covered(tmp_path, tests, policies=policies)
    return {f"{cover.route.method} {cover.route.template}": cover.decided for cover in coverage.routes}


def test_a_route_is_covered_where_a_rule_decided_about_it(tmp_path: Path) -> None:
    found = routes(tmp_path, '["/v1/items?page=2", /v1//items, /v1/items/7, /v1/items/special, /v2/items/7/8, /items]')
    assert found == {
        "GET /v1/items": 2,
        "GET /v2/items": 0,
        "POST /v1/items": 0,  # asked for, and denied for want of a rule
        "POST /v2/items": 0,
        "GET /v1/items/{id}": 1,
        "GET /v2/items/{id}": 0,
        "GET /v1/items/special": 1,
        "GET /v2/items/special": 0,
    }


# Gates ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "shortfalls"),
    [
        ("{rules: 33}", ()),
        ("{rules: 34}", ("33.3 % of the rules are covered, and 34 % are demanded",)),
        ("{policies: 50, conditions: 50}", ()),
        ("{policies: 50.5, conditions: 51}", ("50.0 % of the policies are covered, and 50.5 % are demanded", "50.0 % of the conditions are covered, and 51 % are demanded")),
    ],
)  # fmt: skip
def test_a_gate_says_what_is_covered_too_little(tmp_path: Path, gate: str, shortfalls: tuple[str, ...]) -> None:
    tests = f"tests: [{{name: a, to: api, request: GET /items, from: web, allow: [web]}}]\ncoverage: {gate}"
    assert run(tmp_path, tests, wanted=()).shortfalls == shortfalls


def test_several_files_cover_together_what_each_covers_in_part(tmp_path: Path) -> None:
    def one(request: str) -> Result:
        tests = f"tests: [{{name: a, to: api, request: {request}, from: web, expect: {{status: 200}}}}]"
        return run(tmp_path, tests, wanted=[Wanted.COVERAGE])

    results = [one("GET /items"), one("POST /items"), one("GET /items/internal")]
    coverage = merged([result.coverage for result in results if result.coverage is not None])
    assert rules(coverage) == {"shop/read#0": 1, "shop/read#1": 0, "shop/closed#0": 1}
    assert clauses(coverage)["shop/read#0 methods"] == "TF"
    assert clauses(coverage)["shop/closed#0 paths"] == "TF"
