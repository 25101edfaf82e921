"""Span: a place in a document."""

from typing import NamedTuple

__all__ = ["Path", "Span", "Written"]

Path = tuple[str | int, ...]
"""The way from the root of a document to a value, as keys and list indices: `("spec", "rules", 0, "when", 1, "key")`."""


class Span(NamedTuple):
    """From the first character of a value to the one after its last; lines and columns count from 1."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Written(NamedTuple):
    """A text, and where it is written."""

    text: str
    span: Span
