"""An explanation is the reference's: what it says held did hold, and what it says is missing is missing."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz import explain as explaining
from authz.attributes import Attributes
from authz.decision import Stage, Verdict
from authz.explain import ClauseReport, Explanation, PolicyReport, RuleReport, explain
from authz.keys import Attribute
from authz.matcher import matches
from authz.model import Action, Policy
from authz.predicates import PredicateTable
from authz.semantics import RuleReader, decide
from authz.values import Scope
from tests.laws.world import TRUST_DOMAINS, random_attributes, random_policies, random_providers


def check_explanations(seed: int, *, requests: int = 3) -> None:
    """The laws for one policy set and a number of requests. A planted fault must make this fail."""
    random = Random(seed)
    policies, trust_domains = random_policies(random), random.choice(TRUST_DOMAINS)
    for _ in range(requests):
        attributes, allowed_by = random_attributes(random), random_providers(random)
        explanation = explain(policies, attributes, trust_domains=trust_domains, allowed_by=allowed_by)
        assert explanation.decision == decide(policies, attributes, trust_domains=trust_domains, allowed_by=allowed_by)
        check_stages(explanation, policies)
        for report in reports_in(explanation):
            for rule in report.rules:
                check_rule(rule, report.policy, attributes, trust_domains)
        check_nearest(explanation)


def check_many(count: int) -> None:
    for seed in range(count):
        check_explanations(seed)


def reports_in(explanation: Explanation) -> Iterator[PolicyReport]:
    return (report for stage in explanation.stages for report in stage.policies)


def check_stages(explanation: Explanation, policies: tuple[Policy, ...]) -> None:
    """Every policy stands in one place, and where something is decided stands what decided."""
    assert [stage.stage for stage in explanation.stages] == [Stage.CUSTOM, Stage.DENY, Stage.ALLOW, Stage.NONE]
    reported = [report.policy for report in reports_in(explanation)]
    assert sorted(map(id, reported)) == sorted(map(id, policies))
    decision = explanation.decision
    if decision.match is not None:
        (stage,) = (each for each in explanation.stages if each.stage is decision.stage)
        assert decision.match in [rule.match for each in stage.policies for rule in each.rules if rule.held]
    for stage in explanation.stages:
        for report in stage.policies:
            assert (stage.stage is Stage.NONE) == (
                report.policy.action is Action.AUDIT
                or (report.policy.dry_run and report.policy.action is not Action.CUSTOM)
            )


def check_rule(report: RuleReport, policy: Policy, attributes: Attributes, trust_domains: tuple[str, ...]) -> None:
    index = report.match.rule
    alone = replace(policy, rules=(policy.rules[index],), dry_run=False)
    decision = decide((alone,), attributes, trust_domains=trust_domains)
    assert report.held is (decision.match is not None or decision.audit)
    # What the other reading of the same section leaves out is what is said to be dropped.
    lowered = PredicateTable(trust_domains=trust_domains).lower(policy, attributes.protocol)
    assert (report.dropped is None) is (index in {each.match.rule for each in lowered})
    halves = (report.sources, report.operations)
    if report.dropped is None:
        assert report.held is (
            all(not half or any(part.held for part in half) for half in halves)
            and all(clause.held for clause in report.conditions)
        )
    for half in halves:
        for part in half:
            assert part.held is all(clause.held for clause in part.clauses)
    for clause in clauses_of(report):
        check_clause(clause, attributes, Scope(policy.namespace, trust_domains), dropped=report.dropped is not None)


def clauses_of(report: RuleReport) -> list[ClauseReport]:
    parts = (*report.sources, *report.operations)
    return [*(clause for part in parts for clause in part.clauses), *report.conditions]


def check_clause(clause: ClauseReport, attributes: Attributes, scope: Scope, *, dropped: bool) -> None:
    if clause.attribute is None:
        assert clause.seen == ()
        assert clause.meaningless == clause.values
        return
    assert clause.seen == clause.attribute.read(attributes)
    assert set(clause.meaningless) <= set(clause.values)
    if dropped:
        return
    means = [value for value in clause.values if value not in clause.meaningless]
    found = any(
        matches(matcher, seen)
        for value in means
        for matcher in clause.attribute.matchers(value, scope)
        for seen in clause.seen
    )
    assert clause.held is (not found if clause.negated else found or not means)


def check_nearest(explanation: Explanation) -> None:
    (allow,) = (stage for stage in explanation.stages if stage.stage is Stage.ALLOW)
    rules = [rule for report in allow.policies for rule in report.rules if rule.dropped is None]
    miss = explanation.nearest
    if explanation.decision.verdict is Verdict.ALLOW or not rules or any(rule.held for rule in rules):
        assert miss is None
        return
    assert miss is not None
    assert miss.missing
    assert not any(clause.held for clause in miss.missing)
    (own,) = (rule for rule in rules if rule.match == miss.match)
    assert miss.missing in ways_to_hold(own)
    assert len(miss.missing) == min(len(way) for rule in rules for way in ways_to_hold(rule))


def ways_to_hold(rule: RuleReport) -> list[tuple[ClauseReport, ...]]:
    """For each source with each operation, what would have to hold besides."""

    def failing(clauses: tuple[ClauseReport, ...]) -> tuple[ClauseReport, ...]:
        return tuple(clause for clause in clauses if not clause.held)

    sources = [failing(part.clauses) for part in rule.sources] or [()]
    operations = [failing(part.clauses) for part in rule.operations] or [()]
    return [(*one, *other, *failing(rule.conditions)) for one, other in product(sources, operations)]


@settings(max_examples=200)
@given(st.integers(0, 2**32))
def test_an_explanation_is_the_references(seed: int) -> None:
    check_explanations(seed)


def test_the_order_in_which_policies_are_given_does_not_matter() -> None:
    for seed in range(100):
        random = Random(seed)
        policies, attributes = random_policies(random), random_attributes(random)
        one, other = (
            explain(each, attributes, trust_domains=("cluster.local",)) for each in (policies, policies[::-1])
        )
        assert one == other


# Tests of the tests ---------------------------------------------------------------------------------------------------

Plant = Callable[[pytest.MonkeyPatch], None]


def see_what_is_not_there(patch: pytest.MonkeyPatch) -> None:
    original = explaining.ClauseReport
    patch.setattr(explaining, "ClauseReport", lambda **facts: original(**{**facts, "seen": (*facts["seen"], "x")}))


def confuse_both_lists(patch: pytest.MonkeyPatch) -> None:
    class Confused(RuleReader):
        def field(self, attribute: Attribute, values: tuple[str, ...], not_values: tuple[str, ...]) -> bool:
            return super().field(attribute, not_values, values)

    patch.setattr(explaining, "RuleReader", Confused)


def forget_that_a_rule_is_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(explaining._Asking, "_drop", lambda *_: False)


def take_a_rule_that_misses_more(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(explaining, "min", max, raising=False)


@pytest.mark.parametrize(
    "plant",
    [see_what_is_not_there, confuse_both_lists, forget_that_a_rule_is_dropped, take_a_rule_that_misses_more],
)
def test_an_explanation_that_is_wrong_is_noticed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        check_many(200)
