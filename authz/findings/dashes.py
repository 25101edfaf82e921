"""Stray dashes: entries of a list that look like halves of one, so that OR stands where AND was meant.

Whether it was meant nobody can tell, so only what is far wider by itself than together is found.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from authz.findings.codes import STRAY_DASH
from authz.findings.finding import Finding
from authz.findings.reading import Part, ReadRule
from authz.findings.width import asks_for_nothing
from authz.model import Action

__all__ = ["find_stray_dashes"]

# What by itself says little. A port says more: one that is for monitoring, say, may be open as a whole.
_WIDE = frozenset({"request.method"})
# Asked for before a browser sends anything, on all paths and by nobody in particular.
_HARMLESS = frozenset({"OPTIONS"})


def find_stray_dashes(rules: Sequence[ReadRule]) -> Iterator[Finding]:
    """Alternatives of one rule, and neighbouring rules of one policy, that say a half each."""
    for rule in rules:
        for half, name in ((rule.sources, "from"), (rule.operations, "to")):
            yield from _in_half(rule, half, name)
    if rules and rules[0].policy.action is Action.ALLOW:
        for one, other in pairwise(rules):
            if _only_from(one) and _only_wide_to(other):
                yield Finding(
                    code=STRAY_DASH,
                    policy=other.policy,
                    path=other.path,
                    message="this rule has no `from`, and the one before it no `to`: together they let everyone in, here",
                    help="remove the dash before `to`, if it is to hold for the callers of the rule before; else say who in `from`",
                )


def _in_half(rule: ReadRule, half: Sequence[Part], name: str) -> Iterator[Finding]:
    for one, other in pairwise(half):
        if len(one.clauses) != 1 or len(other.clauses) != 1:
            continue
        first, second = one.clauses[0], other.clauses[0]
        # Two lists of one kind are alternatives indeed.
        if first.attribute == second.attribute:
            continue
        for part, beside in ((one, other), (other, one)):
            if _is_wide(part) and not _is_wide(beside):
                clause, narrow = part.clauses[0], beside.clauses[0]
                said, narrowing = (each.name if each.wanted else each.not_name for each in (clause, narrow))
                yield Finding(
                    code=STRAY_DASH,
                    policy=rule.policy,
                    path=part.path,
                    message=f"`{said}` stands in an entry of `{name}` of its own, where it is enough by itself, whatever "
                    f"`{narrowing}` says in the other",
                    help="to ask for both, remove the dash and write the two in one entry",
                )
                break


def _is_wide(part: Part) -> bool:
    """Whether nearly everybody has what the part asks for, or what it says stands for everything beside it."""
    (clause,) = part.clauses
    if asks_for_nothing(clause) or not clause.wanted:
        return True
    if any(value.text == "*" for value in clause.wanted):
        return True
    return clause.attribute.key in _WIDE and not {value.text for value in clause.wanted} <= _HARMLESS


def _only_from(rule: ReadRule) -> bool:
    return bool(rule.sources) and not rule.operations and not rule.conditions


def _only_wide_to(rule: ReadRule) -> bool:
    return (
        not rule.sources
        and not rule.conditions
        and bool(rule.operations)
        and all(len(part.clauses) == 1 and _is_wide(part) for part in rule.operations)
    )
