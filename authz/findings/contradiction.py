"""Contradictions: what a rule asks for together and no request can have."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from authz.findings.codes import CONTRADICTION, DEAD_VALUE
from authz.findings.containment import covers, disjoint
from authz.findings.finding import Drop, Finding, named
from authz.findings.implication import SINGLE, subject_of
from authz.findings.reading import Clause, ReadRule, Value
from authz.keys import Attribute
from authz.span import Path

__all__ = ["find_contradictions"]

_IDENTITY = subject_of(Attribute("source.namespace"))
# More pairs than that nobody wrote by hand.
_MOST = 10_000


def find_contradictions(rule: ReadRule) -> Iterator[Finding]:
    """Values that are excluded where they are asked for, and what cannot be together."""
    for clause in rule.clauses:
        yield from _excluded(rule, clause)
    for part in rule.parts:
        yield from _together(rule, part.clauses, rule.conditions)
    yield from _together(rule, rule.conditions, ())


def _excluded(rule: ReadRule, clause: Clause) -> Iterator[Finding]:
    """What one field wants and does not want."""
    if not clause.wanted or not clause.unwanted or len(clause.wanted) * len(clause.unwanted) > _MOST:
        return
    dead = [(value, by) for value in clause.wanted if (by := _covered(value, clause.unwanted)) is not None]
    if len(dead) == len(clause.wanted):
        yield Finding(
            code=CONTRADICTION,
            policy=rule.policy,
            path=clause.path,
            message=f"everything that `{clause.name}` asks for is excluded by {_not_list(clause)}, so this never matches",
            help="remove one of the two, or narrow what is excluded",
        )
        return
    for value, by in dead:
        yield Finding(
            code=DEAD_VALUE,
            policy=rule.policy,
            path=value.path,
            message=f"{named(value.text)} is excluded by {named(by.text)} in {_not_list(clause)}, so it never matches",
            help="remove it, or narrow what is excluded",
            # As it never matches, without it the list matches the same.
            fix=(Drop(value.path),),
        )


def _not_list(clause: Clause) -> str:
    return "`notValues`" if clause.name == clause.not_name else f"`{clause.not_name}`"


def _covered(value: Value, unwanted: Sequence[Value]) -> Value | None:
    for by in unwanted:
        if all(any(covers(wide, narrow) for wide in by.matchers) for narrow in value.matchers):
            return by
    return None


def _together(rule: ReadRule, clauses: Sequence[Clause], others: Sequence[Clause]) -> Iterator[Finding]:
    """What two clauses ask of one thing, of which there is one value."""
    pairs = [*combinations(clauses, 2), *((one, other) for one in clauses for other in others)]
    for one, other in pairs:
        if subject_of(one.attribute) != subject_of(other.attribute):
            continue
        if len(one.wanted) * max(len(other.wanted), len(other.unwanted)) > _MOST:
            continue
        if (message := _clash(one, other) or _clash(other, one)) is not None:
            yield Finding(
                code=CONTRADICTION,
                policy=rule.policy,
                path=_place(other if one in rule.conditions or other not in rule.conditions else one),
                message=f"{message}, so this never matches",
                help="what stands together must all hold: begin another rule, or another entry, if either is to be enough",
            )
            return


def _place(clause: Clause) -> Path:
    return clause.path if clause.wanted else clause.not_path


def _clash(one: Clause, other: Clause) -> str | None:
    """Why the two cannot both hold, whatever else does."""
    if not one.wanted:
        return None
    if other.unwanted and all(_covered(value, other.unwanted) is not None for value in one.wanted):
        return f"everything that `{one.name}` asks for is excluded by {_not_list(other)}"
    if not other.wanted or not (_single(one) and _single(other)):
        return None
    if all(_apart(value, another) for value in one.wanted for another in other.wanted):
        return f"nothing that `{one.name}` asks for is among what `{other.name}` does"
    return None


def _single(clause: Clause) -> bool:
    """Whether a request has one value at most of what is asked for: one identity among them, as all certificates of a mesh have."""
    return clause.attribute.key in SINGLE or subject_of(clause.attribute) == _IDENTITY


def _apart(value: Value, other: Value) -> bool:
    return all(disjoint(one, another) for one in value.matchers for another in other.matchers)
