"""Comments that say which findings are to be passed over, and why: `# meshward-ignore: code the reason`."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from authz.span import Span
from parser.diagnostics import Diagnostic
from parser.problems import Problems
from parser.remarks import Comment
from parser.source import Source, line_starts
from parser.ward_remarks import ward_comments
from parser.ward_text import is_ward
from parser.yaml_nodes import parse_documents
from parser.yaml_remarks import yaml_comments
from parser.yaml_text import read_text

__all__ = ["MARK", "Ignore", "ignores_in"]

MARK = "meshward-ignore:"
"""What such a comment begins with."""

_IGNORE = re.compile(rf"#\s*{MARK}[ \t]*(?P<codes>[a-z][-a-z]*(?:,[a-z][-a-z]*)*)?(?![-\w])(?P<reason>.*)")


class Ignore(NamedTuple):
    """What a comment at `span` passes over: findings of these codes that begin in one of the lines, of which the last counts."""

    codes: tuple[str, ...]
    reason: str
    span: Span
    first_line: int
    last_line: int

    def covers(self, diagnostic: Diagnostic) -> bool:
        """Whether it is about `diagnostic`."""
        span = diagnostic.span
        return diagnostic.code in self.codes and self.first_line <= span.line <= self.last_line


def ignores_in(data: bytes, file: str) -> tuple[Ignore, ...]:
    """Those of a file that can be read.

    A comment beside a value is about the line that it is in, and one on a line of its own about the line that follows. Above the
    first line of a document, or of a statement of ward, it is about the whole of it.
    """
    if MARK.encode() not in data:
        return ()
    source = read_text(data, file)
    if not isinstance(source, Source):
        return ()
    if is_ward(file, data):
        from parser.ward import said_in  # noqa: PLC0415  # its grammar is paid for by who uses it

        comments: Iterator[Comment] = ward_comments(source.text)
        wholes = [said.spans[()] for said in said_in(data, file, Problems())]
    else:
        roots = parse_documents(data, file)[0]
        comments = yaml_comments(source.text, roots)
        wholes = [root.span for root in roots]
    return tuple(_ignores(source, comments, wholes))


def _ignores(source: Source, comments: Iterator[Comment], wholes: Sequence[Span]) -> Iterator[Ignore]:
    content = _lines_with_content(source.text)
    for comment in comments:
        found = _IGNORE.fullmatch(comment.text)
        if found is None:
            continue
        span = source.span(comment.start, comment.start + len(comment.text))
        first = last = span.line
        if not source.text[_line_start(source.text, span.line) : comment.start].strip(" \t"):
            position = bisect_left(content, span.line)
            first = last = content[position] if position < len(content) else 0
            last = next((whole.end_line for whole in wholes if whole.line == first), first)
        codes = tuple(filter(None, (found["codes"] or "").split(",")))
        yield Ignore(codes, found["reason"].strip(" \t,:-–—"), span, first, last)  # noqa: RUF001  # as people write dashes


def _line_start(text: str, line: int) -> int:
    return line_starts(text)[line - 1]


_NO_CONTENT = re.compile(r"[ \t]*(?:#.*)?|---[ \t]*(?:#.*)?")


def _lines_with_content(text: str) -> list[int]:
    """The numbers of the lines in which there is more than a comment, in order."""
    starts = line_starts(text)
    ends = (*starts[1:], len(text))
    return [
        number
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1)
        if not _NO_CONTENT.fullmatch(text[start:end].rstrip("\r\n"))
    ]
