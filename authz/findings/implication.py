"""Implication: whether a rule matches whatever another one does, told clause by clause.

As with matchers, what says yes is right, and what says no may only not have been seen. The rules are as proxies check them, so what
an action does with parts that cannot be expressed has happened.
"""

from collections.abc import Iterable, Sequence

from authz.findings.containment import covers, disjoint
from authz.keys import Attribute
from authz.predicates import Clause, LoweredRule, Part, Predicate

__all__ = ["SINGLE", "implies", "subject_of"]

_IDENTITY = Attribute("source.principal")
_OF_IDENTITY = frozenset({"source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain"})

SINGLE = frozenset(
    {
        "source.ip",
        "remote.ip",
        "destination.ip",
        "destination.port",
        "connection.sni",
        "request.host",
        "request.method",
        "request.path",
        "request.auth.principal",
    }
)
"""The attributes of which a request has one value at most."""


def subject_of(attribute: Attribute) -> Attribute:
    """What an attribute reads: of who calls, four read the same."""
    return _IDENTITY if attribute.key in _OF_IDENTITY else attribute


def implies(narrow: LoweredRule, wide: LoweredRule) -> bool:
    """Whether every request that matches `narrow` matches `wide`."""
    given = narrow.conditions
    return (
        all(any(_part_implies((*source, *given), other) for other in wide.sources) for source in narrow.sources)
        and all(any(_part_implies((*to, *given), other) for other in wide.operations) for to in narrow.operations)
        and all(_somewhere(narrow, clause) for clause in wide.conditions)
    )


def _somewhere(narrow: LoweredRule, wanted: Clause) -> bool:
    """Whether a condition follows from one half of a rule, whichever of its alternatives holds."""
    return all(_implied((*source, *narrow.conditions), wanted) for source in narrow.sources) or all(
        _implied((*to, *narrow.conditions), wanted) for to in narrow.operations
    )


def _part_implies(given: Part, wanted: Part) -> bool:
    return all(_implied(given, clause) for clause in wanted)


def _implied(given: Sequence[Clause], wanted: Clause) -> bool:
    """Whether `wanted` holds where all of `given` do."""
    about = [clause for clause in given if subject_of(clause.attribute) == subject_of(wanted.attribute)]
    if wanted.wanted and not any(_within(clause.wanted, wanted.wanted) for clause in about):
        return False
    return all(any(_excludes(clause, unwanted) for clause in about) for unwanted in wanted.unwanted)


def _within(narrow: Sequence[Predicate], wide: Sequence[Predicate]) -> bool:
    """Whether each of `narrow`, of which there are some, is covered by one of `wide`."""
    if not narrow:
        return False
    same = set(wide)
    return all(each in same or _covered(each, wide) for each in narrow)


def _covered(narrow: Predicate, wide: Iterable[Predicate]) -> bool:
    return any(covers(each.matcher, narrow.matcher) for each in wide)


def _excludes(clause: Clause, unwanted: Predicate) -> bool:
    """Whether nothing has a value that `unwanted` matches, where `clause` holds."""
    if _covered(unwanted, clause.unwanted):
        return True
    return (
        clause.attribute.key in SINGLE
        and bool(clause.wanted)
        and all(disjoint(each.matcher, unwanted.matcher) for each in clause.wanted)
    )
