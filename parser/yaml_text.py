"""The text of a YAML file: decoding its bytes, and where one document ends and the next begins."""

import codecs
import re
from collections.abc import Iterator
from typing import NamedTuple

from parser.diagnostics import Diagnostic
from parser.source import Source

__all__ = ["MAX_FILE", "Chunk", "chunks", "first_forbidden", "is_blank", "read_text", "text_for_excerpts"]

MAX_FILE = 16 * 1024 * 1024
"""Bytes read of one file. A dump of every pod of a cluster fits; a thousand times a Kubernetes object is an attack or a mistake."""

_BYTE_ORDER_MARKS = (
    # UTF-32 first: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# Everything that YAML calls printable, but for the byte order mark, which hides in front of a key and renames it.
_FORBIDDEN = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_MARKER = re.compile(r"^(?:---|\.\.\.)(?=[ \t\r\n]|\Z)", re.MULTILINE)
# The reader takes these for line breaks, too: after one of them a comment is over.
_CONTENT = re.compile("(?:^|[\r\x85\u2028\u2029])[ \t]*+[^ \t\r\n\x85\u2028\u2029#%]", re.MULTILINE)
_REST_OF_MARKER = re.compile("[ \t]*+(?:#[^\r\n\x85\u2028\u2029]*+)?(?=\r?\n|\\Z)")


class Chunk(NamedTuple):
    """Where one document stands in the text, its `---` or `...` included."""

    start: int
    end: int


def read_text(data: bytes, file: str) -> Source | Diagnostic:
    """The text in `data`, or why there is none."""
    start_of_file = Source(file, "").span(0, 0)
    if len(data) > MAX_FILE:
        return Diagnostic(
            "file-too-large",
            f"file has {len(data):,} bytes, more than the {MAX_FILE:,} that are read",
            start_of_file,
            help="split it, or leave out what are not manifests",
        )
    for mark, name in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return Diagnostic(
                "not-utf-8",
                f"file is {name}, expected UTF-8",
                start_of_file,
                help=f"save it as UTF-8 (`iconv -f {name} -t UTF-8`; in PowerShell `Out-File -Encoding utf8`)",
            )
    try:
        return Source(file, data.removeprefix(codecs.BOM_UTF8).decode())
    except UnicodeDecodeError as error:
        good = error.object[: error.start].decode()
        return Diagnostic(
            "not-utf-8",
            f"byte 0x{error.object[error.start]:02x} is not UTF-8",
            Source(file, good + "\ufffd").span(len(good), len(good) + 1),
            help="save the file as UTF-8",
        )


def text_for_excerpts(data: bytes) -> str | None:
    """The text that spans into `data` count in, as well as it can be read; none where the file is too large for that."""
    return None if len(data) > MAX_FILE else data.removeprefix(codecs.BOM_UTF8).decode(errors="replace")


def first_forbidden(text: str, start: int, end: int) -> int | None:
    """The position of the first character in `text[start:end]` that YAML does not allow."""
    found = _FORBIDDEN.search(text, start, end)
    return None if found is None else found.start()


def chunks(text: str) -> Iterator[Chunk]:
    """The documents in `text`, in order, blank ones among them.

    A `---` or `...` at the start of a line always ends a document, whatever is in it, so one that is broken does not
    hide the next.
    """
    start = 0
    for marker in _MARKER.finditer(text):
        if marker.group() == "---":
            if start == marker.start() or _is_prologue(text, start, marker.start()):
                continue  # directives belong to the document behind them
            yield Chunk(start, marker.start())
            start = marker.start()
        else:
            end = text.find("\n", marker.end()) + 1 or len(text)
            yield Chunk(start, end)
            start = end
    if start < len(text):
        yield Chunk(start, len(text))


def is_blank(text: str, chunk: Chunk) -> bool:
    """Whether there is nothing but comments in the document, so that it needs no parser."""
    start, end = chunk
    if _MARKER.match(text, start, end) is not None:
        rest = _REST_OF_MARKER.match(text, start + 3, end)
        if rest is None:
            return False
        start = rest.end()
    return _CONTENT.search(text, start, end) is None and text.find("%", start, end) < 0


def _is_prologue(text: str, start: int, end: int) -> bool:
    return (
        not text.startswith("---", start)
        and text.find("%", start, end) >= 0
        and _CONTENT.search(text, start, end) is None
    )
