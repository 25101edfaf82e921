"""The reference, where the vectors have no words: what no parser lets through, several names in a certificate, metadata."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from authz.attributes import Attributes, Protocol
from authz.decision import Decision, Match, Shadow, Stage, Verdict, rule_id, rule_order
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.semantics import decide
from authz.tree import compile_policies

TRUST_DOMAINS = ("cluster.local",)
ACTIONS = (Action.ALLOW, Action.DENY, Action.AUDIT, Action.CUSTOM)


def decided(policies: Sequence[Policy], attributes: Attributes) -> Decision:
    """By the reference and by the tree."""
    decision = decide(policies, attributes, trust_domains=TRUST_DOMAINS)
    assert compile_policies(policies, trust_domains=TRUST_DOMAINS).decide(attributes) == decision
    return decision


def holds(rule: Rule, attributes: Attributes, action: Action = Action.ALLOW) -> bool:
    """Whether the rule matches, under a policy of that action."""
    decision = decided([Policy(namespace="shop", name="p", action=action, rules=(rule,))], attributes)
    return decision.audit if action is Action.AUDIT else decision.match is not None


def when(key: str, *values: str, no: tuple[str, ...] = ()) -> Rule:
    return Rule(conditions=(Condition(key=key, values=values, not_values=no),))


# 0.5: what cannot be expressed -----------------------------------------------------------------------------------------

NOBODY = Attributes()


@pytest.mark.parametrize("action", ACTIONS)
def test_an_unknown_key_drops_the_rule_under_every_action(action: Action) -> None:
    for key in ("destination.labels[version]", "request.path", "source.princpal", ""):
        assert not holds(when(key, "x"), NOBODY, action)
        assert not holds(when(key, no=("x",)), NOBODY, action)


UNSUPPORTED = [
    ("source.ip", "10.0.0.300", "10.0.0.1"),
    ("remote.ip", "x", "10.0.0.1"),
    ("destination.ip", "10.0.0.0/33", "10.0.0.1"),
    ("destination.port", "http", "80"),
    ("source.serviceAccount", "a/b/c", "a/b"),
]


@pytest.mark.parametrize(("key", "bad", "good"), UNSUPPORTED)
@pytest.mark.parametrize("action", ACTIONS)
def test_a_value_that_means_nothing_drops_an_allow_rule_and_only_itself_from_the_others(
    action: Action, key: str, bad: str, good: str
) -> None:
    wider = action is not Action.ALLOW
    # Alone: an emptied list asks for nothing.
    assert holds(when(key, bad), NOBODY, action) is wider
    assert holds(when(key, no=(bad,)), NOBODY, action) is wider
    # Beside another: the list shrinks, and what is left is asked.
    assert not holds(when(key, bad, good), NOBODY, action)
    assert holds(when(key, no=(bad, good)), NOBODY, action) is wider
    # The rule goes as a whole, with the parts that would have matched.
    assert holds(replace(when(key, bad), operations=(Operation(), Operation())), NOBODY, action) is wider


@pytest.mark.parametrize(
    "key", ["request.headersfoo[x]", "request.headers", "request.auth.claims", "experimental.envoy.filters.a"]
)
@pytest.mark.parametrize("action", ACTIONS)
def test_a_key_without_its_brackets_drops_an_allow_rule_and_only_itself_from_the_others(
    action: Action, key: str
) -> None:
    wider = action is not Action.ALLOW
    assert holds(when(key, "x"), NOBODY, action) is wider
    assert holds(when(key, no=("x",)), NOBODY, action) is wider
    unmet = Condition(key="source.ip", values=("10.0.0.1",))
    assert not holds(Rule(conditions=(Condition(key=key, values=("x",)), unmet)), NOBODY, action)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_template_that_no_proxy_would_load_means_nothing(action: Action) -> None:
    rule = Rule(operations=(Operation(paths=("a/{*}",)),))
    assert holds(rule, Attributes(path="/b"), action) is (action is not Action.ALLOW)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    "rule",
    [
        *(
            Rule(operations=(Operation(**{f"{no}{name}": ("x",)}),))
            for name in ("hosts", "methods", "paths")
            for no in ("", "not_")
        ),
        *(Rule(sources=(Source(**{f"{no}request_principals": ("x",)}),)) for no in ("", "not_")),
        *(
            when(key, *values, no=no)
            for key in (
                *("request.headers[x]", "request.headers[:path]", "request.auth.principal", "request.auth.audiences"),
                *("request.auth.presenter", "request.auth.claims[x]"),
            )
            for values, no in ((("x",), ()), ((), ("x",)))
        ),
    ],
    ids=repr,
)
def test_what_is_only_known_for_http_drops_an_allow_rule_on_tcp_and_only_itself_from_the_others(
    rule: Rule, action: Action
) -> None:
    tcp = Attributes(protocol=Protocol.TCP, path="x", host="x", method="x", headers={"x": ("x",)}, claims={"x": "x"})
    assert holds(rule, tcp, action) is (action is not Action.ALLOW)


@pytest.mark.parametrize("action", ACTIONS)
def test_one_part_that_cannot_be_expressed_drops_the_rule_wherever_it_stands(action: Action) -> None:
    ours = Attributes(identities=("spiffe://cluster.local/ns/shop/sa/web",), destination_port=80, path="/")
    good_source, bad_source = Source(namespaces=("shop",)), Source(namespaces=("other",), ip_blocks=("x",))
    for sources in ((good_source, bad_source), (bad_source, good_source)):
        assert holds(Rule(sources=sources), ours, action) is (action is not Action.ALLOW)
    for operations in (
        (Operation(ports=("80",)), Operation(ports=("http",))),
        (Operation(ports=("http",)), Operation()),
    ):
        assert holds(Rule(operations=operations), ours, action) is (action is not Action.ALLOW)


@pytest.mark.parametrize("protocol", Protocol)
def test_an_allow_policy_whose_rules_are_all_dropped_denies_everything(protocol: Protocol) -> None:
    policy = Policy(namespace="shop", name="p", rules=(when("destination.port", "http"), when("no.such", "x")))
    decision = decided([policy], Attributes(protocol=protocol))
    assert (decision.verdict, decision.stage, decision.match) == (Verdict.DENY, Stage.ALLOW, None)


def test_a_deny_policy_whose_rules_are_all_dropped_denies_nothing() -> None:
    policy = Policy(namespace="shop", name="p", action=Action.DENY, rules=(when("no.such", "x"),))
    assert decided([policy], NOBODY).verdict is Verdict.ALLOW


def test_the_rule_that_is_reported_counts_those_that_were_dropped() -> None:
    policy = Policy(namespace="shop", name="p", rules=(when("no.such", "x"), Rule()))
    assert decided([policy], NOBODY).match == Match("shop/p", 1)


# 2.2: several names in one certificate ---------------------------------------------------------------------------------

WEB = "spiffe://cluster.local/ns/shop/sa/web"
SEVERAL = Attributes(identities=("spiffe://other.example/x", WEB, "web.shop.example", "CN=web"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("principals", "cluster.local/ns/shop/sa/web"),
        ("principals", "*"),
        ("namespaces", "shop"),
        ("service_accounts", "web"),
        ("trust_domains", "cluster.local"),
        ("trust_domains", "other.example"),
    ],
)
def test_any_name_in_the_certificate_counts_and_the_negation_takes_all_of_them(field: str, value: str) -> None:
    for action in (Action.ALLOW, Action.DENY):
        assert holds(Rule(sources=(Source(**{field: (value,)}),)), SEVERAL, action)
        assert not holds(Rule(sources=(Source(**{f"not_{field}": (value,)}),)), SEVERAL, action)
        assert holds(Rule(sources=(Source(**{f"not_{field}": ("nobody",)}),)), SEVERAL, action)


def test_two_fields_of_one_source_may_be_met_by_two_names() -> None:
    rule = Rule(sources=(Source(namespaces=("shop",), trust_domains=("other.example",)),))
    assert holds(rule, SEVERAL)
    assert not holds(rule, Attributes(identities=(WEB,)))


def test_a_wanted_and_an_unwanted_name_in_one_certificate_are_unwanted() -> None:
    rule = Rule(sources=(Source(trust_domains=("cluster.local",), not_trust_domains=("other.example",)),))
    assert not holds(rule, SEVERAL)
    assert holds(rule, Attributes(identities=(WEB,)))


# 2.7: dynamic metadata -------------------------------------------------------------------------------------------------

MONGO = "experimental.envoy.filters.network.mongo_proxy[shop.items]"


def mongo(value: object) -> Attributes:
    return Attributes(metadata={"envoy.filters.network.mongo_proxy": {"shop.items": value}})


@pytest.mark.parametrize(
    ("value", "found", "held"),
    [
        ("find", "find", True),
        ("f*", "find", True),
        ("*nd", "find", True),
        ("*", "find", True),
        ("*", "", False),
        ("find", ["find"], False),
        ("*", ["find"], False),
        ("[find]", ["insert", "find"], True),
        ("[find]", ["insert"], False),
        ("[find]", [], False),
        ("[find]", "find", False),
        ("[find]", "[find]", False),
        ("[*]", ["find"], True),
        ("[*]", [""], False),
        ("[*]", [7, None, ["find"]], False),
        ("[fi*]", ["find"], True),
        ("[*nd]", ["find"], True),
        ("[[find]]", ["find"], True),
        ("7", 7, False),
        ("true", True, False),
    ],
)
def test_metadata_is_text_or_a_list_as_the_value_says(value: str, found: object, *, held: bool) -> None:
    for protocol in Protocol:
        facts = replace(mongo(found), protocol=protocol)
        for action in (Action.ALLOW, Action.DENY):
            assert holds(when(MONGO, value), facts, action) is held
            assert holds(when(MONGO, no=(value,)), facts, action) is not held


def test_metadata_of_another_filter_or_key_is_absent() -> None:
    assert not holds(when(MONGO, "*", "[*]"), Attributes(metadata={"envoy.filters.network.mongo_proxy": {"x": "y"}}))
    assert not holds(when(MONGO, "*", "[*]"), Attributes(metadata={"network.mongo_proxy": {"shop.items": "find"}}))


# 0.6, 1.5 and 1.6: what is reported ------------------------------------------------------------------------------------


def test_the_id_of_a_rule_is_the_one_that_istio_gives_it() -> None:
    policy = Policy(namespace="shop", name="p", provider="opa")
    assert rule_id(policy, 2) == "ns[shop]-policy[p]-rule[2]"
    custom = replace(policy, action=Action.CUSTOM)
    assert rule_id(custom, 0) == "istio-ext-authz-opa-ns[shop]-policy[p]-rule[0]"
    assert rule_id(replace(custom, provider=None), 0) == "istio-ext-authz-ns[shop]-policy[p]-rule[0]"


def test_custom_rules_are_ordered_by_provider_and_the_others_are_not() -> None:
    one = Policy(namespace="shop", name="z", provider="auth", action=Action.CUSTOM)
    two = Policy(namespace="shop", name="a", provider="auth-b", action=Action.CUSTOM)
    none = Policy(namespace="shop", name="zz", action=Action.CUSTOM)
    assert sorted([two, one, none], key=lambda policy: rule_order(policy, 0)) == [none, one, two]
    deny = [replace(policy, action=Action.DENY) for policy in (one, two)]
    assert sorted(deny, key=lambda policy: rule_order(policy, 0)) == deny[::-1]


def test_a_dry_run_of_custom_is_enforced_as_istio_would() -> None:
    policy = Policy(namespace="shop", name="p", action=Action.CUSTOM, provider="opa", dry_run=True, rules=(Rule(),))
    decision = decided([policy], NOBODY)
    assert (decision.verdict, decision.stage) == (Verdict.DENY, Stage.CUSTOM)


def test_a_dry_run_of_audit_notes_nothing() -> None:
    policy = Policy(namespace="shop", name="p", action=Action.AUDIT, dry_run=True, rules=(Rule(),))
    assert not decided([policy], NOBODY).audit


def test_a_dry_run_whose_rules_are_all_dropped_still_has_an_answer() -> None:
    rule = when("no.such", "x")
    allow = Policy(namespace="shop", name="a", dry_run=True, rules=(rule,))
    deny = replace(allow, name="d", action=Action.DENY)
    decision = decided([allow, deny], NOBODY)
    assert decision.verdict is Verdict.ALLOW
    assert (decision.shadow_allow, decision.shadow_deny) == (Shadow(Verdict.DENY, None), Shadow(Verdict.ALLOW, None))


@pytest.mark.parametrize("action", [Action.DENY, Action.AUDIT, Action.CUSTOM])
def test_a_policy_without_rules_that_does_not_allow_has_no_effect(action: Action) -> None:
    decision = decided([Policy(namespace="shop", name="p", action=action)], NOBODY)
    assert (decision.verdict, decision.stage, decision.audit) == (Verdict.ALLOW, Stage.NONE, False)


def test_the_decision_names_its_status_and_its_reason() -> None:
    deny = decided([Policy(namespace="shop", name="p")], NOBODY)
    assert (deny.status, deny.reason) == (403, "no ALLOW rule matches")
    assert decided([], NOBODY).status == 200
