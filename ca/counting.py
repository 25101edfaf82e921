"""Counting: what the edges did, for whoever watches them. No name of a workload is a label, for there is no end of those."""

from bisect import bisect_left
from collections import Counter

from ca.inventory import IssuedKind

__all__ = ["BUCKETS", "Counters"]

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds, in seconds. A commit to a good disk takes two thousandths, one to a busy one a tenth."""


class Counters:
    """What all edges of a replica have counted. They belong to one event loop, and so does this; it may be read from any thread.

    `edge` is one of few names, such as `rest` or `workload-api`, and `code` one of those that refusals have.
    """

    def __init__(self) -> None:
        self.issued_by: Counter[tuple[str, IssuedKind]] = Counter()
        self.refused_by: Counter[tuple[str, str]] = Counter()
        self.times: dict[tuple[str, IssuedKind], list[int]] = {}
        """How many took up to each of `BUCKETS`, and last how many took longer."""
        self.total_seconds: Counter[tuple[str, IssuedKind]] = Counter()

    def issued(self, edge: str, kind: IssuedKind) -> None:
        """One has left."""
        self.issued_by[edge, kind] += 1

    def refused(self, edge: str, code: str) -> None:
        """Somebody was turned away."""
        self.refused_by[edge, code] += 1

    def seconds(self, edge: str, kind: IssuedKind, value: float) -> None:
        """So long took one, from the request's coming in to its answer."""
        times = self.times.setdefault((edge, kind), [0] * (len(BUCKETS) + 1))
        times[bisect_left(BUCKETS, value)] += 1
        self.total_seconds[edge, kind] += value  # type: ignore[assignment]  # a Counter counts seconds as well
