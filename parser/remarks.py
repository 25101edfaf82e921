"""Remarks: the comments of a document, and which of its values they are about.

A comment belongs to what it stands before, or beside. So it can follow its value when the document is written anew, in another
order or another language.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from authz.span import Path

__all__ = ["Anchor", "Comment", "Remark", "Side", "attach"]


class Side(Enum):
    """Where a remark stands: before what it is about, beside it in its last line, or after it."""

    BEFORE = "before"
    BESIDE = "beside"
    AFTER = "after"


class Comment(NamedTuple):
    """A comment in a text: `text` from its `#` on, or an empty line. `own_line` is whether nothing stands before it."""

    start: int
    column: int
    text: str
    own_line: bool


class Anchor(NamedTuple):
    """A value that a comment can be about: where it begins, and how far its line, or it, is indented."""

    start: int
    column: int
    path: Path


class Remark(NamedTuple):
    """A comment, by what it is about. The empty path is the whole document."""

    side: Side
    path: Path
    text: str


def attach(comments: Iterable[Comment], anchors: Sequence[Anchor]) -> Iterator[Remark]:
    """What each of `comments` is about; `anchors` come by their place, wider ones first."""
    starts = [anchor.start for anchor in anchors]
    for comment in comments:
        index = bisect_left(starts, comment.start)
        following = anchors[index] if index < len(anchors) else None
        if not comment.own_line:
            yield Remark(Side.BESIDE, anchors[index - 1].path, comment.text) if index else _before(following, comment)
        elif following is None or comment.column > following.column:
            # Further in than what follows: then it is about what it stands under, such as an entry that is commented out.
            outer = -1 if following is None else following.column
            above = next((each for each in reversed(anchors[:index]) if each.column <= comment.column), None)
            if above is not None and above.column > max(outer, 0):
                yield Remark(Side.AFTER, above.path, comment.text)
            else:
                yield _before(following, comment)
        else:
            yield _before(following, comment)


def _before(anchor: Anchor | None, comment: Comment) -> Remark:
    return Remark(Side.AFTER, (), comment.text) if anchor is None else Remark(Side.BEFORE, anchor.path, comment.text)
