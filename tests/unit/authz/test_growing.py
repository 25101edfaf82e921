"""How a tree parts its rules: that it decides the same however it does, and what it has to look at. There is no clock."""

import gc
import re
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from types import CodeType, FrameType
from typing import Any

import pytest

from authz import dispatch, facts, growing, index, straightline
from authz.attributes import Attributes, Protocol
from authz.decision import Decision, Match, Stage, Verdict
from authz.dispatch import Best, Item, Lane, Node
from authz.facts import Facts
from authz.growing import Growing
from authz.keys import KEYS
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.predicates import PredicateTable
from authz.tree import DecisionTree, compile_policies
from benchmarks.adversarial import SETS, Set
from benchmarks.rules import KINDS, Kind, mixed_policies, mixed_request, policies_of, request_of, stranger
from tests.laws.test_tree import check_agreement
from tests.laws.world import random_attributes, random_policies

TRUST_DOMAINS = ("cluster.local",)
SEEDS = 120

# A tree of three policies has next to no nodes. With these limits it has as many as it can.
LIMITS: tuple[Mapping[str, int], ...] = (
    {
        "few": 1,
        "scanned": 1,
        "block": 2,
        "rare": 1000,
        "family": 0,
        "multiplied": 1,
        "growth": 100,
        "deep": 1,
        "many": 1,
    },
    {"few": 1, "scanned": 0, "block": 3, "rare": 0, "family": 0, "multiplied": 0, "growth": 50, "deep": 2, "many": 0},
    {"few": 2, "scanned": 0, "block": 64, "rare": 0, "family": 4, "multiplied": 1, "growth": 1, "deep": 1, "many": 8},
    {"few": 1, "scanned": 0, "block": 64, "rare": 3, "family": 1, "multiplied": 4, "growth": 2, "deep": 3, "many": 1},
    {"few": 1, "scanned": 4, "block": 1, "rare": 0, "family": 1, "multiplied": 1, "growth": 0, "deep": 0, "many": 0},
)


