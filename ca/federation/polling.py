"""Polling: looks again and again at what other trust domains publish, and hands out the last good of each."""

import asyncio
import logging
import random
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from types import MappingProxyType

from ca.changes import Changes
from ca.errors import AuthorityError, StoreConflictError, StoreUnavailableError
from ca.federation.endpoint import fetch_bundle
from ca.federation.foreign import Foreign, ForeignError, HttpsSpiffe
from ca.office import Clock
from ca.store import FederatedBundles
from identity import Bundle, IdentityError, TrustDomain

__all__ = ["Federation", "pause_after"]

_logger = logging.getLogger("meshward.ca")

DEFAULT_PAUSE = timedelta(minutes=5)
MIN_PAUSE = timedelta(seconds=60)
MAX_PAUSE = timedelta(hours=1)
_JITTER = 0.1
_NOTICED_WITHIN = 1.0
"""Seconds after which it is seen that a bundle was forgotten by a verb."""
_BY = "federation"


def pause_after(bundle: Bundle | None) -> timedelta:
    """How long to wait before the next look at what was this at the last."""
    hint = DEFAULT_PAUSE if bundle is None or bundle.refresh_hint is None else bundle.refresh_hint
    return min(max(hint, MIN_PAUSE), MAX_PAUSE)


class Federation:
    """The trust domains that one federates with. `load` it before the edges start, and let `run` go on beside them.

    Each has its own bundle, its own pace and its own failures; nothing of one is ever used for another. It belongs to one event
    loop.

    Raises:
        ForeignError: one is there twice, or is `own`.
    """

    def __init__(
        self,
        foreign: Iterable[Foreign],
        kept: FederatedBundles,
        changes: Changes,
        *,
        own: TrustDomain,
        clock: Clock,
    ) -> None:
        self._foreign: dict[TrustDomain, Foreign] = {}
        for each in foreign:
            if each.trust_domain == own:
                raise ForeignError(own, "it is our own")
            if each.trust_domain in self._foreign:
                raise ForeignError(each.trust_domain, "it is there twice")
            self._foreign[each.trust_domain] = each
        self._kept = kept
        self._changes = changes
        self._clock = clock
        self._bundles: dict[TrustDomain, Bundle] = {}
        self._again = {trust_domain: asyncio.Event() for trust_domain in self._foreign}
        self.failures: dict[TrustDomain, str] = {}
        """Why the last look at each led to nothing; what was known before is used meanwhile."""

    def bundles(self) -> Mapping[TrustDomain, Bundle]:
        """What each is verified with now. One of which nothing is known yet is not there."""
        return MappingProxyType(self._bundles)

    def load(self) -> None:
        """Take up what was kept, and for the others what they were set up with. This blocks.

        Raises:
            StoreUnavailableError: nobody can tell.
        """
        self._take_up()
        for trust_domain, foreign in self._foreign.items():
            # A trust domain that changed all of its roots while nobody looked is set up again by a newer first bundle.
            if isinstance(foreign.profile, HttpsSpiffe) and _is_newer(
                foreign.profile.bootstrap, self._bundles.get(trust_domain)
            ):
                self._kept.keep(foreign.profile.bootstrap, by=_BY, at=self._clock()).result()
                self._bundles[trust_domain] = foreign.profile.bootstrap

    async def look(self, trust_domain: TrustDomain) -> None:
        """Look once at what `trust_domain`, one of those given, publishes. What goes wrong is in `failures`."""
        try:
            await self._look(self._foreign[trust_domain])
        except (AuthorityError, IdentityError) as error:
            # Once for each reason: metrics say it all the while.
            if self.failures.get(trust_domain) != str(error):
                _logger.error("the bundle of `%s` stays as it is: %s", trust_domain, error)  # noqa: TRY400  # no fault of the code
            self.failures[trust_domain] = str(error)
        else:
            self.failures.pop(trust_domain, None)

    async def run(self, stop: asyncio.Event) -> None:
        """Look at each at its own pace, until `stop`."""
        async with asyncio.TaskGroup() as group:
            for trust_domain in self._foreign:
                group.create_task(self._run(trust_domain, stop))
            if self._foreign:
                group.create_task(self._notice(stop))

    async def notice_forgotten(self) -> None:
        """Forget as well what is kept no more, and have it looked at again soon: it may be another now.

        Raises:
            StoreUnavailableError: nobody can tell.
        """
        # What is here was kept before.
        forgotten = self._bundles.keys() - await asyncio.to_thread(self._kept.names)
        for trust_domain in forgotten:
            del self._bundles[trust_domain]
            self._again[trust_domain].set()
        if forgotten:
            self._changes.tell()

    async def _notice(self, stop: asyncio.Event) -> None:
        while not await _comes(stop, within=_NOTICED_WITHIN):
            # A store that is away says so elsewhere.
            with suppress(StoreUnavailableError):
                await self.notice_forgotten()

    async def _run(self, trust_domain: TrustDomain, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.look(trust_domain)
            pause = pause_after(self._bundles.get(trust_domain))
            # Replicas that were started together need not ask together.
            seconds = pause.total_seconds() * random.uniform(1 - _JITTER, 1)  # noqa: S311  # it only spreads
            until = asyncio.get_running_loop().time() + seconds
            again = self._again[trust_domain]
            while not again.is_set() and (left := until - asyncio.get_running_loop().time()) > 0:
                if await _comes(stop, within=min(left, _NOTICED_WITHIN)):
                    return
            again.clear()

    async def _look(self, foreign: Foreign) -> None:
        before = self._bundles.get(foreign.trust_domain)
        bundle = await fetch_bundle(foreign, before)
        try:
            await self._kept.keep(bundle, by=_BY, at=self._clock())
            self._bundles[foreign.trust_domain] = bundle
        except StoreConflictError:
            # Another replica may have seen the newer one that this is older than.
            await asyncio.to_thread(self._take_up)
            raise
        finally:
            if self._bundles.get(foreign.trust_domain) != before:
                self._changes.tell()

    def _take_up(self) -> None:
        for bundle in self._kept.load():
            if bundle.trust_domain in self._foreign:
                self._bundles[bundle.trust_domain] = bundle


async def _comes(event: asyncio.Event, *, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            return await event.wait()
    except TimeoutError:
        return False


def _is_newer(bundle: Bundle, than: Bundle | None) -> bool:
    if than is None:
        return True
    return bundle.sequence is not None and (than.sequence is None or bundle.sequence > than.sequence)
