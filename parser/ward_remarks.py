"""The comments of a ward text, and what they are about."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS
from authz.model import field_name
from parser.envelope import DRY_RUN
from parser.remarks import Anchor, Comment, Remark, Side, attach
from parser.source import line_starts
from parser.yaml_spans import Spans

__all__ = ["ward_comments", "ward_remarks"]

_TEXT_OR_COMMENT = re.compile(r'"[^"\\\r\n]*+(?:\\.[^"\\\r\n]*+)*+"|(?<!\S)#[^\r\n]*|(?<=\n)[ \t]*(?=\r?\n)')

_LISTS = frozenset(
    (name,)
    for name in (
        *(field_name(prefix + field) for field in (*SOURCE_FIELDS, *OPERATION_FIELDS) for prefix in ("", "not_")),
        *("values", "notValues", "audiences", "spaceDelimitedClaims"),
    )
)


def ward_comments(text: str) -> Iterator[Comment]:
    """The comments and empty lines of `text`, which must be without fault."""
    for found in _TEXT_OR_COMMENT.finditer(text):
        if not found[0].startswith('"'):
            line = _line(text, found.start())
            own_line = not text[line : found.start()].strip()
            yield Comment(found.start(), found.start() - line, found[0].rstrip(), own_line)


def ward_remarks(text: str, said: Sequence[Spans]) -> tuple[tuple[Remark, ...], ...]:
    """The comments of `text` by what they are about, for each of the statements whose values are `said` there."""
    anchors = [anchor for index, spans in enumerate(said) for anchor in _anchors(text, spans, index)]
    remarks: list[list[Remark]] = [[] for _ in said]
    for side, path, comment in attach(ward_comments(text), anchors):
        match path:
            case (int() as index, *inner):
                remarks[index].append(Remark(side, tuple(inner), comment))
            case _:
                remarks[-1].append(Remark(side, (), comment))
    # Empty lines at the end are about nothing.
    while remarks and remarks[-1][-1:] == [Remark(Side.AFTER, (), "")]:
        remarks[-1].pop()
    return tuple(map(tuple, remarks))


def _anchors(text: str, spans: Spans, index: int) -> Iterator[Anchor]:
    """What comments can be about in a statement, by its place: what lines begin with, and what follows in them."""
    last_line = -1
    for path, (start, _) in sorted(spans.positions.items(), key=lambda item: (item[1][0], len(item[0]))):
        line = _line(text, start)
        in_list = path[-2:-1] in _LISTS and text[line:start].strip()
        verb = path in _VERB and ("spec", "rules", 0) in spans.positions
        if path in _WIDER or in_list or verb:
            continue
        indentation = len(text[line:start]) - len(text[line:start].lstrip())
        yield Anchor(start, indentation if line != last_line else start - line, (index, *path))
        last_line = line


# These begin where the first of what is in them does, and that is what a comment there is about.
_WIDER = (("spec",), ("spec", "rules"), ("spec", "jwtRules"), ("spec", "targetRefs"), ("metadata",))
# And these stand in the line of the first rule.
_VERB = (("spec", "action"), ("spec", "provider"), ("metadata", "annotations", DRY_RUN))


def _line(text: str, position: int) -> int:
    """Where the line of a position begins."""
    starts = line_starts(text)
    return starts[bisect_right(starts, position) - 1]
