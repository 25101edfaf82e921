"""What policies cost: the size of what is compiled grows as the policies do, however they are built."""

from time import perf_counter

from authz.attributes import Attributes, Protocol
from authz.decision import Match, Verdict
from authz.dispatch import Lane
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.semantics import decide
from authz.tree import DecisionTree, compile_policies

TRUST_DOMAINS = ("cluster.local",)


def compiled(*rules: Rule, action: Action = Action.ALLOW) -> DecisionTree:
    policy = Policy(namespace="shop", name="p", action=action, rules=rules)
    return compile_policies([policy], trust_domains=TRUST_DOMAINS)


def caller(namespace: str, path: str) -> Attributes:
    return Attributes(identities=(f"spiffe://cluster.local/ns/{namespace}/sa/x",), path=path)


def test_many_sources_and_many_operations_do_not_multiply() -> None:
    rule = Rule(
        sources=tuple(Source(namespaces=(f"n{number}",)) for number in range(300)),
        operations=tuple(Operation(paths=(f"/p{number}",)) for number in range(300)),
    )
    tree = compiled(rule, Rule(operations=(Operation(paths=("/open",)),)))
    assert tree.size == 601
    # The ones are lanes, and the others a tree of their own that the lanes share: not a lane a pair.
    root = tree.root(Protocol.HTTP)
    assert sum(len(branch.children) for branch in root.branches) == 301
    groups = {
        condition
        for branch in root.branches
        for hanging in branch.children.values()
        for item in hanging
        if isinstance(item, Lane)
        for condition in item.conditions
    }
    assert len(groups) == 1
    for namespace, path, rule_number in (
        ("n0", "/p0", 0),
        ("n299", "/p0", 0),
        ("n0", "/p299", 0),
        ("n300", "/p0", None),
        ("n0", "/p300", None),
        ("x", "/open", 1),
    ):
        decision = tree.decide(caller(namespace, path))
        assert decision.match == (None if rule_number is None else Match("shop/p", rule_number))


def test_a_source_of_one_rule_does_not_stand_for_another_rule() -> None:
    def rule(own: str) -> Rule:
        return Rule(
            sources=(Source(namespaces=(f"{own}1",)), Source(namespaces=(f"{own}2",))),
            operations=(Operation(paths=(f"/{own}1",)), Operation(paths=(f"/{own}2",))),
        )

    tree = compiled(rule("a"), rule("b"))
    assert tree.decide(caller("a1", "/a2")).match == Match("shop/p", 0)
    assert tree.decide(caller("b2", "/b1")).match == Match("shop/p", 1)
    assert tree.decide(caller("a1", "/b1")).match is None


def test_ten_thousand_rules_are_compiled_and_the_right_one_decides() -> None:
    rules = tuple(
        Rule(sources=(Source(namespaces=(f"n{number % 100}",)),), operations=(Operation(paths=(f"/p{number}/*",)),))
        for number in range(10_000)
    )
    started = perf_counter()
    tree = compiled(*rules)
    assert perf_counter() - started < 60
    assert tree.size == 10_100
    assert tree.decide(caller("n7", "/p9907/x")).match == Match("shop/p", 9907)
    assert tree.decide(caller("n8", "/p9907/x")).verdict is Verdict.DENY


def test_one_rule_may_have_ten_thousand_values_of_each_kind() -> None:
    numbers = range(10_000)
    operation = Operation(
        paths=tuple(f"/e{number}" for number in numbers) + tuple(f"/p{number}/*" for number in numbers),
        not_paths=tuple(f"*-{number}-x" for number in numbers),
    )
    source = Source(
        principals=tuple(f"cluster.local/ns/n/sa/s{number}" for number in numbers),
        not_ip_blocks=tuple(f"10.{number // 256}.{number % 256}.0/24" for number in numbers),
    )
    rule = Rule(sources=(source,), operations=(operation,))
    tree = compiled(rule)
    assert tree.size == 50_000
    policies = [Policy(namespace="shop", name="p", rules=(rule,))]
    for path, account, held in (
        ("/e9999", "s0", True),
        ("/p9999/x", "s9999", True),
        ("/p1/a-7-x", "s1", False),
        ("/e10000", "s1", False),
        ("/e1", "s10000", False),
    ):
        facts = Attributes(identities=(f"spiffe://cluster.local/ns/n/sa/{account}",), path=path)
        assert (tree.decide(facts).verdict is Verdict.ALLOW) is held
        assert decide(policies, facts, trust_domains=TRUST_DOMAINS).match == tree.decide(facts).match


def test_a_value_that_is_repeated_is_kept_once() -> None:
    rule = Rule(operations=(Operation(paths=("/a", "/a", "/b")),), sources=(Source(namespaces=("n", "n")),))
    assert compiled(rule, rule, rule).size == 3


def test_a_tree_says_which_headers_its_rules_look_at() -> None:
    keys = ("request.headers[X-A]", "request.headers[host]", "request.auth.claims[x]")
    tree = compiled(Rule(conditions=tuple(Condition(key=key, values=("v",)) for key in keys)))
    assert tree.headers == {"x-a", ":authority"}
