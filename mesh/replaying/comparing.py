"""Comparing: decides recorded requests again, and counts and groups what comes out otherwise, part by part."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from authz.attributes import Attributes, Protocol
from authz.decision import Decision, Match, Verdict
from mesh.deciding import destination_of
from mesh.errors import UnknownWorkloadError
from mesh.replaying.kind import Change, Kind
from mesh.replaying.masking import Masking
from mesh.replaying.reading import Reading
from mesh.replaying.record import Lacking, Record, Recorded
from mesh.replaying.routes import generalised
from mesh.replaying.samples import looked_at, sample
from mesh.replaying.version import Cause, Version
from mesh.snapshot import Guard
from parser.request import RequestDocument

__all__ = ["ANY", "MOST_GROUPS", "Comparing", "Found", "Key", "Part"]

ANY = "…"
"""Stands for what is not known, and for what there is too much of."""

MOST_GROUPS = 10_000
"""So many groups are kept apart."""

_KEPT = 16_384
"""Records that are known by themselves: what readers give again, because it came again, is not decided again."""
_PLAINTEXT = "(plaintext)"


class Key(NamedTuple):
    """What requests of one group have in common. `lacking` are the keys of what their records do not tell."""

    change: Change
    workload: str
    caller: str
    route: str
    now: Cause
    before: Cause
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A group as far as one part of a log has it. `looked_at` are headers that the policies before its workload look at, where a log may lack them."""

    key: Key
    count: int
    place: str
    sample: dict[str, object]
    looked_at: frozenset[str]


class Part(NamedTuple):
    """What came of some records that follow each other: how many they are, and what a `Group` is made of, in the order in which they came.

    `headers` are those that a policy looks at and a record had.
    """

    records: int
    unchanged: int
    without_verdict: int
    found: tuple[Found, ...]
    headers: frozenset[str]


@dataclass(slots=True)
class _Count:
    count: int = 0


@dataclass(slots=True, kw_only=True)
class _Group(_Count):
    key: Key
    place: str
    sample: dict[str, object]
    looked_at: frozenset[str]


class Comparing:
    """Decides records of one log, counts what comes out otherwise, and says so part by part.

    What it remembers of earlier records saves deciding them again, and makes no other difference.
    """

    def __init__(
        self, version: Version, against: Version | None, masking: Masking, kind: Kind, headers: frozenset[str]
    ) -> None:
        """`headers` are those of which it is to be said whether a record had them."""
        self._version = version
        self._against = against
        self._masking = masking
        self._kind = kind
        self._headers = headers
        self._seen: set[str] = set()
        self._records = 0
        self._unchanged = _Count()
        self._without_verdict = _Count()
        self._groups: dict[Key, _Group] = {}
        self._known: dict[int, tuple[Record, _Count]] = {}

    def count(self, record: Record, reading: Reading) -> None:
        """Decide one record, which `reading` has just come to."""
        self._records += 1
        known = self._known.get(id(record))
        if known is not None:
            known[1].count += 1
            return
        counted = self._compared(record, reading)
        counted.count += 1
        if len(self._known) < _KEPT:
            self._known[id(record)] = record, counted

    def part(self) -> Part:
        """What came of the records since it was asked last."""
        groups = [group for group in self._groups.values() if group.count]
        part = Part(
            records=self._records,
            unchanged=self._unchanged.count,
            without_verdict=self._without_verdict.count,
            found=tuple([Found(each.key, each.count, each.place, each.sample, each.looked_at) for each in groups]),
            headers=frozenset(self._seen),
        )
        self._records = self._unchanged.count = self._without_verdict.count = 0
        self._seen.clear()
        for group in groups:
            group.count = 0
        if len(self._groups) > MOST_GROUPS:
            # Whoever adds the parts up has them, or needs them no more.
            self._groups.clear()
            self._known.clear()
        return part

    def _compared(self, record: Record, reading: Reading) -> _Count:
        if self._headers:
            self._seen.update(self._headers.intersection(record.document.attributes.headers))
        decision, way = self._version.decide(record)
        other: Decision | Recorded
        if self._against is not None:
            other, _ = self._against.decide(record)
        elif record.recorded is not None:
            other = record.recorded
        else:
            return self._without_verdict
        if other.verdict is decision.verdict:
            return self._unchanged
        return self._group(record, way, decision, other, reading)

    def _group(
        self, record: Record, way: Attributes, decision: Decision, other: Decision | Recorded, reading: Reading
    ) -> _Group:
        """The group of a request that is decided otherwise now."""
        guards = list(self._guards(record))
        lacking = sorted({key for guard in guards for key in (record.lacking or _NOTHING).among(guard)})
        if lacking:
            change = Change.UNCERTAIN
        else:
            change = Change.NEWLY_DENIED if decision.verdict is Verdict.DENY else Change.NEWLY_ALLOWED
        before = other.match if isinstance(other, Decision) else _match(other)
        text = self._masking.text
        seen = self._version.seen(record, way)
        key = Key(
            change=change,
            workload=text(self._workload(record.document)),
            caller=text(seen.identities[0].removeprefix("spiffe://")) if seen.identities else _PLAINTEXT,
            route=self._route(seen, (self._version, decision.match), (self._against or self._version, before)),
            now=self._version.cause(decision, text),
            before=self._cause_of(other),
            lacking=tuple(lacking),
        )
        group = self._groups.get(key)
        if group is None:
            wanted = looked_at(guards)
            document = sample(record.document.destination, seen, wanted=wanted, masking=self._masking)
            headers = wanted.headers if self._kind is Kind.DECISIONS else frozenset()
            group = self._groups[key] = _Group(key=key, place=reading.place, sample=document, looked_at=headers)
        return group

    def _guards(self, record: Record) -> Iterator[Guard]:
        """What stands before the workload of a request, in each version that knows it."""
        for version in (self._version, self._against):
            if version is not None:
                with suppress(UnknownWorkloadError):
                    workload = destination_of(version.snapshot, record.document)
                    yield version.snapshot.guard(workload, record.document.destination.service)

    def _workload(self, document: RequestDocument) -> str:
        destination = document.destination
        for version in (self._version, self._against):
            if version is not None:
                with suppress(UnknownWorkloadError):
                    found = destination_of(version.snapshot, document)
                    return found.id if found.name else found.namespace
        return destination.workload or destination.principal or destination.address or ANY

    def _route(self, seen: Attributes, *rules: tuple[Version, Match | None]) -> str:
        """What is asked for, in the words of the rule that matches it now, or of the one that did before, else generalised."""
        if seen.protocol is Protocol.TCP:
            return "TCP" if seen.destination_port is None else f"TCP port {seen.destination_port}"
        path = seen.path or ""
        patterns = (version.pattern(match, path) for version, match in rules if match is not None)
        route = next((pattern for pattern in patterns if pattern is not None), None) or generalised(path)
        return f"{seen.method} {self._masking.path(route)}"

    def _cause_of(self, other: Decision | Recorded) -> Cause:
        text = self._masking.text
        if isinstance(other, Decision):
            return (self._against or self._version).cause(other, text)
        reason = None if other.reason is None else text(other.reason)
        return Cause(other.verdict, None if other.policy is None else text(other.policy), other.rule, reason)


_NOTHING = Lacking()


def _match(recorded: Recorded) -> Match | None:
    return None if recorded.policy is None or recorded.rule is None else Match(recorded.policy, recorded.rule)
