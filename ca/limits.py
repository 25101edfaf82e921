"""Limits: how often a caller may ask, so that none of them takes the authority from the others."""

from datetime import timedelta
from functools import cached_property
from time import time
from typing import TYPE_CHECKING

from ca.attestation import Caller
from ca.errors import LimitedError

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import RateLimiter

__all__ = ["Limits"]


class Limits:
    """Counts in this replica. Attestation is counted before anything of it is computed, by where it comes from; issuing by caller."""

    def __init__(self, *, attest_per_second: int = 50, issue_per_second: int = 500) -> None:
        self._attest_per_second = attest_per_second
        self._issue_per_second = issue_per_second
        self._items: dict[str, RateLimitItem] = {}

    def attesting(self, peer: str) -> None:
        """`peer`, an address without its port, or a user of this machine, wants to show who it is.

        Raises:
            LimitedError: too often.
        """
        self._count("attest", self._attest_per_second, peer)

    def issuing(self, caller: Caller) -> None:
        """`caller` asks for a certificate or a token.

        Raises:
            LimitedError: too often.
        """
        self._count("issue", self._issue_per_second, caller.name)

    def _count(self, what: str, per_second: int, who: str) -> None:
        limit = self._limit(what, per_second)
        if not self._limiter.hit(limit, who):
            left = self._limiter.get_window_stats(limit, who).reset_time - time()
            raise LimitedError(timedelta(seconds=min(max(left, 0.05), 1.0)))

    # Loaded by who counts: it takes half a second, and verbs that only look at the store do not count.
    @cached_property
    def _limiter(self) -> "RateLimiter":
        from limits.storage import MemoryStorage  # noqa: PLC0415  # as above
        from limits.strategies import SlidingWindowCounterRateLimiter  # noqa: PLC0415  # as above

        return SlidingWindowCounterRateLimiter(MemoryStorage())

    def _limit(self, what: str, per_second: int) -> "RateLimitItem":
        if what not in self._items:
            from limits import RateLimitItemPerSecond  # noqa: PLC0415  # as above

            self._items[what] = RateLimitItemPerSecond(per_second, namespace=what)
        return self._items[what]
