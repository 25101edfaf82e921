"""The core of the suite: the tree decides what the reference decides, by the same policy and the same rule."""

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from authz import semantics
from authz.attributes import Attributes
from authz.model import Policy
from authz.tree import compile_policies
from tests.laws.world import TRUST_DOMAINS, random_attributes, random_policies

REQUESTS_A_SET = 40


def check_agreement(seed: int) -> None:
    """The law for one policy set and a number of requests. The planted faults must make this fail."""
    random = Random(seed)
    policies = random_policies(random)
    trust_domains = random.choice(TRUST_DOMAINS)
    tree = compile_policies(policies, trust_domains=trust_domains)
    for _ in range(REQUESTS_A_SET):
        attributes = random_attributes(random)
        if tree.decide(attributes) != semantics.decide(policies, attributes, trust_domains=trust_domains):
            fail(policies, attributes, trust_domains)


def fail(policies: tuple[Policy, ...], attributes: Attributes, trust_domains: tuple[str, ...]) -> None:
    """Say on what the two disagree, with no more policies and rules than it takes."""

    def disagree(policies: tuple[Policy, ...]) -> bool:
        tree = compile_policies(policies, trust_domains=trust_domains)
        return tree.decide(attributes) != semantics.decide(policies, attributes, trust_domains=trust_domains)

    for index in reversed(range(len(policies))):
        if disagree(fewer := policies[:index] + policies[index + 1 :]):
            policies = fewer
    for index, policy in enumerate(policies):
        for rule in policy.rules:
            alone = (*policies[:index], replace(policy, rules=(rule,)), *policies[index + 1 :])
            policies = alone if disagree(alone) else policies
    tree = compile_policies(policies, trust_domains=trust_domains)
    expected = semantics.decide(policies, attributes, trust_domains=trust_domains)
    assert tree.decide(attributes) == expected, f"{policies=}\n{attributes=}\n{trust_domains=}"


@settings(max_examples=1500)
@given(st.integers(0, 2**32))
def test_the_tree_decides_what_the_reference_decides(seed: int) -> None:
    check_agreement(seed)
