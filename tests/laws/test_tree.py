"""The core of the suite: the tree decides what the reference decides, by the same policy and the same rule."""

from dataclasses import replace
from random import Random
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from authz import semantics
from authz.attributes import Attributes
from authz.decision import Decision, Trigger
from authz.model import Policy
from authz.tree import DecisionTree, compile_policies
from tests.laws.world import TRUST_DOMAINS, random_attributes, random_policies, random_providers

REQUESTS_A_SET = 40


def check_agreement(seed: int) -> None:
    """The law for one policy set and a number of requests. The planted faults must make this fail."""
    random = Random(seed)
    policies = random_policies(random)
    trust_domains = random.choice(TRUST_DOMAINS)
    tree = compile_policies(policies, trust_domains=trust_domains)
    for _ in range(REQUESTS_A_SET):
        case = Case(random_attributes(random), trust_domains, random_providers(random))
        if answers(tree, case) != expected(policies, case):
            fail(policies, case)


class Case(NamedTuple):
    """What is asked of both."""

    attributes: Attributes
    trust_domains: tuple[str, ...]
    allowed_by: frozenset[str]


def answers(tree: DecisionTree, case: Case) -> tuple[Decision, tuple[Trigger, ...]]:
    return tree.decide(case.attributes, allowed_by=case.allowed_by), tree.triggered(case.attributes)


def expected(policies: tuple[Policy, ...], case: Case) -> tuple[Decision, tuple[Trigger, ...]]:
    attributes, trust_domains, allowed_by = case
    return (
        semantics.decide(policies, attributes, trust_domains=trust_domains, allowed_by=allowed_by),
        semantics.triggered(policies, attributes, trust_domains=trust_domains),
    )


def fail(policies: tuple[Policy, ...], case: Case) -> None:
    """Say on what the two disagree, with no more policies and rules than it takes."""

    def disagree(policies: tuple[Policy, ...]) -> bool:
        return answers(compile_policies(policies, trust_domains=case.trust_domains), case) != expected(policies, case)

    for index in reversed(range(len(policies))):
        if disagree(fewer := policies[:index] + policies[index + 1 :]):
            policies = fewer
    for index, policy in enumerate(policies):
        for rule in policy.rules:
            alone = (*policies[:index], replace(policy, rules=(rule,)), *policies[index + 1 :])
            policies = alone if disagree(alone) else policies
    tree = compile_policies(policies, trust_domains=case.trust_domains)
    assert answers(tree, case) == expected(policies, case), f"{policies=}\n{case=}"


@settings(max_examples=1500)
@given(st.integers(0, 2**32))
def test_the_tree_decides_what_the_reference_decides(seed: int) -> None:
    check_agreement(seed)
