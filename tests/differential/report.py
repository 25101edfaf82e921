"""Reporting: what the sides differ on, made small, kept as vectors, and in words."""

from collections import Counter
from collections.abc import Iterable
from textwrap import indent

from tests.differential.comparison import Comparison
from tests.differential.reading import Seen
from tests.differential.shrinking import Compare, Difference, shrink
from tests.differential.vectors import Vector, save, text

__all__ = ["differences", "report"]

_SHRUNK = 5


def differences(comparisons: Iterable[Comparison]) -> list[Difference]:
    """Every question on which the sides differ."""
    return [
        Difference(Vector(comparison.mesh, case), both)
        for comparison in comparisons
        for case, both in comparison.differences()
    ]


def report(found: list[Difference], compare: Compare) -> str:
    """What they differ on: one difference of each kind, as small as it gets, kept for the runs to come."""
    kinds = Counter(difference.both.kind for difference in found)
    one_of_each = {difference.both.kind: difference for difference in sorted(found, key=_length, reverse=True)}
    shrunk = list(one_of_each.values())[:_SHRUNK]
    shrink(shrunk, compare)
    lines = [f"{len(found)} differences of {len(kinds)} kinds"]
    for difference in shrunk:
        path = save(difference.vector)
        both = difference.both
        lines += [
            f"\n{path.name}:\n{indent(text(difference.vector), '    ')}",
            f"  Envoy:    {_words(both.native)}",
            f"  meshward: {_words(both.meshward)}",
        ]
    return "\n".join(lines)


def _length(difference: Difference) -> int:
    return len(text(difference.vector))


def _words(seen: Seen) -> str:
    status = seen.answer.status if seen.answer.status is not None else ("answered" if seen.answer.body else "closed")
    headers = " ".join(f"{name}={value!r}" for name, value in seen.answer.headers)
    if seen.decided is None:
        return f"{status} {headers}, not decided: {seen.refusal}"
    decided = seen.decided
    rule = "no rule" if decided.match is None else f"{decided.match.policy}[{decided.match.rule}]"
    dry_runs = f"dry run: deny {decided.dry_run_deny}, allow {decided.dry_run_allow}"
    why = f", {seen.refusal}" if seen.refusal else ""
    return (
        f"{status} {headers}, {decided.verdict.value} in {decided.stage.value} by {rule}{why}; "
        f"audit {decided.audit}; {dry_runs}"
    )
