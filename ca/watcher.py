"""The watcher: sees what any replica has changed in the store, and tells the streams of this one."""

import asyncio
import logging
from datetime import timedelta

from ca.changes import Changes
from ca.errors import AuthorityError
from ca.signing import FollowedSigning
from ca.store import KeptEntries
from ca.store.entries import FRESH

__all__ = ["Watcher"]

_logger = logging.getLogger("meshward.ca")

_EVERY = FRESH * 0.9
"""A little more often than entries have to be looked at, so that no request does."""


class Watcher:
    """Looks every `every` at the signing authorities and the entries, and tells `changes` if any is another."""

    def __init__(
        self,
        signing: FollowedSigning,
        entries: KeptEntries,
        changes: Changes,
        *,
        every: timedelta = _EVERY,
    ) -> None:
        self._signing = signing
        self._entries = entries
        self._changes = changes
        self._every = every.total_seconds()
        self._revision = -1
        self.failure: AuthorityError | None = None
        """Why the last look failed; what was known before is gone by meanwhile."""

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop`."""
        while not stop.is_set():
            await self.look()
            try:
                async with asyncio.timeout(self._every):
                    await stop.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Look once."""
        try:
            if await asyncio.to_thread(self._look):
                self._changes.tell()
            self.failure = None
        except AuthorityError as error:
            if str(error) != str(self.failure):
                _logger.error("what is kept cannot be seen: %s", error)  # noqa: TRY400  # no fault of the code
            self.failure = error

    def _look(self) -> bool:
        other_signing = self._signing.refresh()
        revision = self._entries.revision()
        other_entries, self._revision = revision != self._revision, revision
        return other_signing or other_entries
