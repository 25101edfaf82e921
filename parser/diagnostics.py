"""Diagnostic: a problem at a place in a document, and how it is shown to whoever must fix it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from authz.span import Span
from parser.edits import Edit
from parser.excerpt import excerpt, visible

__all__ = ["Diagnostic", "PolicySyntaxError", "Severity", "quoted", "render", "to_data"]


class Severity(Enum):
    """Whether a problem keeps the document from being used."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A problem at a place. `code` names the kind of problem, `help` says what to do about it.

    `excerpt` is whether its line may be shown: what is wrong may be that it holds a secret. `fix` is what may be done about it
    without asking.
    """

    code: str
    message: str
    span: Span
    help: str | None = field(default=None, kw_only=True)
    severity: Severity = field(default=Severity.ERROR, kw_only=True)
    excerpt: bool = field(default=True, kw_only=True)
    fix: tuple[Edit, ...] = field(default=(), kw_only=True)


class PolicySyntaxError(Exception):
    """The base of what this package raises: text that does not say what it should.

    `diagnostics` holds every problem, at least one.
    """

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        first = self.diagnostics[0]
        more = f", and {len(self.diagnostics) - 1} more" if len(self.diagnostics) > 1 else ""
        super().__init__(f"{visible(str(first.span))}: {visible(first.message)}{more}")


_QUOTED = 80


def quoted(text: str) -> str:
    """`text` from a document as a message shows it: in backticks, one line, cut where it is long."""
    cut = text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"
    return f"`{visible(cut)}`"


def render(diagnostic: Diagnostic, source: str | None) -> str:
    """The diagnostic as text for a terminal; `source` is the text of its file, if it is at hand.

    Nothing from the document reaches the terminal as a control character.
    """
    span = diagnostic.span
    place = f"{visible(span.file)}:{span.line}:{span.column}"
    lines = [f"{place}: {diagnostic.severity.value}[{diagnostic.code}]: {visible(diagnostic.message)}"]
    shown = excerpt(source, span) if source is not None and diagnostic.excerpt else None
    if shown is not None:
        gutter = f"{span.line:>5} | "
        lines.append((gutter + shown.line).rstrip())
        lines.append(" " * (len(gutter) - 2) + "| " + " " * shown.indent + "^" * shown.width)
    if diagnostic.help is not None:
        lines.append(f"  help: {visible(diagnostic.help)}")
    return "\n".join(lines)


def to_data(diagnostic: Diagnostic) -> dict[str, str | int | None]:
    """The diagnostic as plain data for JSON."""
    span = diagnostic.span
    return {
        "severity": diagnostic.severity.value,
        "code": diagnostic.code,
        "message": diagnostic.message,
        # A name need not be text, and JSON holds nothing else.
        "file": span.file.encode(errors="replace").decode(),
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
        "help": diagnostic.help,
    }
