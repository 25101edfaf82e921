"""Limits: how often a caller may ask, so that none of them takes the authority from the others."""

from datetime import timedelta
from time import time

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from ca.attestation import Caller
from ca.errors import LimitedError

__all__ = ["Limits"]


class Limits:
    """Counts in this replica. Attestation is counted before anything of it is computed, by where it comes from; issuing by caller."""

    def __init__(self, *, attest_per_second: int = 50, issue_per_second: int = 500) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._attest = RateLimitItemPerSecond(attest_per_second, namespace="attest")
        self._issue = RateLimitItemPerSecond(issue_per_second, namespace="issue")

    def attesting(self, peer: str) -> None:
        """`peer`, an address without its port, or a user of this machine, wants to show who it is.

        Raises:
            LimitedError: too often.
        """
        self._count(self._attest, peer)

    def issuing(self, caller: Caller) -> None:
        """`caller` asks for a certificate or a token.

        Raises:
            LimitedError: too often.
        """
        self._count(self._issue, caller.name)

    def _count(self, limit: RateLimitItemPerSecond, who: str) -> None:
        if not self._limiter.hit(limit, who):
            left = self._limiter.get_window_stats(limit, who).reset_time - time()
            raise LimitedError(timedelta(seconds=min(max(left, 0.05), 1.0)))
