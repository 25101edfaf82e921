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
        gap = _Gap(anchors, index, dashes=dashes)
        blank = False
        for comment in between:
            # Empty lines go with what follows them, and several are one.
            if not comment.text:
                blank = True
                continue
            remark = gap.about(comment)
            if blank and (remark.side is Side.BEFORE or not remark.path):
                yield remark._replace(text="")
            blank = False
            yield remark
        if blank:
            yield gap.before("")


class _Gap:
    """What is between two anchors."""

    def __init__(self, anchors: Sequence[Anchor], index: int, *, dashes: bool) -> None:
        self._anchors = anchors
        self._index = index
        self._following = anchors[index] if index < len(anchors) else None
        self._dashes = dashes
        self._above: dict[int, Anchor | None] = {}

    def before(self, text: str) -> Remark:
        """A comment about what follows; about nothing in particular, if nothing does."""
        following = self._following
        return Remark(Side.AFTER, (), text) if following is None else Remark(Side.BEFORE, following.path, text)

    def about(self, comment: Comment) -> Remark:
        """What a comment here is about."""
        if not comment.own_line and self._index:
            return Remark(Side.BESIDE, self._anchors[self._index - 1].path, comment.text)
        # Further in than what follows, or an entry of a list that is commented out: then it is about what it stands under.
        outer = 0 if self._following is None else self._following.column
        entry = self._dashes and comment.text[1:].lstrip().startswith("- ")
        above = self._under(comment.column) if entry or comment.column > outer else None
        if above is not None and (above.column > outer or (entry and self._ends_a_list(above, comment.column))):
            return Remark(Side.AFTER, above.path, comment.text)
        return self.before(comment.text)

    def _under(self, column: int) -> Anchor | None:
        """The last value above that is no further in than `column`."""
        # Looked for once: there may be as many comments here as a file can hold.
        if column not in self._above:
            above = (self._anchors[each] for each in range(self._index - 1, -1, -1))
            self._above[column] = next((each for each in above if each.column <= column), None)
        return self._above[column]

    def _ends_a_list(self, above: Anchor, column: int) -> bool:
        """Whether the list above ends here, and what follows is as far in but no entry of it."""
        parts = self._following is not None and isinstance(self._following.path[-1], str)
        return parts and isinstance(above.path[-1], int) and above.column == column
