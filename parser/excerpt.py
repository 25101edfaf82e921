"""Excerpt: the line of a document that a problem is in, made safe and narrow enough for a terminal."""

import unicodedata
from typing import NamedTuple

from authz.span import Span
from parser.source import line_starts

__all__ = ["Excerpt", "excerpt", "visible"]

_WIDTH = 120
_BEFORE = 60
_TAB = "    "
# What a terminal obeys or hides instead of showing: controls, formats (bidirectional overrides among them),
# surrogates, private use, separators of lines and paragraphs, and the spaces that only look like one.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})


class Excerpt(NamedTuple):
    """`line` as a terminal shows it, with carets from column `indent` (from 0), `width` columns wide."""

    line: str
    indent: int
    width: int


def visible(text: str) -> str:
    """`text` with everything that a terminal would obey, or not show, spelled out."""
    return text if text.isascii() and text.isprintable() else "".join(map(_shown, text))


def excerpt(source: str, span: Span) -> Excerpt | None:
    """The first line of `span` in `source`; none where `source` has no such line."""
    starts = line_starts(source)
    if not 1 <= span.line <= len(starts):
        return None
    begin = starts[span.line - 1]
    end = starts[span.line] if span.line < len(starts) else len(source)
    # Only what may be shown is looked at: a line may be as long as a file.
    first = min(max(span.column - 1, 0), end - begin)
    cut = max(0, first - _BEFORE)
    line = source[begin + cut : min(end, begin + cut + _WIDTH + 1)].rstrip("\r\n")
    more_before, more_after = cut > 0, len(line) > _WIDTH
    line = line[:_WIDTH]
    first = min(first - cut, len(line))
    last = len(line) if span.end_line > span.line else min(span.end_column - 1 - cut, len(line))
    cells = [_shown(character) for character in line]
    before = "…" if more_before else ""
    return Excerpt(
        line=before + "".join(cells) + ("…" if more_after else ""),
        indent=len(before) + _columns(cells[:first]),
        width=max(1, _columns(cells[first:last])),
    )


def _columns(cells: list[str]) -> int:
    return sum(_width(character) for cell in cells for character in cell)


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _shown(character: str) -> str:
    if character == " ":
        return character
    if character == "\t":
        return _TAB
    if character <= "\x1f":
        return chr(0x2400 + ord(character))  # the pictures of the C0 controls, in their order
    if character == "\x7f":
        return "\u2421"
    return f"<U+{ord(character):04X}>" if unicodedata.category(character) in _INVISIBLE else character
