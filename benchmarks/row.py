"""A row of the table of benchmarks: what is promised, and how to read off a result whether it was kept."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["Better", "Row"]


class Better(Enum):
    """On which side of the target a measure must lie."""

    LESS = "at most"
    MORE = "at least"


@dataclass(frozen=True, slots=True)
class Row:
    """A claim about one figure of a benchmark.

    `measured` reads it from what the benchmark's `measure` returned, as it comes back from JSON: the keys of objects
    are text. It answers `None` where the figure could not be had on that machine, a peer that is not installed.
    """

    what: str
    target: float
    measured: Callable[[Any], float | None]
    unit: str
    better: Better = Better.LESS

    def kept(self, measured: float) -> bool:
        """Whether such a figure keeps the promise."""
        return measured <= self.target if self.better is Better.LESS else measured >= self.target

    def ratio(self, measured: float) -> float:
        """How many times better than promised; below one it is missed by that much."""
        better, worse = (self.target, measured) if self.better is Better.LESS else (measured, self.target)
        return better / worse if worse else float("inf")
