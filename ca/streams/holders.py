"""Holders: the streams by which consumers get bundles, and what each of them is sure to have.

Several processes may go by one name. A name holds what the one that is furthest behind does.
"""

from collections import defaultdict
from datetime import datetime

from ca.consumers import Consumers

__all__ = ["Holders", "Holding"]


class Holding:
    """One stream that bundles go out by. Close it at its end."""

    def __init__(self, holders: "Holders", consumer: str) -> None:
        self._holders = holders
        self.consumer = consumer
        self.sequence = 0
        """The newest that is sure to have arrived; 0 until then."""

    def holds(self, sequence: int, *, at: datetime) -> None:
        """The bundle of that sequence has arrived."""
        self.sequence = max(self.sequence, sequence)
        self._holders.tell(self.consumer, at=at)

    def close(self, *, at: datetime) -> None:
        """The stream has ended."""
        self._holders.closed(self, at=at)


class Holders:
    """All such streams of this replica."""

    def __init__(self, consumers: Consumers) -> None:
        self._consumers = consumers
        self._open: defaultdict[str, set[Holding]] = defaultdict(set)

    def opened(self, caller: str, detail: str) -> Holding:
        """A stream by which a consumer, named as `Consumers.name` does, is to get bundles: a rotation waits for it from now on."""
        consumer = self._consumers.name(caller, detail)
        holding = Holding(self, consumer)
        self._open[consumer].add(holding)
        self._consumers.opened(consumer)
        return holding

    def closed(self, holding: Holding, *, at: datetime) -> None:
        """That one has ended."""
        streams = self._open[holding.consumer]
        streams.discard(holding)
        if streams:
            self.tell(holding.consumer, at=at)
        else:
            del self._open[holding.consumer]
        self._consumers.closed(holding.consumer)

    def tell(self, consumer: str, *, at: datetime) -> None:
        """Say what all streams of that name hold."""
        sequence = min(holding.sequence for holding in self._open[consumer])
        if sequence:
            self._consumers.holds(consumer, sequence, at=at)
