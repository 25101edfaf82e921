"""Consumers: who is known to hold which bundle, so that a rotation goes on only when all of them can verify what comes next."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from ca.errors import StoreError
from ca.store import KeptAuthorities

__all__ = ["MOST_NAMES", "Consumers"]

_logger = logging.getLogger("meshward.ca")

MOST_NAMES = 256
"""Consumers of one caller that are told apart: more Envoys than a machine has pods."""
_SEEN_EVERY = timedelta(minutes=5)
"""How often it is written down that somebody is still there; a stream lasts for days."""


class Consumers:
    """The consumers of this replica; what they hold is kept, for the others to know.

    A consumer counts while its stream is open, and after that for as long as what it was issued last may live.
    It belongs to one event loop.
    """

    def __init__(self, kept: KeptAuthorities, *, counts_for: timedelta, clock: Callable[[], datetime]) -> None:
        self._kept = kept
        self._counts_for = counts_for
        self._clock = clock
        self._open: dict[str, int] = {}
        self._streams: dict[str, int] = {}
        self._written: dict[str, tuple[int, datetime]] = {}
        self._named: dict[str, dict[str, datetime]] = {}

    def name(self, caller: str, detail: str) -> str:
        """What the consumer of a caller goes by, of which the caller says the detail: an Envoy's node, a program's path.

        Details are worth nothing as proof, so a caller has so many and no more: those beyond share one name, which holds what the one
        that is furthest behind does.
        """
        named = self._named.setdefault(caller, {})
        name = f"{caller} {detail}".rstrip()
        if name not in named and len(named) >= MOST_NAMES:
            return f"{caller} (and others)"
        named[name] = self._clock()
        return name

    def opened(self, consumer: str) -> None:
        """A stream to `consumer` is open: from now on it counts, whatever it holds. Close it once for each time."""
        self._streams[consumer] = self._streams.get(consumer, 0) + 1
        if consumer not in self._open:
            self._open[consumer] = 0
            # Other replicas, and verbs, must wait for it as well.
            self._write(consumer, 0, self._clock())

    def closed(self, consumer: str) -> None:
        """One stream to it has ended."""
        left = self._streams.get(consumer, 1) - 1
        if left:
            self._streams[consumer] = left
        else:
            self._streams.pop(consumer, None)
            self._open.pop(consumer, None)

    def holds(self, consumer: str, sequence: int, *, at: datetime) -> None:
        """`consumer` has said, or taken an answer by which it is sure, that it holds the bundle of that sequence.

        It is written down in the background: until it is, a rotation waits, and nothing worse.
        """
        if consumer in self._open:
            self._open[consumer] = max(self._open[consumer], sequence)
        self._write(consumer, sequence, at)

    def acknowledged(self, *, at: datetime) -> dict[str, int]:
        """The newest sequence that each consumer holds which counts. This reads the store, and blocks.

        Raises:
            StoreUnavailableError: nobody can tell.
        """
        known = self._kept.acknowledged(since=at - self._counts_for)
        for consumer, sequence in list(self._open.items()):
            known[consumer] = max(sequence, known.get(consumer, 0))
        return known

    def still_here(self, *, at: datetime) -> None:
        """Write down who is still there, and forget who is long gone; to be called now and then."""
        for consumer, sequence in list(self._open.items()):
            if sequence:
                self.holds(consumer, sequence, at=at)
        # Whoever was seen last so long ago counts no more, here as in the store.
        self._written = {
            consumer: (sequence, seen)
            for consumer, (sequence, seen) in self._written.items()
            if at - seen <= self._counts_for
        }
        for caller, names in list(self._named.items()):
            kept = {name: seen for name, seen in names.items() if name in self._open or at - seen <= self._counts_for}
            if kept:
                self._named[caller] = kept
            else:
                del self._named[caller]
        try:
            # Twice as long: a clock may be set back.
            pending = self._kept.forget_acknowledged(before=at - 2 * self._counts_for)
        except StoreError as error:
            _logger.warning("%s", error)
            return
        pending.on_failure(lambda error: _logger.warning("who is long gone was not forgotten: %s", error))

    def _write(self, consumer: str, sequence: int, at: datetime) -> None:
        before = self._written.get(consumer)
        if before is not None and before[0] >= sequence and at - before[1] < _SEEN_EVERY:
            return
        self._written[consumer] = (sequence, at)
        try:
            pending = self._kept.acknowledge(consumer, sequence, at=at)
        except StoreError as error:
            _logger.warning("%s", error)
            return
        pending.on_failure(lambda error: self._lost(consumer, error))

    def _lost(self, consumer: str, error: BaseException) -> None:
        self._written.pop(consumer, None)
        _logger.warning("what %s holds was not written down: %s", consumer, error)
