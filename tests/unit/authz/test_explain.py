"""What an explanation says of single rules: the lists by their names, the places they lead to, and the rule that came nearest."""

from dataclasses import replace

import pytest

from authz.attributes import Attributes, Protocol
from authz.decision import Match, Stage, Verdict
from authz.explain import ClauseReport, Explanation, RuleReport, explain
from authz.keys import Attribute
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from parser.manifests import parse_manifests

WEB = Attributes(
    identities=("spiffe://cluster.local/ns/shop/sa/web",),
    method="GET",
    path="/items/1?page=2",
    destination_port=8080,
    headers={"x-role": ("guest", "admin")},
)

DOCUMENT = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
spec:
  rules:
    - from:
        - source: {namespaces: [ops]}
        - source:
            principals: [cluster.local/ns/shop/sa/web]
            notNamespaces: [shop]
      to:
        - operation:
            methods: [GET]
            notPaths: [/admin/*]
      when:
        - key: request.headers[x-role]
          values: [buyer]
          notValues: [banned]
"""

WARD = """
policy p in shop
  allow from (
      source.namespace in [ops]
      or (source.principal in ["cluster.local/ns/shop/sa/web"] and not source.namespace in [shop])
    )
    and to request.method in [GET] and not request.path in ["/admin/*"]
    and when request.headers[x-role] in [buyer] but not in [banned]
"""


def explained(*rules: Rule, attributes: Attributes = WEB, action: Action = Action.ALLOW) -> Explanation:
    policy = Policy(namespace="shop", name="p", action=action, rules=rules)
    return explain((policy,), attributes, trust_domains=("cluster.local",))


def only_rule(explanation: Explanation) -> RuleReport:
    (rule,) = (rule for stage in explanation.stages for policy in stage.policies for rule in policy.rules)
    return rule


def clauses(rule: RuleReport) -> list[ClauseReport]:
    return [
        *(clause for part in (*rule.sources, *rule.operations) for clause in part.clauses),
        *rule.conditions,
    ]


@pytest.mark.parametrize(("name", "text"), [("p.yaml", DOCUMENT), ("p.ward", WARD)])
def test_each_list_is_reported_by_its_name_and_leads_to_its_place(name: str, text: str) -> None:
    manifests = parse_manifests([(name, text.encode())])
    (policy,) = manifests.policies
    rule = only_rule(explain((policy,), WEB, trust_domains=("cluster.local",)))
    found = [(clause.field, clause.values, clause.negated, clause.held) for clause in clauses(rule)]
    assert found == [
        ("namespaces", ("ops",), False, False),
        ("principals", ("cluster.local/ns/shop/sa/web",), False, True),
        ("notNamespaces", ("shop",), True, False),
        ("methods", ("GET",), False, True),
        ("notPaths", ("/admin/*",), True, True),
        ("request.headers[x-role]", ("buyer",), False, False),
        ("request.headers[x-role]", ("banned",), True, True),
    ]
    lines = text.split("\n")
    for clause in clauses(rule):
        span = policy.spans[clause.path]
        assert clause.values[0] in lines[span.line - 1][span.column - 1 : span.end_column - 1], clause
    for part in (*rule.sources, *rule.operations):
        assert part.path in policy.spans


def test_what_is_seen_is_what_the_attribute_reads() -> None:
    rule = only_rule(
        explained(
            Rule(
                operations=(Operation(paths=("/x",), ports=("80",)),),
                conditions=(
                    Condition(key="request.headers[x-role]", values=("a",)),
                    Condition(key="request.auth.claims[groups]", values=("a",)),
                ),
            )
        )
    )
    assert {clause.field: clause.seen for clause in clauses(rule)} == {
        "paths": ("/items/1",),
        "ports": (8080,),
        "request.headers[x-role]": ("guest", "admin"),
        "request.auth.claims[groups]": (),
    }


# What is dropped (semantics 0.5) --------------------------------------------------------------------------------------

TCP = replace(WEB, protocol=Protocol.TCP, method=None, path=None, headers={})
HTTP_ONLY = Rule(operations=(Operation(paths=("/x",), ports=("8080",)),))


def test_an_allow_rule_that_looks_at_http_is_dropped_on_tcp_and_says_why() -> None:
    explanation = explained(HTTP_ONLY, attributes=TCP)
    rule = only_rule(explanation)
    assert rule.dropped == "'/x' is only known for HTTP"
    assert not rule.held
    assert {clause.field: clause.meaningless for clause in clauses(rule)} == {"paths": ("/x",), "ports": ()}
    # Nothing in the connection could make it match.
    assert explanation.decision.verdict is Verdict.DENY
    assert explanation.nearest is None


def test_a_deny_rule_that_looks_at_http_asks_for_less_on_tcp_and_says_so() -> None:
    rule = only_rule(explained(HTTP_ONLY, attributes=TCP, action=Action.DENY))
    assert rule.dropped is None
    assert rule.held
    assert {clause.field: (clause.held, clause.meaningless) for clause in clauses(rule)} == {
        "paths": (True, ("/x",)),
        "ports": (True, ()),
    }


@pytest.mark.parametrize("action", Action)
def test_an_unknown_key_drops_the_rule_and_is_reported_though_it_reads_nothing(action: Action) -> None:
    for values in (("a",), ()):
        rule = only_rule(explained(Rule(conditions=(Condition(key="source.princpal", values=values),)), action=action))
        assert rule.dropped == "unknown key `source.princpal`"
        (clause,) = rule.conditions
        assert (clause.field, clause.attribute, clause.seen, clause.held) == ("source.princpal", None, (), False)


def test_a_key_without_its_name_drops_only_what_allows() -> None:
    rules = Rule(conditions=(Condition(key="request.headers", values=("a",), not_values=("b",)),))
    assert only_rule(explained(rules)).dropped == "key `request.headers` should have the form `name[name]`"
    rule = only_rule(explained(rules, action=Action.DENY))
    assert rule.dropped is None
    assert rule.held
    assert [clause.meaningless for clause in rule.conditions] == [("a",), ("b",)]


# The nearest miss -----------------------------------------------------------------------------------------------------

NOBODY = Rule(sources=(Source(namespaces=("nobody",)),))
FAR = Rule(sources=(Source(namespaces=("nobody",)),), operations=(Operation(methods=("PUT",), paths=("/far",)),))


def missing(explanation: Explanation) -> list[str]:
    assert explanation.nearest is not None
    return [clause.field for clause in explanation.nearest.missing]


def test_the_rule_with_the_fewest_failing_clauses_is_nearest() -> None:
    explanation = explained(FAR, NOBODY)
    assert explanation.nearest is not None
    assert explanation.nearest.match == Match("shop/p", 1)
    assert missing(explanation) == ["namespaces"]


def test_of_alternatives_the_best_counts() -> None:
    rule = Rule(
        sources=(Source(namespaces=("nobody",), ip_blocks=("10.0.0.1",)), Source(namespaces=("nobody",))),
        operations=(Operation(methods=("PUT",), paths=("/far",)), Operation(methods=("GET",))),
        conditions=(Condition(key="request.headers[x-role]", values=("buyer",)),),
    )
    assert missing(explained(rule)) == ["namespaces", "request.headers[x-role]"]


def test_of_rules_that_miss_as_much_the_one_that_would_be_reported_is_nearest() -> None:
    policies = [Policy(namespace="shop", name=name, rules=(NOBODY, NOBODY)) for name in ("b", "a")]
    nearest = explain(policies, WEB, trust_domains=("cluster.local",)).nearest
    assert nearest is not None
    assert nearest.match == Match("shop/a", 0)


def test_only_what_is_enforced_and_allows_comes_near() -> None:
    policies = [
        Policy(namespace="shop", name="dry", rules=(NOBODY,), dry_run=True),
        Policy(namespace="shop", name="deny", action=Action.DENY, rules=(NOBODY,)),
        Policy(namespace="shop", name="far", rules=(FAR,)),
    ]
    explanation = explain(policies, WEB, trust_domains=("cluster.local",))
    assert explanation.nearest is not None
    assert explanation.nearest.match.policy == "shop/far"


def test_there_is_no_nearest_where_nothing_could_match_or_something_does() -> None:
    assert explained().nearest is None
    denied = Policy(namespace="shop", name="d", action=Action.DENY, rules=(Rule(),))
    allowed = Policy(namespace="shop", name="a", rules=(Rule(),))
    assert explain((denied, allowed), WEB, trust_domains=()).nearest is None
    assert explain((denied,), WEB, trust_domains=()).nearest is None
    assert explain((allowed,), WEB, trust_domains=()).nearest is None


def test_behind_a_denial_the_nearest_is_named_too() -> None:
    denied = Policy(namespace="shop", name="d", action=Action.DENY, rules=(Rule(),))
    near = Policy(namespace="shop", name="n", rules=(NOBODY,))
    explanation = explain((denied, near), WEB, trust_domains=())
    assert explanation.decision.stage is Stage.DENY
    assert missing(explanation) == ["namespaces"]


def test_a_clause_of_a_field_reads_the_attribute_of_that_field() -> None:
    rule = only_rule(explained(Rule(sources=(Source(not_principals=("x",)),))))
    assert [clause.attribute for clause in clauses(rule)] == [Attribute("source.principal")]
