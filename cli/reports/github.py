"""GitHub's workflow commands: diagnostics as annotations of the lines they are about."""

from collections.abc import Iterable

from parser.diagnostics import Diagnostic
from parser.excerpt import visible

__all__ = ["write_github"]


def write_github(diagnostics: Iterable[Diagnostic]) -> bytes:
    """A command a line for each of `diagnostics`, as a step of a workflow prints them."""
    return "".join(f"{_command(diagnostic)}\n" for diagnostic in diagnostics).encode()


def _command(diagnostic: Diagnostic) -> str:
    span = diagnostic.span
    properties = {
        "file": visible(span.file),
        "line": str(span.line),
        "endLine": str(span.end_line),
        "title": diagnostic.code,
    }
    if span.line == span.end_line:
        # GitHub takes columns only for what is in one line.
        properties |= {"col": str(span.column), "endColumn": str(span.end_column)}
    remedy = "" if diagnostic.help is None else f"\nhelp: {visible(diagnostic.help)}"
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{diagnostic.severity.value} {written}::{_data(visible(diagnostic.message) + remedy)}"


def _data(text: str) -> str:
    # The percent sign first: it is what the others are escaped with.
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
