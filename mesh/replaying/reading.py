"""Reading: what is found out about a recording while its records are taken from it."""

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from authz.span import Span
from mesh.replaying.stream import OVERLONG, BrokenStreamError, Lines, Pieces
from parser.diagnostics import Diagnostic
from parser.request import RequestError

__all__ = ["NO_DEFAULTS", "Defaults", "NoRecordError", "Reading"]

_NAMED = 5
"""So many things that are no records are named; nobody reads more of them."""

# What stands in these parts of a request may be secret, and so may what is wrong with it.
_SECRET_PARTS = ("request", "jwt")


class NoRecordError(ValueError):
    """Something in a recording is no record: what is wrong, without a word of what stands there, and what to do."""

    def __init__(self, message: str, *, help: str | None = None) -> None:  # noqa: A002  # as in Diagnostic
        super().__init__(message)
        self.message = message
        self.help = help

    @classmethod
    def of(cls, error: RequestError) -> "NoRecordError":
        """The same as a request document's, and nothing that might be a secret."""
        if not error.path or error.path[0] not in _SECRET_PARTS:
            return cls(str(error), help=error.help)
        where = ".".join(str(part) for part in error.path[:2])
        return cls(
            f"`{where}` is not what a request document has there", help="its value is not shown: it may be secret"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What holds for records that do not say: the workload that they are for, and the SPIFFE id of who called."""

    workload: str | None = None
    principal: str | None = None


NO_DEFAULTS = Defaults()


class Reading:
    """How far a recording has been read, and what in it was no record. `name` is its file's, for messages."""

    def __init__(self, name: str, *, line: int = 0) -> None:
        """`line` is how many lines have been read elsewhere."""
        # A name need not be text, and JSON holds nothing else.
        self.name = name.encode(errors="replace").decode()
        self.line = line
        """The number of the line, or of the record where there are no lines, that was read last."""
        self.column = 1
        self.without_request = 0
        """Records that hold no request: our server denied what it could not read."""
        self.bad = 0
        """What was no record."""
        self.problems: list[Diagnostic] = []
        """The first of them."""
        self.cut: Diagnostic | None = None
        """Where the recording ends too early; what came before that was read."""
        self._lines: Lines | None = None

    @property
    def place(self) -> str:
        """Where the record is that was read last."""
        return f"{self.name}:{self.line}" if self.column == 1 else f"{self.name}:{self.line}:{self.column}"

    def batches(self, stream: Pieces) -> Iterator[list[bytes]]:
        """The lines of `stream`, many at a time. If it breaks off, that is noted, and they end."""
        lines = self._lines = Lines(stream)
        try:
            yield from lines
        except BrokenStreamError as error:
            self.cut_off(f"{error}, {'in' if lines.open else 'after'} line {self.line}")

    def decoded(self, line: bytes) -> object:
        """The JSON value in a line; `None` where there is none, which is then noted."""
        try:
            return orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if line is OVERLONG:
                self.skip(NoRecordError("the line is longer than a record can be"))
            elif self._lines is not None and self._lines.open:
                self.cut_off(f"line {self.line} is cut off: the file ends in the middle of a record")
            else:
                self.skip(NoRecordError("no JSON", help="a recording has one record on each line"), column=error.colno)
            return None

    def skip(self, error: NoRecordError, *, column: int = 1) -> None:
        """The last line, or what begins at `column` of it, is no record."""
        self.bad += 1
        if len(self.problems) < _NAMED:
            self.problems.append(self._diagnostic("no-record", error.message, column, error.help))

    def cut_off(self, message: str, *, column: int = 1) -> None:
        """The recording ends here, too early."""
        self.cut = self._diagnostic("cut-off", message, column, "what came before that was replayed")

    def add(self, later: "Reading") -> None:
        """Take what was found out elsewhere about what comes next."""
        self.line, self.column = later.line, later.column
        self.without_request += later.without_request
        self.bad += later.bad
        self.problems += later.problems[: _NAMED - len(self.problems)]
        self.cut = later.cut

    def __getstate__(self) -> dict[str, object]:
        """All but the lines, which have been read."""
        return vars(self) | {"_lines": None}

    def _diagnostic(self, code: str, message: str, column: int, help: str | None) -> Diagnostic:  # noqa: A002  # its word
        span = Span(self.name, max(self.line, 1), column, max(self.line, 1), column)
        return Diagnostic(code, message, span, help=help, excerpt=False)
