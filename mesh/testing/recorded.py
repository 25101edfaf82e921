"""Recorded traffic as a test: what was decided then is decided still, but for as many requests as the test says."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mesh.answering import Answer
from mesh.deciding import Offline, destination_of
from mesh.errors import UnknownWorkloadError
from mesh.replaying.kind import Change
from mesh.replaying.log import LineReader, Log, RecordingError
from mesh.replaying.masking import Masking
from mesh.replaying.reading import Defaults
from mesh.replaying.record import Record
from mesh.replaying.replay import Group, Replay, Replayed
from mesh.replaying.version import Version
from mesh.testing.suites import Suite
from parser.policy_tests import LogCheck, PolicyTest

__all__ = ["Recorded", "replay_test"]

_SHOWN = 5
_WORDS = {
    Change.NEWLY_DENIED: "newly denied",
    Change.NEWLY_ALLOWED: "newly allowed",
    Change.UNCERTAIN: "uncertain",
}


class Recorded(Log):
    """The records of a recording that are for one workload, or all of them where it is none."""

    def about(self, suite: Suite, workload: str | None) -> "Recorded":
        """Give only those from now on."""
        if workload is not None:
            self._records = (record for record in self._records if _is_for(record, suite, workload))
        return self

    def line_reader(self) -> LineReader | None:
        """None: its records are chosen among those of the whole log."""
        return None


def _is_for(record: Record, suite: Suite, workload: str) -> bool:
    with suppress(UnknownWorkloadError):
        found = destination_of(suite.snapshot, record.document)
        return (found.id if found.name else found.namespace) == workload
    return False


def replay_test(suite: Suite, test: PolicyTest, check: LogCheck, *, at: float) -> tuple[tuple[str, ...], Answer]:
    """What is wrong about the traffic of a test, a sentence each and none where nothing is, and what became of it."""
    path = suite.directory / check.path.text
    workload = suite.places[test.to.text].workload.id if test.to.text else None
    version = Version(suite.snapshot, Offline(at=at), fixed=suite.tests.now is not None)
    replay = Replay(version, masking=Masking())
    try:
        with path.open("rb") as file:
            log = Recorded(file, str(Path(check.path.text)), defaults=Defaults(workload=workload)).about(
                suite, workload
            )
            replay.take(log)
    except RecordingError as error:
        return (str(error),), Answer(headline="", lines=())
    except OSError as error:
        return (f"cannot read {path}: {error.strerror}",), Answer(headline="", lines=())
    replayed = replay.outcome()
    return tuple(_problems(check, log, replayed)), _answer(replayed)


def _problems(check: LogCheck, log: Log, replayed: Replayed) -> Iterator[str]:
    reading = log.reading
    if reading.cut is not None:
        yield f"{reading.cut.span}: {reading.cut.message}"
    if reading.bad:
        first = reading.problems[0]
        yield f"{reading.bad:,} of what is in it are no records, first {first.span}: {first.message}"
    if not replayed.compared:
        yield "there is no record in it that says what was decided"
        return
    for expected, change in ((check.newly_denied, Change.NEWLY_DENIED), (check.newly_allowed, Change.NEWLY_ALLOWED)):
        if expected != (count := replayed.count(change)):
            yield f"expected {expected:,} requests to be {_WORDS[change]}, got {count:,}"


def _answer(replayed: Replayed) -> Answer:
    counts = ", ".join(f"{replayed.count(change):,} {_WORDS[change]}" for change in Change)
    shown = replayed.groups[:_SHOWN]
    lines = [(_WORDS[group.key.change], _group(group)) for group in shown]
    if len(replayed.groups) > len(shown):
        lines.append(
            ("and", f"{len(replayed.groups) - len(shown):,} more kinds of requests, which `meshward replay` shows")
        )
    return Answer(headline=f"{replayed.compared:,} compared: {counts}", lines=tuple(lines))


def _group(group: Group) -> str:
    key = group.key
    now = key.now.reason or ""
    if key.now.policy is not None:
        now += f": {key.now.policy}#{key.now.rule}" + ("" if key.now.place is None else f" ({key.now.place})")
    return f"{group.count:,} of {key.caller} {key.route} to {key.workload}, first {group.place}: {now}"
