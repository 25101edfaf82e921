"""The text of a ward file: what may be in it, and where its statements begin."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from parser.diagnostics import Diagnostic
from parser.source import Source
from parser.yaml_text import first_forbidden, read_text

__all__ = ["MAX_WARD", "SUFFIX", "Statements", "is_ward", "read_ward", "statements"]

SUFFIX = ".ward"
"""How the names of ward files end."""

MAX_WARD = 1024 * 1024
"""Bytes read of one file: some five thousand policies. Text made to be slow costs ten times what policies do."""

# How a statement at the start of a line begins. Nothing else can look like this: in a list, a comma follows each value.
_BEGINNING = re.compile(
    r'^(?:policy|tokens|mtls)[ \t]+(?:"[^"\\\r\n]*+(?:\\.[^"\\\r\n]*+)*+"|[^\s"#\[\](),=]+)[ \t]+in(?![-\w.])',
    re.MULTILINE,
)
# What shows itself otherwise than it reads: orders to write from right to left, and ends of lines that only some readers take
# for one, behind which a comment would seem to be a rule, or a rule a comment.
_DECEITFUL = re.compile("[\u0085\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Statements(NamedTuple):
    """A part of the text that is read on its own, so that what is wrong in it does not hide what is wrong elsewhere."""

    start: int
    end: int


def is_ward(file: str, data: bytes) -> bool:
    """Whether a file is of ward: by its name, or by how it begins where the name does not say, as for standard input."""
    if file.endswith((SUFFIX, ".yaml", ".yml", ".json")):
        return file.endswith(SUFFIX)
    text = data[:_LOOKED_AT].decode(errors="replace").removeprefix("\ufeff")
    return _BEGINNING.match(_SKIPPED.sub("", text)) is not None


_LOOKED_AT = 65536
_SKIPPED = re.compile(r"\A(?:\s|#[^\r\n]*)*")


def read_ward(data: bytes, file: str) -> Source | Diagnostic:
    """The text in `data`, or why there is none."""
    if len(data) > MAX_WARD:
        return Diagnostic(
            "file-too-large",
            f"file has {len(data):,} bytes, more than the {MAX_WARD:,} that are read of ward",
            Source(file, "").span(0, 0),
            help="split it",
        )
    source = read_text(data, file)
    if isinstance(source, Diagnostic):
        return source
    deceitful = _DECEITFUL.search(source.text)
    position = first_forbidden(source.text, 0, len(source.text)) if deceitful is None else deceitful.start()
    if position is None:
        return source
    return Diagnostic(
        "control-character",
        f"character U+{ord(source.text[position]):04X}, which does not show itself",
        source.span(position, position + 1),
        help=f'remove it; in a text in double quotes, write it as "\\u{ord(source.text[position]):04x}"',
    )


def statements(text: str) -> Iterator[Statements]:
    """The parts of `text`, each from a line that begins a statement to the next."""
    starts = [0, *(found.start() for found in _BEGINNING.finditer(text) if found.start()), len(text)]
    for start, end in pairwise(starts):
        yield Statements(start, end)
