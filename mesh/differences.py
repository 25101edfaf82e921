"""Differences: what two versions of a mesh decide differently, in words, as all that is to be told of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from authz.analysis.access import IDENTIFIED, TOKEN
from authz.analysis.regions import Asked, Region
from authz.attributes import Protocol
from authz.decision import Match
from authz.invariants import Assumed
from authz.span import Span
from mesh.comparing import Change, Comparison, Difference, compare
from mesh.proving.loading import assumptions, differing_config
from mesh.proving.showing import Shown, show
from mesh.snapshot import Snapshot
from parser.ward_printer import clause

__all__ = ["Changed", "Differences", "ToldRegion", "changed_in", "differences", "region_in_words", "told_of"]

_FEW = 3
"""So many exceptions are named; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRegion:
    """Requests that are decided otherwise: in words, over which protocols, and one of them."""

    change: Change
    words: str
    protocols: tuple[Protocol, ...]
    shown: Shown

    @property
    def headline(self) -> str:
        """The words, with the protocol where it is only one that is not HTTP."""
        return f"{self.words} (TCP)" if self.protocols == (Protocol.TCP,) else self.words

    @property
    def place(self) -> Span | None:
        """Where a rule is written that is responsible: as it is now, or else as it was."""
        before = None if self.shown.before is None else self.shown.before.place
        return self.shown.decided.place or before


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Workloads with the same differences. Of the changes of `capped` there are more than those told."""

    workloads: tuple[str, ...]
    regions: tuple[ToldRegion, ...]
    capped: tuple[Change, ...]

    @property
    def complete(self) -> bool:
        """Whether those told are all."""
        return not self.capped

    def of(self, change: Change) -> tuple[ToldRegion, ...]:
        """The regions that were changed so."""
        return tuple(region for region in self.regions if region.change is change)


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """All that is to be told of two versions. `same` are the workloads for which nothing changes, which is proved."""

    changed: tuple[Changed, ...]
    same: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    config: tuple[str, ...]
    assumptions: tuple[str, ...]

    def count(self, change: Change) -> int:
        """How many regions were changed so."""
        return sum(len(changed.of(change)) for changed in self.changed)


def differences(old: Snapshot, new: Snapshot, *, assumed: Assumed) -> Differences:
    """What is decided otherwise by `new` than by `old`, over all requests.

    Raises:
        Contradiction: The reference decides a case otherwise than the analysis says.
    """
    return told_of(compare(old, new, assumed=assumed), old, new)


def told_of(comparison: Comparison, old: Snapshot, new: Snapshot) -> Differences:
    """What is to be told of a comparison of `old` and `new`."""
    return Differences(
        changed=tuple(_alike(changed_in(comparison.differences, old, new))),
        same=tuple(subject.name for subject in comparison.same),
        added=tuple(subject.name for subject in comparison.added),
        removed=tuple(subject.name for subject in comparison.removed),
        config=tuple(f"{name} was {was}, and is {now}" for name, was, now in differing_config(old, new)),
        assumptions=assumptions(new, old),
    )


def changed_in(several: Iterable[Difference], old: Snapshot, new: Snapshot) -> Iterator[Changed]:
    """What is to be told of each of the workloads that the differences are about."""
    by_subjects: dict[tuple[str, ...], list[Difference]] = {}
    for difference in several:
        names = tuple(subject.name for subject in difference.subjects)
        by_subjects.setdefault(names, []).append(difference)
    for names, some in by_subjects.items():
        found: dict[tuple[Change, str], ToldRegion] = {}
        for difference in some:
            for region, witness in difference.regions:
                words = region_in_words(region, difference.change)
                key = (difference.change, words)
                # What reads the same over HTTP and over TCP is told once.
                if (told := found.get(key)) is not None:
                    protocols = tuple(dict.fromkeys((*told.protocols, difference.protocol)))
                    found[key] = replace(told, protocols=protocols)
                    continue
                shown = show(witness, difference.subjects[0], new, old)
                found[key] = ToldRegion(
                    change=difference.change, words=words, protocols=(difference.protocol,), shown=shown
                )
        yield Changed(
            workloads=names,
            regions=tuple(sorted(found.values(), key=lambda region: list(Change).index(region.change))),
            capped=tuple(dict.fromkeys(difference.change for difference in some if not difference.complete)),
        )


def _alike(some: Iterable[Changed]) -> Iterable[Changed]:
    """Those together of which the same is told, by whichever rules."""
    found: dict[object, Changed] = {}
    for changed in some:
        key = (tuple((region.change, region.headline) for region in changed.regions), changed.capped)
        other = found.get(key)
        found[key] = (
            changed
            if other is None
            else replace(other, workloads=tuple(sorted({*other.workloads, *changed.workloads})))
        )
    return found.values()


# Words ------------------------------------------------------------------------------------------------------------------


def region_in_words(region: Region, change: Change) -> str:
    """Where the difference is, in the words of ward."""
    parts = [_asked(asked) for asked in region.asked]
    parts += [f"{name} lets it through" for name in region.passed]
    parts += [f"{name} does not let it through" for name in region.stopped]
    words = " and ".join(parts) or "everything"
    if region.as_allowed:
        words += ", as far as a rule allows it"
    was, now = region.unless_elsewhere, region.unless_there
    if change is Change.NEWLY_DENIED:
        was, now = now, was
    unless = [f"{_named(now)} matches"] if now else []
    unless += [f"{_named(was)} matched before"] if was else []
    return f"{words}, unless {' or '.join(unless)}" if unless else words


def _named(matches: Sequence[Match]) -> str:
    names = [f"{match.policy}#{match.rule}" for match in matches]
    if len(names) > _FEW + 1:
        names = [*names[:_FEW], f"one of {len(names) - _FEW} more rules"]
    return " or ".join(names)


def _asked(asked: Asked) -> str:
    wanted, unwanted = asked.wanted, asked.unwanted
    if IDENTIFIED in (*wanted, *unwanted):
        return "the caller shows an identity" if wanted else "the caller shows no identity (plaintext)"
    if TOKEN in (*wanted, *unwanted):
        return "there is a token" if wanted else "there is no token"
    return clause(asked.key, asked.values, asked.not_values)
