"""Readiness: whether an office can issue, asked by probes before workloads find out."""

import asyncio
from datetime import timedelta

from ca.errors import AuthorityError, NotReadyError
from ca.office import Office
from ca.profile import MIN_TTL

__all__ = ["LITTLE_LEFT", "require_ready"]

LITTLE_LEFT = MIN_TTL + timedelta(minutes=5)
"""With less left of what signs, it is about to issue nothing: a leaf lives for `MIN_TTL` at least."""

_STORE_ANSWERS_WITHIN = 2.0


async def require_ready(office: Office) -> None:
    """See that a certificate that is asked for now could be issued. No place of anything is in what is said otherwise.

    Raises:
        NotReadyError: it could not: nothing signs, what signs is about to end, or the store cannot be read.
    """
    at = office.clock()
    authority = office.signing.now().require_authority(at)
    for what, certificate in (("intermediate", authority.intermediate.certificate), ("root", authority.root)):
        left = certificate.not_valid_after_utc - at
        if left < LITTLE_LEFT:
            raise NotReadyError(
                f"the {what} ends in {max(int(left.total_seconds()), 0)} s, and no other has taken its place"
            )
    try:
        async with asyncio.timeout(_STORE_ANSWERS_WITHIN):
            await asyncio.to_thread(office.store.entries.revision)
    except TimeoutError as error:
        raise NotReadyError("the store does not answer") from error
    except AuthorityError as error:
        raise NotReadyError("the store cannot be read") from error
