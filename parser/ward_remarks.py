"""The comments of a ward text, and what they are about."""

import re
from collections.abc import Iterator, Sequence

from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS
from parser.remarks import Anchor, Comment, Remark, Side, attach
from parser.resource_document import field_name
from parser.yaml_spans import Spans

__all__ = ["ward_comments", "ward_remarks"]

_TEXT_OR_COMMENT = re.compile(r'"(?:[^"\\\r\n]|\\.)*"|(?<!\S)#[^\r\n]*|(?<=\n)[ \t]*(?=\r?\n)')

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
    anchors = [
        Anchor(start, _indentation(text, start), (index, *path))
        for index, spans in enumerate(said)
        for path, (start, _) in spans.positions.items()
        # Of the values in a list, those in lines of their own.
        if path[-2:-1] not in _LISTS or not text[_line(text, start) : start].strip()
    ]
    anchors.sort(key=lambda anchor: (anchor.start, len(anchor.path)))
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


def _line(text: str, position: int) -> int:
    return max(text.rfind("\n", 0, position), text.rfind("\r", 0, position)) + 1


def _indentation(text: str, position: int) -> int:
    line = _line(text, position)
    return len(text[line:position]) - len(text[line:position].lstrip())
