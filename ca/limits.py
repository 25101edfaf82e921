"""Limits: how often a caller may ask, so that none of them takes the authority from the others."""

import time
from collections.abc import Callable
from datetime import timedelta

from ca.attestation import Caller
from ca.errors import LimitedError
from ca.networks import network_of

__all__ = ["Limits"]

_SOON, _LATE = 0.05, 1.0


class Limits:
    """Counts in this replica, by seconds of `clock`. It belongs to one event loop.

    Attestation is counted before anything of it is computed, by where it comes from; issuing by caller.
    """

    def __init__(
        self,
        *,
        attest_per_second: int = 50,
        issue_per_second: int = 500,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._attesting = _Window(attest_per_second, clock)
        self._issuing = _Window(issue_per_second, clock)

    def attesting(self, peer: str) -> None:
        """`peer`, an address without its port, or a user of this machine, wants to show who it is. Of IPv6 a /64 counts as one.

        Raises:
            LimitedError: too often.
        """
        self._attesting.count(network_of(peer))

    def issuing(self, caller: Caller) -> None:
        """`caller` asks for a certificate or a token.

        Raises:
            LimitedError: too often.
        """
        self._issuing.count(caller.name)


class _Window:
    """How often each came in the last second: as often as in the present one, and in what is left of the one before.

    Two dictionaries, of which the older goes as a whole: nobody who has gone is held for more than two seconds.
    """

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._second = 0
        self._now: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def count(self, who: str) -> None:
        now = self._clock()
        second = int(now)
        if second != self._second:
            self._before = self._now if second == self._second + 1 else {}
            self._now = {}
            self._second = second
        passed = now - second
        counted, before = self._now.get(who, 0), self._before.get(who, 0)
        if int(counted + before * (1 - passed)) >= self._most:
            raise LimitedError(timedelta(seconds=min(max(self._left(counted, before, passed), _SOON), _LATE)))
        self._now[who] = counted + 1

    def _left(self, counted: int, before: int, passed: float) -> float:
        """Seconds until it may come again."""
        if counted >= self._most:
            return 1 - passed
        return 1 - (self._most - counted) / before - passed
