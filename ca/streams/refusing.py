"""Refusing workloads of this machine: what they hear, and what the audit gets to know of it."""

import logging
from datetime import datetime, timedelta

from ca.errors import AttestationError, AuthorityError, NotEntitledError, StoreError
from ca.office import Office
from ca.refusals import Refusal, RefusalKind, refusal_of

__all__ = ["ATTESTATION_FAILED", "Refusing"]

_logger = logging.getLogger("meshward.ca")

_AGAIN = timedelta(minutes=1)
_MOST = 1000

ATTESTATION_FAILED = Refusal(RefusalKind.NOT_READY, "attestation-failed", "workload attestation failed")
"""SPIRE's text and code: a workload cannot show anything else, and clients give up on other codes."""


class Refusing:
    """Turns errors into refusals. The reason is recorded, once a minute where the same is tried again and again: clients do."""

    def __init__(self, office: Office, action: str) -> None:
        self._office = office
        self._action = action
        self._recorded: dict[tuple[str, str], datetime] = {}

    async def refused(self, error: AuthorityError, who: str) -> Refusal:
        """What `who` hears of `error`."""
        match error:
            case NotEntitledError():
                await self._record(error.caller, error)
                return refusal_of(error)
            case AttestationError():
                await self._record(who, error)
                return ATTESTATION_FAILED
            case _:
                return refusal_of(error)

    async def _record(self, who: str, error: AuthorityError) -> None:
        at, key = self._office.clock(), (who, str(error))
        before = self._recorded.get(key)
        if before is not None and at - before < _AGAIN:
            return
        if len(self._recorded) >= _MOST:
            self._recorded = {each: when for each, when in self._recorded.items() if at - when < _AGAIN}
            if len(self._recorded) >= _MOST:
                return
        self._recorded[key] = at
        try:
            await self._office.issuance.refused(who, self._action, error, at=at)
        except StoreError as failure:
            _logger.warning("a refusal of %s was not recorded: %s", who, failure)
