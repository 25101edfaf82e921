"""Readiness: whether an office can issue, asked by probes before workloads find out."""

import asyncio
import math
import time
from datetime import timedelta

from ca.errors import AuthorityError, NotReadyError
from ca.office import Office
from ca.profile import MIN_TTL

__all__ = ["LITTLE_LEFT", "Readiness"]

LITTLE_LEFT = MIN_TTL + timedelta(minutes=5)
"""With less left of what signs, it is about to issue nothing: a leaf lives for `MIN_TTL` at least."""

_STORE_ANSWERS_WITHIN = 2.0
_READ_IS_GOOD_FOR = 0.5


class Readiness:
    """Whether an office can issue, for any number of probes: of all that ask at the same time one reads the store.

    It belongs to one event loop.
    """

    def __init__(self, office: Office) -> None:
        self._office = office
        self._reading = asyncio.Lock()
        self._read_at = -math.inf

    async def require(self) -> None:
        """See that a certificate that is asked for now could be issued. No place of anything is in what is said otherwise.

        Raises:
            NotReadyError: it could not: nothing signs, what signs is about to end, or the store cannot be read.
        """
        at = self._office.clock()
        authority = self._office.signing.now().require_authority(at)
        for what, certificate in (("intermediate", authority.intermediate.certificate), ("root", authority.root)):
            left = certificate.not_valid_after_utc - at
            if left < LITTLE_LEFT:
                seconds = max(int(left.total_seconds()), 0)
                raise NotReadyError(f"the {what} ends in {seconds} s, and no other has taken its place")
        async with self._reading:
            if time.monotonic() - self._read_at >= _READ_IS_GOOD_FOR:
                await self._read()
                self._read_at = time.monotonic()

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(_STORE_ANSWERS_WITHIN):
                await asyncio.to_thread(self._office.store.entries.revision)
        except TimeoutError as error:
            raise NotReadyError("the store does not answer") from error
        except AuthorityError as error:
            raise NotReadyError("the store cannot be read") from error
