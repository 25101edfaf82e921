"""Comparing: what two versions of a mesh decide differently, in words, with a request for each difference and the rules responsible."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import islice

from authz.analysis.access import Guarding
from authz.analysis.regions import Region, merged, regions
from authz.attributes import Protocol
from authz.invariants import Assumed
from authz.mesh_config import PathNormalization
from mesh.limits import MOST_RULES, refuse_too_many_rules
from mesh.proving.ground import Ground, Shared, Witness, weaker
from mesh.proving.proofs import NOBODY
from mesh.proving.subjects import Subject, alike_in_both, pairs
from mesh.snapshot import Snapshot

__all__ = ["MOST_REGIONS", "Change", "Compared", "Comparison", "Difference", "compare", "differing"]

MOST_REGIONS = 100
"""So many regions are told of one change; that there are more is said."""


class Change(Enum):
    """What became of a request."""

    NEWLY_ALLOWED = "newly allowed"
    NEWLY_DENIED = "newly denied"


@dataclass(frozen=True, slots=True)
class Difference:
    """Requests of one protocol to workloads that are decided otherwise than before, all alike.

    `regions` are where, with a witness each; `complete` is whether they are all of it.
    """

    change: Change
    subjects: tuple[Subject, ...]
    protocol: Protocol
    regions: tuple[tuple[Region, Witness], ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """Workloads that are guarded alike in each of two versions, with what stood and what stands before them."""

    old: Guarding
    new: Guarding
    subjects: tuple[Subject, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All that is different, and how much was looked at: `same` are the subjects for which it was proved that nothing is.

    `changed` are those of the differences.

    `added` and `removed` are those that one version has and the other has not. To what was added nothing was allowed before;
    what was removed is asked for nothing any more.
    """

    differences: tuple[Difference, ...]
    changed: tuple[Compared, ...]
    same: tuple[Subject, ...]
    added: tuple[Subject, ...]
    removed: tuple[Subject, ...]


def compare(old: Snapshot, new: Snapshot, *, assumed: Assumed) -> Comparison:
    """What is decided otherwise by `new` than by `old`, over all requests.

    Raises:
        TooManyError: A workload has more than `MOST_RULES` rules before it; nothing was looked for yet.
        Contradiction: The reference decides a case otherwise than the analysis says.
    """
    both = pairs(old, new)
    # Of two ways to normalize, what the weaker leaves is more.
    normalization = weaker(old.config.path_normalization, new.config.path_normalization)
    differences: list[Difference] = []
    changed: list[Compared] = []
    same: list[Subject] = []
    groups = list(alike_in_both(old, new, [pair for pair in both if pair.new is not None]))
    refuse_too_many_rules(
        (
            (group[0].subject.name, guarding.policies)
            for was, now, group in groups
            for guarding in (was, now)
            if guarding is not None
        ),
        most=MOST_RULES,
    )
    for was, now, group in groups:
        compared = Compared(was or NOBODY, now or NOBODY, tuple(pair.subject for pair in group))
        found = list(_differences(compared, normalization, assumed))
        differences += found
        if found:
            changed.append(compared)
        else:
            same += compared.subjects
    return Comparison(
        differences=tuple(differences),
        changed=tuple(changed),
        same=tuple(same),
        added=tuple(pair.subject for pair in both if pair.old is None),
        removed=tuple(pair.subject for pair in both if pair.new is None),
    )


def _differences(compared: Compared, normalization: PathNormalization, assumed: Assumed) -> Iterator[Difference]:
    old, new = compared.old, compared.new
    for protocol in Protocol:
        shared = Shared(protocol, normalization=normalization, issuers=(*new.issuers, *old.issuers), assumed=assumed)
        yield from differing(Ground(shared, new, old=old), compared.subjects)


def differing(ground: Ground, some: tuple[Subject, ...], *, among: Iterable[int] = ()) -> Iterator[Difference]:
    """What is decided otherwise than before over the requests of `ground`, which is that of these workloads, as far as all of `among` hold.

    Raises:
        Contradiction: The reference decides a case otherwise than the analysis says.
    """
    if ground.old is None:
        return
    for change, there, elsewhere in (
        (Change.NEWLY_ALLOWED, ground.new, ground.old),
        (Change.NEWLY_DENIED, ground.old, ground.new),
    ):
        finding = regions(ground.space, there, elsewhere, among=(*ground.among, *among))
        found = list(islice(finding, MOST_REGIONS + 1))
        if not found:
            continue
        told = merged(found[:MOST_REGIONS])
        yield Difference(
            change=change,
            subjects=some,
            protocol=ground.shared.protocol,
            regions=tuple((region, ground.witness(region.case)) for region in told),
            complete=len(found) <= MOST_REGIONS,
        )