@pytest.mark.parametrize("limits", LIMITS)
def test_the_tree_decides_the_same_whatever_its_limits(
    limits: Mapping[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limits(limits, monkeypatch)
    for seed in range(SEEDS):
        check_agreement(seed)


def set_limits(limits: Mapping[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("few", "scanned", "block", "rare", "family", "multiplied", "growth"):
        monkeypatch.setattr(growing, f"_{name.upper()}", limits[name])
    monkeypatch.setattr(facts, "_DEEP", limits["deep"])
    monkeypatch.setattr(facts, "_FEW", limits["few"])
    monkeypatch.setattr(index, "_MANY", limits["many"])
    monkeypatch.setattr(straightline, "_MANY", limits["many"])


@pytest.mark.parametrize("limits", LIMITS)
def test_the_straight_walk_finds_what_the_nodes_say(limits: Mapping[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    set_limits(limits, monkeypatch)
    for seed in range(SEEDS):
        random = Random(seed)
        root, stages = grown(random_policies(random))
        walk = straightline.straightline(root)
        for _ in range(20):
            attributes = random_attributes(random)
            straight: Best = [None] * stages
            walk(attributes, straight, {})
            nodes: Best = [None] * stages
            dispatch.enter(root, attributes, nodes, {})
            # By number: of a rule that holds in two ways, either may be found.
            assert [lane and lane.number for lane in straight] == [lane and lane.number for lane in nodes]


def grown(policies: Iterable[Policy]) -> tuple[Node, int]:
    """The tree of all rules, a stage an action, walkable as data: the tests of its root are asked for, too."""
    table = PredicateTable(trust_domains=TRUST_DOMAINS)
    rules = [(policy.action, rule) for policy in policies for rule in table.lower(policy, Protocol.HTTP)]
    known = Facts(table, KEYS)
    tree = Growing(known, asked=set())
    actions = list(Action)
    for action, rule in rules:
        decision = Decision(verdict=Verdict.DENY, stage=Stage.DENY, action=action, match=rule.match, reason="")
        tree.add(rule, stage=actions.index(action), decision=decision)
    root = tree.grow()
    every = {
        test
        for _, rule in rules
        for part in (*rule.sources, *rule.operations, rule.conditions)
        for test in known.demand(part)[0]
    }
    known.ask_for(every)
    return root, len(actions)


# What a decision looks at ----------------------------------------------------------------------------------------------


def steps(tree: DecisionTree, request: Attributes) -> int:
    """How many instructions of ours a decision takes: what it costs, but for the time."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    tree.decide(request)  # so that what is compiled when it is first needed has been
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        tree.decide(request)
    finally:
        sys.settrace(before)
    return count


def most_steps(tree: DecisionTree, requests: Iterator[Attributes]) -> int:
    return max(steps(tree, request) for request in requests)


def requests_of(kind: Kind, size: int) -> Iterator[Attributes]:
    random = Random(1)
    for number in (0, size - 1, *(random.randrange(size) for _ in range(8))):
        yield request_of(kind, number, random)
    yield stranger(random)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_decision_takes_the_same_steps_among_many_rules_as_among_few(kind: Kind) -> None:
    few = compile_policies(policies_of(kind, 10), trust_domains=TRUST_DOMAINS)
    many = compile_policies(policies_of(kind, 3_000), trust_domains=TRUST_DOMAINS)
    assert most_steps(many, requests_of(kind, 3_000)) <= 1.5 * most_steps(few, requests_of(kind, 10)) + 100


def test_a_decision_among_mixed_rules_takes_the_same_steps() -> None:
    def most(size: int) -> int:
        random = Random(1)
        tree = compile_policies(mixed_policies(size), trust_domains=TRUST_DOMAINS)
        numbers = (0, size - 1, *(random.randrange(size) for _ in range(100)))
        return most_steps(tree, (mixed_request(number, random) for number in numbers))

    assert most(5_000) <= 1.5 * most(50)


def compiled(one: Set, size: int) -> DecisionTree:
    return compile_policies(one.policies(size), trust_domains=TRUST_DOMAINS)


LINEAR = {"exceptions for as many headers", "templates of four thousand shapes", "two hundred claims a rule"}
"""Sets of which a decision looks at as much as the request brings, or at as many shapes as there are."""


@pytest.mark.parametrize("one", SETS, ids=lambda one: one.name)
def test_no_set_of_rules_makes_a_decision_take_more_steps(one: Set) -> None:
    small, large = compiled(one, 500), compiled(one, 2_000)
    growth = 5 if one.name in LINEAR else 1.6
    for name, request in one.requests(2_000).items():
        assert steps(large, request) <= growth * steps(small, one.requests(500)[name]) + 250


@pytest.mark.parametrize("one", SETS, ids=lambda one: one.name)
def test_a_tree_is_as_large_as_its_rules(one: Set) -> None:
    small, large = memory(one, 250), memory(one, 1_000)
    assert large <= 6 * small + 100_000


def memory(one: Set, size: int) -> int:
    """What a tree takes, but for the text of its rules: prefixes that lie within each other are as long as they are many."""
    said = sum(len(value) for rule in one.rules(size) for value in re.findall("'([^']*)'", repr(rule)))
    policies = one.policies(size)
    gc.collect()
    tracemalloc.start()
    tree = compile_policies(policies, trust_domains=TRUST_DOMAINS)
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tree.size
    # A matcher has its text, and where that is cut or turned a ladder has it once more.
    return used - 2 * said


# What a request can bring ----------------------------------------------------------------------------------------------


def rules_for_everything() -> tuple[Policy, ...]:
    """Some of every kind, alone and with others."""
    rules = [kind.rule(number) for kind in KINDS for number in range(40) if not kind.name.startswith("no ")]
    rules += [
        Rule(
            sources=(Source(namespaces=(f"n{number % 7}*",), service_accounts=(f"n{number % 5}/a{number}",)),),
            conditions=(Condition(key="request.headers[x-tenant]", values=(f"t{number % 6}*", f"*{number % 4}")),),
        )
        for number in range(120)
    ]
    denied = tuple(Rule(operations=(Operation(paths=(f"/{{**}}/z{number}",)),)) for number in range(40))
    return (
        Policy(namespace="shop", name="p", rules=tuple(rules)),
        Policy(namespace="shop", name="q", action=Action.DENY, rules=denied),
    )


BROUGHT: dict[str, Callable[[int], Attributes]] = {
    "a long path": lambda size: Attributes(path="/v1/things1" + "/ns/a" * size),
    "a path of slashes": lambda size: Attributes(path="/" * size),
    "a long host": lambda size: Attributes(host="a.t1" * size + ".example.com"),
    "many header lines": lambda size: Attributes(headers={"x-tenant": tuple(f"tenant{n}" for n in range(size))}),
    "the same header line many times": lambda size: Attributes(headers={"x-tenant": ("tenant1",) * size}),
    "many headers": lambda size: Attributes(headers={f"x-feature-{n}": ("off",) for n in range(size)}),
    "many identities": lambda size: Attributes(identities=tuple(f"spiffe://td/ns/n{n}/sa/a{n}" for n in range(size))),
    "a long identity": lambda size: Attributes(identities=("spiffe://td" + "/ns/n1/sa/a1" * size,)),
    "many claims": lambda size: Attributes(claims={f"c{n}": "v" for n in range(size)}),
    "many groups": lambda size: Attributes(claims={"groups": [f"group{n}x" for n in range(size)]}),
    "a long list in metadata": lambda size: Attributes(
        metadata={"envoy.filters.a": {"k": [f"{n}x" for n in range(size)]}}
    ),
}


@pytest.mark.parametrize("brought", BROUGHT)
def test_what_a_request_brings_is_looked_at_once(brought: str) -> None:
    tree = compile_policies(rules_for_everything(), trust_domains=TRUST_DOMAINS)
    less, more = (steps(tree, BROUGHT[brought](size)) for size in (500, 2_000))
    assert more <= 5 * less


@pytest.mark.parametrize("policies", [rules_for_everything(), policies_of(KINDS[9], 100)], ids=["a family", "a branch"])
def test_a_line_that_comes_many_times_is_looked_at_once(policies: tuple[Policy, ...]) -> None:
    tree = compile_policies(policies, trust_domains=TRUST_DOMAINS)
    less, more = (steps(tree, BROUGHT["the same header line many times"](size)) for size in (500, 2_000))
    assert more == less


def test_many_lines_of_two_headers_do_not_multiply() -> None:
    def steps_of(size: int) -> int:
        # Each line of the one header leads to a node where the other one is looked at; and of that the request brings as many
        # lines as there are, which are facts for the sake of other rules.
        pairs = [
            Rule(conditions=(when("x-a", f"a{number}"), when("x-b", f"b{other}")))
            for number in range(size)
            for other in range(12)
        ]
        others = [
            Rule(operations=(Operation(paths=(f"/p{number}",)),), conditions=(when("x-b", f"x{number}"),))
            for number in range(size)
        ]
        policy = Policy(namespace="shop", name="p", rules=(*pairs, *others))
        tree = compile_policies([policy], trust_domains=TRUST_DOMAINS)
        headers = {"x-a": tuple(f"a{n}" for n in range(size)), "x-b": tuple(f"x{n}" for n in range(size))}
        return steps(tree, Attributes(headers=headers))

    assert steps_of(400) <= 5 * steps_of(100)


def when(header: str, value: str) -> Condition:
    return Condition(key=f"request.headers[{header}]", values=(value,))


def test_the_sets_of_a_block_are_as_large_as_the_block() -> None:
    (one,) = (one for one in SETS if one.name == "as many exceptions")
    assert memory(one, 8_000) <= 6 * memory(one, 2_000)


# What is read ----------------------------------------------------------------------------------------------------------


class Headers(dict[str, tuple[str, ...]]):
    """Header lines that note who looks at them."""

    def __init__(self) -> None:
        super().__init__({"x-a": ("1",), "x-b": ("2",)})
        self.read: list[str] = []

    def get(self, name: str, default: object = None) -> object:  # type: ignore[override]  # a narrower use of it
        self.read.append(name)
        return super().get(name, default)


def test_an_attribute_that_no_rule_looks_at_is_not_read() -> None:
    headers = Headers()
    rules = (Rule(operations=(Operation(paths=("/a",)),)),)
    tree = compile_policies([Policy(namespace="shop", name="p", rules=rules)], trust_domains=TRUST_DOMAINS)
    assert tree.decide(Attributes(path="/a", headers=headers)).verdict is Verdict.ALLOW
    assert headers.read == []


def test_an_attribute_is_read_only_for_a_rule_that_can_still_decide() -> None:
    rules = [Rule(operations=(Operation(paths=(f"/p{number}",)),)) for number in range(9)]
    rules.append(Rule(conditions=(Condition(key="request.headers[x-b]", values=("2",)),)))
    policies = [Policy(namespace="shop", name=f"p{number}", rules=(rule,)) for number, rule in enumerate(rules)]
    tree = compile_policies(policies, trust_domains=TRUST_DOMAINS)
    headers = Headers()
    assert tree.decide(Attributes(path="/p0", headers=headers)).match == Match("shop/p0", 0)
    assert headers.read == []
    assert tree.decide(Attributes(path="/none", headers=headers)).match == Match("shop/p9", 0)
    assert headers.read == ["x-b"]


def test_what_is_left_of_a_rule_is_read_only_where_a_fact_leads_to_it() -> None:
    rules = tuple(
        Rule(
            operations=(Operation(paths=(f"/p{number}",)),),
            conditions=(Condition(key="request.headers[x-a]", values=("1",)),),
        )
        for number in range(100)
    )
    tree = compile_policies([Policy(namespace="shop", name="p", rules=rules)], trust_domains=TRUST_DOMAINS)
    headers = Headers()
    assert tree.decide(Attributes(path="/none", headers=headers)).verdict is Verdict.DENY
    assert headers.read == []
    assert tree.decide(Attributes(path="/p7", headers=headers)).match == Match("shop/p", 7)
    assert headers.read == ["x-a"]


# How rules are parted --------------------------------------------------------------------------------------------------


def items(node: Node) -> Iterator[Item]:
    """Everything in a tree, once."""
    seen: set[Item] = set()
    pending: list[Item] = [node]
    while pending:
        item = pending.pop()
        if item not in seen:
            seen.add(item)
            yield item
            if isinstance(item, Node):
                pending += [*item.lanes, *(lane for block in item.blocks for lane in block.lanes)]
                branches = [*item.branches, *(b for f in item.families for some in f.members.values() for b in some)]
                pending += [one for branch in branches for hanging in branch.children.values() for one in hanging]


def lanes(tree: DecisionTree) -> int:
    return sum(isinstance(item, Lane) for item in items(tree.root(Protocol.HTTP)))


def test_rules_hang_on_the_attribute_that_tells_them_apart() -> None:
    rules = tuple(
        Rule(sources=(Source(namespaces=(f"n{number % 3}",)),), operations=(Operation(paths=(f"/p{number}",)),))
        for number in range(1_000)
    )
    tree = compile_policies([Policy(namespace="shop", name="p", rules=rules)], trust_domains=TRUST_DOMAINS)
    root = tree.root(Protocol.HTTP)
    assert [branch.sense.attribute.key for branch in root.branches] == ["request.path"]
    assert len(root.branches[0].children) == 1_000
    assert root.lanes == ()


def test_rules_that_gather_on_one_fact_are_parted_again() -> None:
    rules = tuple(
        Rule(sources=(Source(namespaces=(f"n{number % 50}",)),), operations=(Operation(paths=(f"/p{number // 50}",)),))
        for number in range(2_500)
    )
    tree = compile_policies([Policy(namespace="shop", name="p", rules=rules)], trust_domains=TRUST_DOMAINS)
    (branch,) = tree.root(Protocol.HTTP).branches
    assert len(branch.children) == 50
    for (node,) in branch.children.values():
        assert isinstance(node, Node)
        (inner,) = node.branches
        assert len(inner.children) == 50
        assert inner.sense.attribute != branch.sense.attribute


def test_a_rule_with_ten_thousand_values_is_kept_once() -> None:
    few = tuple(Rule(operations=(Operation(paths=(f"/p{number}",)),)) for number in range(10))
    rule = Rule(operations=(Operation(paths=tuple(f"/e{number}" for number in range(10_000)), methods=("GET",)),))
    tree = compile_policies([Policy(namespace="shop", name="p", rules=(*few, rule))], trust_domains=TRUST_DOMAINS)
    assert lanes(tree) == 11


def test_a_rule_that_can_never_decide_is_left_out() -> None:
    path = Rule(operations=(Operation(paths=("/a",)),))
    rules = (path, path, Rule(), *(Rule(operations=(Operation(paths=(f"/p{number}",)),)) for number in range(100)))
    policies = [Policy(namespace="shop", name=f"p{number:03}", rules=(rule,)) for number, rule in enumerate(rules)]
    tree = compile_policies(policies, trust_domains=TRUST_DOMAINS)
    assert lanes(tree) == 2
    assert tree.decide(Attributes(path="/p7")).match == Match("shop/p002", 0)


def test_the_lanes_of_a_rule_with_many_sources_and_operations_are_those_that_tell_it_from_others() -> None:
    def rule(number: int) -> Rule:
        return Rule(
            sources=tuple(Source(namespaces=(f"n{number}-{k}",)) for k in range(5)),
            operations=tuple(Operation(methods=(method,)) for method in ("GET", "PUT", "POST", "HEAD", "DELETE")),
        )

    policies = [Policy(namespace="shop", name=f"p{number:03}", rules=(rule(number),)) for number in range(100)]
    tree = compile_policies(policies, trust_domains=TRUST_DOMAINS)
    assert [branch.sense.attribute.key for branch in tree.root(Protocol.HTTP).branches] == ["source.namespace"]
    facts = Attributes(identities=("spiffe://td/ns/n42-3/sa/x",), method="PUT")
    assert tree.decide(facts).match == Match("shop/p042", 0)


# How the root is written down ------------------------------------------------------------------------------------------


def test_nothing_that_a_policy_says_stands_in_the_text_of_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    original = straightline._code

    def code(text: str) -> CodeType:
        texts.append(text)
        return original(text)

    monkeypatch.setattr(straightline, "_code", code)
    for said in ("plain", '"""); import os; ("', "{n}", "\n    raise SystemExit\n", "\\"):
        rules = [
            Rule(operations=(Operation(paths=(f"/{said}/{number}", f"/{said}{number}*")),)) for number in range(20)
        ]
        rules += [
            Rule(conditions=(Condition(key=f"request.headers[{said}]", values=(f"*{said}{n}",)),)) for n in range(9)
        ]
        compile_policies([Policy(namespace=said, name=said, rules=tuple(rules))], trust_domains=(said,))
    # One text for HTTP and one for TCP, the same whatever is said.
    assert len(texts) == 10
    assert len(set(texts)) == 2
