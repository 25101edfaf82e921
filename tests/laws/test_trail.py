"""The way that is shown is the way that is gone: where it ends, the tree decides."""

from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.attributes import Attributes
from authz.model import Operation, Policy, Rule, Source
from authz.trail import Entered, Found, Looked, Met, Outcome, Sifted, Step, Tried, follow
from authz.tree import compile_policies
from tests.laws.world import TRUST_DOMAINS, random_attributes, random_policies, random_providers
from tests.unit.authz.test_growing import LIMITS, set_limits


def check_trail(seed: int) -> None:
    """The law for one policy set and a number of requests. The planted fault must make this fail."""
    random = Random(seed)
    tree = compile_policies(random_policies(random), trust_domains=random.choice(TRUST_DOMAINS))
    for _ in range(20):
        attributes, allowed_by = random_attributes(random), random_providers(random)
        trail = follow(tree, attributes, allowed_by=allowed_by)
        assert trail.decision == tree.decide(attributes, allowed_by=allowed_by)
        held = [tried.part for tried in lanes_of(trail.entered) if tried.outcome is Outcome.HELD]
        assert set(map(id, trail.deciding)) <= set(map(id, held))


def check_trails(count: int) -> None:
    for seed in range(count):
        check_trail(seed)


def lanes_of(step: Step | Found) -> list[Tried]:
    """The lanes that were tried on a way, wherever."""
    match step:
        case Tried():
            return [step]
        case Entered(_, steps) | Found(_, steps):
            return [tried for each in steps for tried in lanes_of(each)]
        case Looked(_, _, found):
            return [tried for each in found for tried in lanes_of(each)]
        case Met(_, _, looked):
            return [tried for each in looked for tried in lanes_of(each)]
        case Sifted(_, _, tried):
            return list(tried)


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_a_trail_ends_with_the_decision_of_the_tree(seed: int) -> None:
    check_trail(seed)


@pytest.mark.parametrize("limits", LIMITS)
def test_a_trail_ends_so_whatever_the_limits_of_the_tree(
    limits: Mapping[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limits(limits, monkeypatch)
    check_trails(60)


def test_a_trail_leads_through_nodes_below_the_root() -> None:
    rules = tuple(
        Rule(
            sources=(Source(namespaces=(f"team{number % 20}",)),),
            operations=(Operation(paths=(f"/{number // 20}/*",)),),
        )
        for number in range(400)
    )
    tree = compile_policies((Policy(namespace="shop", name="p", rules=rules),), trust_domains=("cluster.local",))
    for number in range(440):
        caller = f"spiffe://cluster.local/ns/team{number % 20}/sa/x"
        attributes = Attributes(identities=(caller,), path=f"/{number // 20}/a")
        trail = follow(tree, attributes)
        assert trail.decision == tree.decide(attributes)
        assert bool(trail.deciding) is (number < 400)


def test_a_trail_that_loses_a_step_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authz.trail._is", lambda fact, values: bool(values) and fact is None)
    with pytest.raises(AssertionError):
        check_trails(50)
