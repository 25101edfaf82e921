"""Log: a recording of any kind, from its file to its records."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import orjson

from mesh.replaying.decisions import LogLines, read_decisions
from mesh.replaying.envoy import Entries, read_access_log
from mesh.replaying.har import IS_HAR, read_har
from mesh.replaying.kind import Kind
from mesh.replaying.questions import QuestionReader, read_question_lines, read_questions
from mesh.replaying.reading import NO_DEFAULTS, Defaults, Reading
from mesh.replaying.record import Record
from mesh.replaying.stream import Piece, Pieces, Stream, whole_lines

__all__ = ["LineReader", "Log", "RecordingError", "recording"]

LineReader = Callable[[Pieces, Reading], Iterator[Record]]
"""Reads lines, and remembers those that say the same from one call to the next."""

_LOOKED_AT = 64
"""Lines at the beginning: other programs write into the same stream."""


class RecordingError(ValueError):
    """A recording cannot be read at all: why, and what to do."""

    def __init__(self, message: str, *, help: str) -> None:  # noqa: A002  # as in Diagnostic
        super().__init__(message)
        self.help = help


class Log:
    """The records of one file, read once, as they are asked for; no more of it is held than a piece.

    `name` is how messages call it. What kind it is, its beginning tells where it is not given. CheckRequests need a `reader`. What was
    found to be no record is in `reading`.
    """

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        *,
        kind: Kind | None = None,
        defaults: Defaults = NO_DEFAULTS,
        reader: QuestionReader | None = None,
    ) -> None:
        """Look at its beginning.

        Raises:
            RecordingError: It is of no kind that is known, or what it needs is not given.
        """
        self.reading = Reading(name)
        self._stream = Stream(file)
        self._defaults = defaults
        self.kind = kind or _kind_of(self._stream.peek(), name)
        if self.kind is Kind.HAR and defaults.workload is None:
            raise RecordingError(
                f"{name} is an HTTP archive, which does not say which workload it is for",
                help="name it with --workload",
            )
        self._records = self._reading(reader)

    @property
    def position(self) -> int:
        """How many bytes of the file have been read."""
        return self._stream.position

    def __iter__(self) -> Iterator[Record]:
        """The records in order. Where one is that was just given, `reading` knows."""
        return self._records

    def line_reader(self) -> LineReader | None:
        """What reads parts of it apart from each other; none where it is not of lines, or takes a reader of its own."""
        match self.kind:
            case Kind.DECISIONS:
                return partial(read_decisions, known=LogLines(self._defaults))
            case Kind.ENVOY:
                return partial(read_access_log, entries=Entries(self._defaults))
            case _:
                return None

    def pieces(self) -> Iterator[Piece]:
        """All of it in parts, for a `line_reader`; to be asked for instead of the records."""
        return whole_lines(self._stream)

    def _reading(self, reader: QuestionReader | None) -> Iterator[Record]:
        match self.kind:
            case Kind.DECISIONS:
                return read_decisions(self._stream, self.reading, LogLines(self._defaults))
            case Kind.ENVOY:
                return read_access_log(self._stream, self.reading, Entries(self._defaults))
            case Kind.HAR:
                return read_har(self._stream, self.reading, self._defaults)
            case Kind.CHECK_JSON | Kind.CHECK:
                if reader is None:
                    raise RecordingError(
                        f"{self.reading.name} holds CheckRequests", help="`meshward replay` reads them"
                    )
                read = read_questions if self.kind is Kind.CHECK else read_question_lines
                return read(self._stream, self.reading, reader)


@contextmanager
def recording(
    path: Path,
    *,
    kind: Kind | None = None,
    defaults: Defaults = NO_DEFAULTS,
    reader: QuestionReader | None = None,
) -> Iterator[Log]:
    """The records of the file at `path`, whatever it is: a request document each, and the verdict of then or `None`.

    Iterate over it once, and look at `reading` afterwards: `problems`, `bad` and `cut` say what was no record.

    Raises:
        OSError: It cannot be read.
        RecordingError: As `Log`.
    """
    with path.open("rb") as file:
        yield Log(file, str(path), kind=kind, defaults=defaults, reader=reader)


def _kind_of(beginning: bytes, name: str) -> Kind:
    if not beginning or beginning.isspace():
        return Kind.DECISIONS  # none, of whatever kind
    if IS_HAR.match(beginning):
        return Kind.HAR
    for line in beginning.split(b"\n")[:_LOOKED_AT]:
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(entry, dict) and (kind := _kind_of_entry(entry)) is not None:
            return kind
    if _is_framed(beginning):
        return Kind.CHECK
    kinds = ", ".join(kind.value for kind in Kind)
    raise RecordingError(f"cannot tell what {name} is a recording of", help=f"say it with --from: {kinds}")


def _kind_of_entry(entry: dict[str, object]) -> Kind | None:
    if "attributes" in entry:
        return Kind.CHECK_JSON
    if entry.keys() & {"duration_us", "source", "destination", "connection", "request"}:
        return Kind.DECISIONS
    if entry.keys() & {"method", "path", "response_code", "response_code_details", "details", "response_flags"}:
        return Kind.ENVOY
    return None


def _is_framed(beginning: bytes) -> bool:
    """Whether it begins with a length and the first byte of a CheckRequest, whose one field is its first."""
    for position, byte in enumerate(beginning[:5]):
        if byte < 0x80:
            return beginning[position + 1 : position + 2] == b"\x0a"
    return False
