"""Laws of the reference itself, true of every policy set and request."""

from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from authz.attributes import Attributes
from authz.decision import Decision, Verdict
from authz.model import Action, Policy
from authz.semantics import decide
from tests.laws.world import random_attributes, random_policies, random_policy

SEEDS = st.integers(0, 2**32).map(Random)
REQUESTS = SEEDS.map(random_attributes)
POLICY_SETS = SEEDS.map(random_policies)
POLICIES = SEEDS.map(lambda random: random_policy(random, "z"))
TRUST_DOMAINS = ("cluster.local",)
law = settings(max_examples=500)


def of(policies: tuple[Policy, ...], attributes: Attributes) -> Decision:
    return decide(policies, attributes, trust_domains=TRUST_DOMAINS)


@law
@given(POLICY_SETS, REQUESTS)
def test_the_order_of_the_policies_does_not_matter(policies: tuple[Policy, ...], attributes: Attributes) -> None:
    assert of(policies, attributes) == of(policies[::-1], attributes)


@law
@given(POLICY_SETS, POLICIES, REQUESTS)
def test_adding_a_deny_never_allows(policies: tuple[Policy, ...], more: Policy, attributes: Attributes) -> None:
    before = of(policies, attributes)
    after = of((*policies, replace(more, name="z", action=Action.DENY)), attributes)
    assert not (before.verdict is Verdict.DENY and after.verdict is Verdict.ALLOW)


@law
@given(POLICY_SETS, POLICIES, REQUESTS)
def test_where_an_allow_policy_applies_adding_another_never_denies(
    policies: tuple[Policy, ...], more: Policy, attributes: Attributes
) -> None:
    nothing = Policy(namespace="shop", name="nothing")
    before = of((*policies, nothing), attributes)
    after = of((*policies, nothing, replace(more, name="z", action=Action.ALLOW, dry_run=False)), attributes)
    assert not (before.verdict is Verdict.ALLOW and after.verdict is Verdict.DENY)


@law
@given(POLICY_SETS, POLICIES, REQUESTS)
def test_a_dry_run_never_decides(policies: tuple[Policy, ...], more: Policy, attributes: Attributes) -> None:
    for action in (Action.ALLOW, Action.DENY):
        shadow = replace(more, name="z", action=action, dry_run=True)
        before, after = of(policies, attributes), of((*policies, shadow), attributes)
        assert (before.verdict, before.stage, before.match) == (after.verdict, after.stage, after.match)


@law
@given(POLICY_SETS, POLICIES, REQUESTS)
def test_an_audit_never_decides(policies: tuple[Policy, ...], more: Policy, attributes: Attributes) -> None:
    before, after = of(policies, attributes), of((*policies, replace(more, name="z", action=Action.AUDIT)), attributes)
    assert replace(after, audit=before.audit) == before


@law
@given(REQUESTS)
def test_no_policy_allows_and_an_empty_one_denies(attributes: Attributes) -> None:
    assert of((), attributes).verdict is Verdict.ALLOW
    assert of((Policy(namespace="shop", name="nothing"),), attributes).verdict is Verdict.DENY
