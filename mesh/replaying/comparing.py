"""Comparing: decides recorded requests again, and counts and groups what comes out otherwise."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from authz.attributes import Attributes, Protocol
from authz.decision import Decision, Match, Verdict
from mesh.deciding import destination_of
from mesh.errors import UnknownWorkloadError
from mesh.replaying.kind import Change, Kind
from mesh.replaying.log import Log
from mesh.replaying.masking import Masking
from mesh.replaying.record import Lacking, Record, Recorded
from mesh.replaying.routes import generalised
from mesh.replaying.samples import looked_at, sample
from mesh.replaying.version import Cause, Version
from mesh.snapshot import Guard
from parser.request import RequestDocument

__all__ = ["Group", "Key", "Replay", "Replayed"]

_KEPT = 16_384
"""Records that are known by themselves: what readers give again, because it came again, is not decided again."""
_MOST_GROUPS = 10_000
_TOLD_EVERY = 1024
_PLAINTEXT = "(plaintext)"
_ANY = "…"


class Key(NamedTuple):
    """What requests of one group have in common. `lacking` are the keys of what their records do not tell."""

    change: Change
    workload: str
    caller: str
    route: str
    now: Cause
    before: Cause
    lacking: tuple[str, ...] = ()


@dataclass(slots=True)
class _Count:
    count: int = 0


@dataclass(slots=True, kw_only=True)
class Group(_Count):
    """Requests alike whose decisions differ alike: how many, where the first is, and it as a request document."""

    key: Key
    place: str
    sample: dict[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What came of a replay. `groups` are the largest first, those that are newly denied before those newly allowed.

    `without_verdict` are records that nothing could be compared with. `unlogged` are keys that the policies before requests that
    differ look at, and that no record had: either no request did, or they were not written down.
    """

    unchanged: int
    without_verdict: int
    groups: tuple[Group, ...]
    unlogged: tuple[str, ...]

    def count(self, change: Change) -> int:
        """How many requests changed so."""
        return sum(group.count for group in self.groups if group.key.change is change)

    @property
    def compared(self) -> int:
        """How many requests were compared."""
        return self.unchanged + sum(group.count for group in self.groups)


class Replay:
    """Decides records by `version`, compares with what was recorded or with how the version `against` decides, and groups.

    Nothing of a request is kept that was not masked before, and no more than a bounded number of groups.
    """

    def __init__(self, version: Version, *, masking: Masking, against: Version | None = None) -> None:
        self._version = version
        self._against = against
        self._masking = masking
        self._unchanged = _Count()
        self._without_verdict = _Count()
        self._groups: dict[Key, Group] = {}
        self._looked_at: set[str] = set()
        trees = (
            tree for each in (version, against) if each is not None for tree in each.snapshot.guards.trees.values()
        )
        self._unseen = {name for tree in trees for name in tree.headers}

    def take(self, log: Log, *, on_progress: Callable[[int, int], None] = lambda *_: None) -> None:
        """Replay all records of `log`. `on_progress` hears, again and again, how many of them and of the file's bytes were read."""
        known: dict[int, tuple[Record, _Count]] = {}
        count = 0
        for record in log:
            count += 1
            if not count % _TOLD_EVERY:
                on_progress(count, log.position)
            before = known.get(id(record))
            if before is not None:
                before[1].count += 1
                continue
            counted = self._compare(record, log)
            counted.count += 1
            if len(known) < _KEPT:
                known[id(record)] = record, counted
        on_progress(count, log.position)

    def outcome(self) -> Replayed:
        """What came of all that was taken."""
        order = list(Change)
        groups = sorted(self._groups.values(), key=lambda group: (order.index(group.key.change), -group.count))
        unlogged = [f"request.headers[{name}]" for name in sorted(self._looked_at & self._unseen)]
        return Replayed(
            unchanged=self._unchanged.count,
            without_verdict=self._without_verdict.count,
            groups=tuple(groups),
            unlogged=tuple(unlogged),
        )

    def _compare(self, record: Record, log: Log) -> _Count:
        if self._unseen:
            self._unseen.difference_update(record.document.attributes.headers)
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
        return self._group(record, way, decision, other, log)

    def _group(
        self, record: Record, way: Attributes, decision: Decision, other: Decision | Recorded, log: Log
    ) -> Group:
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
        if group is None and len(self._groups) >= _MOST_GROUPS:
            key = key._replace(
                workload=_ANY, caller=_ANY, route=_ANY, now=Cause(decision.verdict), before=Cause(other.verdict)
            )
            group = self._groups.get(key)
        if group is None:
            wanted = looked_at(guards)
            if log.kind is Kind.DECISIONS:
                self._looked_at.update(wanted.headers)
            document = sample(record.document.destination, seen, wanted=wanted, masking=self._masking)
            group = self._groups[key] = Group(key=key, place=log.reading.place, sample=document)
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
        return destination.workload or destination.principal or destination.address or _ANY

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
