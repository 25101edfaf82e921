"""Who can reach a workload: the callers whose requests are allowed, each with what they may ask for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from authz.analysis.access import IDENTIFIED, TOKEN
from authz.analysis.regions import Asked, Region, merged, regions
from authz.attributes import Protocol
from authz.invariants import Assumed, Requests
from authz.model import Operation
from mesh.comparing import MOST_REGIONS, Change
from mesh.differences import region_in_words
from mesh.limits import MOST_TOLD_RULES, refuse_too_many_rules
from mesh.proving.ground import Ground, Shared
from mesh.proving.proofs import NOBODY
from mesh.proving.showing import Shown, show
from mesh.proving.subjects import Subject, subjects
from mesh.questions import guarding_of
from mesh.snapshot import Snapshot

__all__ = ["Allowed", "Reach", "who_can"]

_OF_CALLERS = ("source.", "remote.", "request.auth")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What some callers may ask for, over which protocols, with a request that is allowed."""

    words: str
    protocols: tuple[Protocol, ...]
    shown: Shown


@dataclass(frozen=True, slots=True)
class Reach:
    """Who can reach a workload: what they are asked to be, in words, with what is allowed to them.

    `complete` is whether it is all.
    """

    subject: Subject
    callers: tuple[tuple[str, tuple[Allowed, ...]], ...]
    complete: bool


def who_can(snapshot: Snapshot, workload_id: str, *, method: str | None = None, path: str | None = None) -> list[Reach]:
    """Who can reach the workloads of this name, with this method and to this path if they are given.

    Raises:
        TooManyError: More than `MOST_TOLD_RULES` rules stand before one.
        Contradiction: The reference decides a case otherwise than the analysis says.
    """
    operation = Operation(
        methods=() if method is None else (method,),
        paths=() if path is None else (path,),
    )
    chosen = [subject for subject in subjects(snapshot) if subject.name == workload_id]
    refuse_too_many_rules(
        ((each.name, guarding_of(snapshot, each.workload, each.service).policies) for each in chosen),
        most=MOST_TOLD_RULES,
    )
    return [_reach(snapshot, subject, Requests(operation=operation)) for subject in chosen]


def _reach(snapshot: Snapshot, subject: Subject, requests: Requests) -> Reach:
    callers: dict[str, dict[str, Allowed]] = {}
    complete = True
    for protocol in Protocol:
        found = list(islice(_regions(snapshot, subject, requests, protocol), MOST_REGIONS + 1))
        complete = complete and len(found) <= MOST_REGIONS
        for who, what, shown in found[:MOST_REGIONS]:
            theirs = callers.setdefault(who, {})
            known = theirs.get(what)
            protocols = (protocol,) if known is None else (*known.protocols, protocol)
            theirs[what] = Allowed(what, protocols, shown if known is None else known.shown)
    return Reach(subject, tuple((who, tuple(theirs.values())) for who, theirs in callers.items()), complete)


def _regions(
    snapshot: Snapshot, subject: Subject, requests: Requests, protocol: Protocol
) -> Iterator[tuple[str, str, Shown]]:
    guarding = guarding_of(snapshot, subject.workload, subject.service)
    shared = Shared(
        protocol,
        normalization=snapshot.config.path_normalization,
        issuers=guarding.issuers,
        assumed=Assumed(),
    )
    ground = Ground(shared, guarding, old=NOBODY)
    if ground.old is None:
        return
    meant = ground.of_requests(requests, subject.name)
    found = islice(regions(ground.space, ground.new, ground.old, among=(*ground.among, meant)), MOST_REGIONS + 1)
    for region in merged(found):
        who, what = _parted(region)
        yield who, what, show(replace(ground.witness(region.case), before=None), subject, snapshot)


def _parted(region: Region) -> tuple[str, str]:
    """What is asked of callers, and the rest."""
    theirs = tuple(asked for asked in region.asked if _of_callers(asked))
    rest = replace(region, asked=tuple(asked for asked in region.asked if asked not in theirs))
    who = Region(asked=theirs, case=region.case)
    said = region_in_words(who, Change.NEWLY_ALLOWED) if theirs else "anybody"
    return said, region_in_words(rest, Change.NEWLY_ALLOWED)


def _of_callers(asked: Asked) -> bool:
    special = {IDENTIFIED, TOKEN} & {*asked.wanted, *asked.unwanted}
    return bool(special) or asked.key.startswith(_OF_CALLERS)
