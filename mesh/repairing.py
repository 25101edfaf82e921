"""Repairing: the ALLOW rule that comes nearest, and a request like the denied one that it allows; what is said to help is tried."""

from dataclasses import dataclass

from authz.analysis.access import Guarding
from authz.analysis.repair import changed_facts, fact_of, repaired
from authz.analysis.space import Case
from authz.attributes import Attributes
from authz.decision import Stage, Verdict, rule_order
from authz.explain import Explanation, NearMiss, missing
from mesh.questions import decide_again

__all__ = ["MOST_RULES", "Repair", "repair", "too_many"]

MOST_RULES = 2_000
"""Of more rules nobody waits for the solver."""
_TRIES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What a denied request lacks for the rule of `nearest`, and how it would be allowed; none where no policy says what is allowed.

    `allowed_by` are the external authorizers that would have to let it through. `besides` are the facts that had to be changed
    although no clause of that rule fails for them: another rule would deny the request.
    """

    nearest: NearMiss | None
    attributes: Attributes
    allowed_by: frozenset[str]
    besides: tuple[str, ...]


def too_many(guarding: Guarding) -> bool:
    """Whether there are so many rules that nobody looks."""
    return sum(len(policy.rules) for policy in guarding.policies) > MOST_RULES


def repair(guarding: Guarding, attributes: Attributes, explanation: Explanation) -> Repair | None:
    """The nearest rule by which the request can be allowed, with as little changed as that rule asks for.

    Of rules that lack as many clauses it is the one that is reported first. Nothing where no rule can allow anything like it, and
    where there are so many rules that nobody looks.
    """
    if too_many(guarding):
        return None
    misses: list[NearMiss | None] = [*_by_nearness(explanation)] or [None]
    for miss in misses:
        clauses = () if miss is None else miss.missing
        wanted = [clause.attribute for clause in clauses if clause.attribute is not None]
        found = repaired(guarding, attributes, None if miss is None else miss.match, wanted)
        if found is not None and _is_allowed(guarding, *found):
            read = {fact_of(attribute) for attribute in wanted}
            besides = tuple(fact for fact in changed_facts(attributes, found[0]) if fact not in read)
            return Repair(nearest=miss, attributes=found[0], allowed_by=found[1], besides=besides)
    return None


def _by_nearness(explanation: Explanation) -> list[NearMiss]:
    reports = next(stage.policies for stage in explanation.stages if stage.stage is Stage.ALLOW)
    found = [
        (NearMiss(match=rule.match, missing=missing(rule)), rule_order(report.policy, rule.match.rule))
        for report in reports
        for rule in report.rules
        if rule.dropped is None
    ]
    found.sort(key=lambda each: (len(each[0].missing), each[1]))
    return [miss for miss, _ in found[:_TRIES]]


def _is_allowed(guarding: Guarding, attributes: Attributes, allowed_by: frozenset[str]) -> bool:
    """What the reference says of it."""
    case = Case(attributes, allowed_by, ())
    return decide_again(guarding, case).verdict is Verdict.ALLOW
