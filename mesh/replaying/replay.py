"""Replay: takes recordings, in several processes where that is worth it, and adds up what comes out otherwise."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from mesh.replaying.comparing import ANY, MOST_GROUPS, Comparing, Key, Part
from mesh.replaying.kind import Change
from mesh.replaying.log import Log
from mesh.replaying.masking import Masking
from mesh.replaying.parallel import in_processes
from mesh.replaying.reading import Reading
from mesh.replaying.stream import Piece
from mesh.replaying.version import Cause, Version

__all__ = ["Group", "Replay", "Replayed"]

_TOLD_EVERY = 1024
_ALONE = 8
"""So many parts of a log, of a quarter of a megabyte each, take longer than it takes to start processes."""


@dataclass(slots=True, kw_only=True)
class Group:
    """Requests alike whose decisions differ alike: how many, where the first is, and it as a request document."""

    key: Key
    count: int
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
        self._versions = version, against
        self._masking = masking
        self._unchanged = self._without_verdict = 0
        self._groups: dict[Key, Group] = {}
        self._looked_at: set[str] = set()
        trees = (
            tree for each in (version, against) if each is not None for tree in each.snapshot.guards.trees.values()
        )
        self._unseen = {name for tree in trees for name in tree.headers}

    def take(self, log: Log, *, on_progress: Callable[[int, int], None] = lambda *_: None, jobs: int = 1) -> None:
        """Replay all records of `log`, in up to so many processes. `on_progress` hears, again and again, how many of them and of the file's bytes were read."""
        version, against = self._versions
        comparing = Comparing(version, against, self._masking, log.kind, frozenset(self._unseen))
        count = 0
        for part in _parts(log, comparing, jobs):
            self._add(part)
            count += part.records
            on_progress(count, log.position)

    def outcome(self) -> Replayed:
        """What came of all that was taken."""
        order = list(Change)
        groups = sorted(self._groups.values(), key=lambda group: (order.index(group.key.change), -group.count))
        unlogged = [f"request.headers[{name}]" for name in sorted(self._looked_at & self._unseen)]
        return Replayed(
            unchanged=self._unchanged,
            without_verdict=self._without_verdict,
            groups=tuple(groups),
            unlogged=tuple(unlogged),
        )

    def _add(self, part: Part) -> None:
        """Add what came of the next records. In the order of the records, so that the first of a group is shown."""
        self._unchanged += part.unchanged
        self._without_verdict += part.without_verdict
        self._unseen -= part.headers
        for found in part.found:
            key = found.key
            if key not in self._groups and len(self._groups) >= MOST_GROUPS:
                now, before = Cause(key.now.verdict), Cause(key.before.verdict)
                key = key._replace(workload=ANY, caller=ANY, route=ANY, now=now, before=before)
            if (group := self._groups.get(key)) is not None:
                group.count += found.count
            else:
                self._groups[key] = Group(key=key, count=found.count, place=found.place, sample=found.sample)
                self._looked_at |= found.looked_at


def _parts(log: Log, comparing: Comparing, jobs: int) -> Iterator[Part]:
    """What comes of the records of a log, a part after the other."""
    if (read := log.line_reader()) is None:
        yield from _parts_of_records(log, comparing)
        return
    name, pieces = log.reading.name, log.pieces()

    def compared(piece: Piece) -> tuple[Part, Reading]:
        reading = Reading(name, line=piece.before)
        for record in read(piece, reading):
            comparing.count(record, reading)
        return comparing.part(), reading

    alone = map(compared, islice(pieces, _ALONE if jobs > 1 else None))
    for part, reading in chain(alone, in_processes(compared, pieces, jobs)):
        log.reading.add(reading)
        yield part


def _parts_of_records(log: Log, comparing: Comparing) -> Iterator[Part]:
    for count, record in enumerate(log, start=1):
        comparing.count(record, log.reading)
        if not count % _TOLD_EVERY:
            yield comparing.part()
    yield comparing.part()
