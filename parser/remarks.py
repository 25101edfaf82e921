"""Remarks: the comments of a document, and which of its values they are about.

A comment belongs to what it stands before, or beside. So it can follow its value when the document is written anew, in another
order or another language.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from itertools import groupby
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
    """A value that a comment can be about: where it begins, and how far in."""

    start: int
    column: int
    path: Path


class Remark(NamedTuple):
    """A comment, by what it is about. The empty path is the whole document."""

    side: Side
    path: Path
    text: str


def attach(comments: Iterable[Comment], anchors: Sequence[Anchor], *, dashes: bool = False) -> Iterator[Remark]:
    """What each of `comments` is about; `anchors` come by their place, wider ones first.

    `dashes` is whether each entry of a list is behind one.
    """
    starts = [anchor.start for anchor in anchors]
    for index, between in groupby(comments, key=lambda comment: bisect_left(starts, comment.start)):
        blank = False
        for comment in between:
            # Empty lines go with what follows them, and several are one.
            if not comment.text:
                blank = True
                continue
            remark = _about(comment, anchors, index, dashes=dashes)
            if blank and (remark.side is Side.BEFORE or not remark.path):
                yield remark._replace(text="")
            blank = False
            yield remark
        if blank:
            yield Remark(Side.BEFORE, anchors[index].path, "") if index < len(anchors) else Remark(Side.AFTER, (), "")


def _about(comment: Comment, anchors: Sequence[Anchor], index: int, *, dashes: bool) -> Remark:
    """What `comment` is about that stands before the anchor of that index."""
    following = anchors[index] if index < len(anchors) else None
    if not comment.own_line and index:
        return Remark(Side.BESIDE, anchors[index - 1].path, comment.text)
    # Further in than what follows, or an entry of a list that is commented out: then it is about what it stands under.
    above = next((anchors[each] for each in range(index - 1, -1, -1) if anchors[each].column <= comment.column), None)
    outer = 0 if following is None else following.column
    if above is not None and (above.column > outer or (dashes and _ends_a_list(comment, above, following))):
        return Remark(Side.AFTER, above.path, comment.text)
    return (
        Remark(Side.AFTER, (), comment.text) if following is None else Remark(Side.BEFORE, following.path, comment.text)
    )


def _ends_a_list(comment: Comment, above: Anchor, following: Anchor | None) -> bool:
    """Whether the comment is an entry of the list above, commented out, and what follows is as far in but no entry of it."""
    entry = comment.text[1:].lstrip().startswith("- ") and comment.column == above.column
    parts = following is not None and isinstance(following.path[-1], str)
    return entry and parts and isinstance(above.path[-1], int)
