"""Laws of the reference itself, true of every policy set and request."""

from collections.abc import Mapping
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from authz.attributes import Attributes, Protocol
from authz.decision import Decision, Stage, Verdict
from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS, Attribute, key_of
from authz.model import Action, Operation, Policy, Rule, Source
from authz.semantics import decide, triggered
from tests.laws.world import random_attributes, random_policies, random_policy, random_providers

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
@given(POLICY_SETS, REQUESTS)
def test_saying_it_twice_does_not_matter(policies: tuple[Policy, ...], attributes: Attributes) -> None:
    twice = tuple(
        replace(
            policy,
            rules=tuple(
                replace(
                    rule,
                    sources=rule.sources * 2,
                    operations=rule.operations * 2,
                    conditions=tuple(
                        replace(each, values=each.values * 2, not_values=each.not_values * 2)
                        for each in rule.conditions * 2
                    ),
                )
                for rule in policy.rules
            ),
        )
        for policy in policies
    )
    assert of(twice, attributes) == of(policies, attributes)
    copies = (*policies, *(replace(policy, name=f"{policy.name}~") for policy in policies))
    assert of(copies, attributes) == of(policies, attributes)


@law
@given(POLICY_SETS, POLICIES, REQUESTS)
def test_deny_beats_allow(policies: tuple[Policy, ...], more: Policy, attributes: Attributes) -> None:
    deny = replace(more, name="z", action=Action.DENY, dry_run=False)
    if of((deny,), attributes).verdict is Verdict.DENY:
        assert of((*policies, deny), attributes).verdict is Verdict.DENY


@law
@given(POLICY_SETS, REQUESTS)
def test_where_an_allow_policy_applies_only_a_match_allows(
    policies: tuple[Policy, ...], attributes: Attributes
) -> None:
    decision = of((*policies, Policy(namespace="shop", name="nothing")), attributes)
    assert (decision.verdict is Verdict.ALLOW) == (decision.match is not None and decision.action is Action.ALLOW)


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


@law
@given(POLICIES, REQUESTS, st.data())
def test_removing_a_condition_never_narrows_an_allow(
    policy: Policy, attributes: Attributes, data: st.DataObject
) -> None:
    policy = replace(policy, action=Action.ALLOW, dry_run=False)
    conditional = [index for index, rule in enumerate(policy.rules) if rule.conditions]
    if not conditional:
        return
    index = data.draw(st.sampled_from(conditional))
    rule = policy.rules[index]
    gone = data.draw(st.integers(0, len(rule.conditions) - 1))
    fewer = replace(rule, conditions=rule.conditions[:gone] + rule.conditions[gone + 1 :])
    wider = replace(policy, rules=(*policy.rules[:index], fewer, *policy.rules[index + 1 :]))
    assert not (of((policy,), attributes).verdict is Verdict.ALLOW and of((wider,), attributes).verdict is Verdict.DENY)


@law
@given(POLICY_SETS, REQUESTS)
def test_tcp_and_http_agree_on_what_does_not_look_at_http(policies: tuple[Policy, ...], attributes: Attributes) -> None:
    plain = tuple(replace(policy, rules=tuple(map(without_http, policy.rules))) for policy in policies)
    http, tcp = (of(plain, replace(attributes, protocol=protocol)) for protocol in Protocol)
    assert http == tcp


def without_http(rule: Rule) -> Rule:
    """The rule without the parts that do not exist on TCP."""

    def kept(part: Source | Operation, fields: Mapping[str, Attribute]) -> dict[str, tuple[str, ...]]:
        names = [name for name, attribute in fields.items() if not attribute.http_only]
        return {each: getattr(part, each) for name in names for each in (name, f"not_{name}")}

    return Rule(
        sources=tuple(Source(**kept(source, SOURCE_FIELDS)) for source in rule.sources),
        operations=tuple(Operation(**kept(operation, OPERATION_FIELDS)) for operation in rule.operations),
        conditions=tuple(
            condition
            for condition in rule.conditions
            if (key := key_of(condition.key)) is not None and not key.http_only
        ),
    )


@law
@given(POLICY_SETS, REQUESTS, SEEDS.map(random_providers), SEEDS.map(random_providers))
def test_an_authorizer_that_lets_it_through_never_denies(
    policies: tuple[Policy, ...], attributes: Attributes, some: frozenset[str], more: frozenset[str]
) -> None:
    def verdict(allowed_by: frozenset[str]) -> Verdict:
        return decide(policies, attributes, trust_domains=TRUST_DOMAINS, allowed_by=allowed_by).verdict

    assert not (verdict(some) is Verdict.ALLOW and verdict(some | more) is Verdict.DENY)


@law
@given(POLICY_SETS, REQUESTS)
def test_who_is_triggered_and_does_not_let_it_through_denies(
    policies: tuple[Policy, ...], attributes: Attributes
) -> None:
    asked = triggered(policies, attributes, trust_domains=TRUST_DOMAINS)
    decision = of(policies, attributes)
    assert (decision.stage is Stage.CUSTOM) == bool(asked)
    assert decision.stage is not Stage.CUSTOM or decision.match == asked[0].match
