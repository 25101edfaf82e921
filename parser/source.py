"""Source: the text of a file, and how a position in it becomes a place."""

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

from authz.span import Span

__all__ = ["Source", "line_starts"]

_LINE_BREAK = re.compile(r"\r\n?|\n")


@lru_cache(maxsize=4)
def line_starts(text: str) -> tuple[int, ...]:
    """Where each line of `text` begins. Lines end as they do in editors: with LF, CR LF or CR."""
    return (0, *(found.end() for found in _LINE_BREAK.finditer(text)))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Source:
    """The text of one file. Positions count characters from 0; spans count lines and columns from 1."""

    file: str
    text: str

    def span(self, start: int, end: int) -> Span:
        """The place of `text[start:end]`."""
        starts = line_starts(self.text)
        line = bisect_right(starts, start)
        column = start - starts[line - 1] + 1
        # Nearly every value ends in the line it begins in.
        if line == len(starts) or end < starts[line]:
            return Span(self.file, line, column, line, column + end - start)
        end_line = bisect_right(starts, end)
        return Span(self.file, line, column, end_line, end - starts[end_line - 1] + 1)
