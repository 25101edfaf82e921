"""Streams: what a caller may have at a moment, and how long that moment lasts."""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from ca.attestation import Caller
from ca.entries import Entry
from ca.errors import EntitlementFault, NotEntitledError
from ca.front.unix_door import UnixPeer
from ca.office import Office
from ca.renewing import HALF
from ca.streams.holders import Holders
from ca.streams.kept_svids import HeldSvid, KeptSvids
from identity import Bundle, SpiffeId, TrustDomain

__all__ = ["Federated", "Moment", "Streams"]

Federated = Callable[[], Mapping[TrustDomain, Bundle]]
"""The bundles of other trust domains that are known now."""

_LOOK_EVERY = timedelta(seconds=30)
"""Processes end and certificates are revoked, and nobody tells."""
_SHORTEST = timedelta(milliseconds=50)
_SPLAY = 0.001
"""Seconds for each stream that is open: what concerns all is not done for all at once."""
_MOST_SPLAY = 2.0


@dataclass(frozen=True, slots=True)
class Moment:
    """What a caller may have now. All of it is of one moment."""

    caller: Caller
    entries: tuple[Entry, ...]
    """Oldest first: the first is the default."""
    bundle: Bundle
    federated: Mapping[TrustDomain, Bundle]
    """Of those that one of the entries is federated with, by name."""
    at: datetime
    count: int
    """The changes that it takes account of."""

    def require_entries(self) -> tuple[Entry, ...]:
        """The entries, of which there is one at least.

        Raises:
            NotEntitledError: there is none.
        """
        if not self.entries:
            raise NotEntitledError(self.caller.name, EntitlementFault.NO_IDENTITY, "no identity issued")
        return self.entries

    @property
    def sequence(self) -> int:
        """Of the bundle."""
        return self.bundle.sequence or 0


class Streams:
    """What the servers for workloads of one office have in common. Give all of them the same, so that they share what they issue.

    `federated` are the bundles of other trust domains; whoever changes them tells `office.changes`. `renew_after` is the part of
    their life after which SVIDs are made anew. It belongs to one event loop.
    """

    def __init__(self, office: Office, *, federated: Federated = dict, renew_after: float = HALF) -> None:
        self.office = office
        self.holders = Holders(office.consumers)
        self._federated = federated
        self._svids = KeptSvids(office, renew_after=renew_after)
        self._open = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """While a stream is."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def moment(self, peer: UnixPeer) -> Moment:
        """What the process at the other end may have now, found out anew.

        Raises:
            AttestationError: it cannot be told who that is.
            NotReadyError: it is starting.
            StoreUnavailableError: nobody can tell.
        """
        count = self.office.changes.count
        caller = await peer.attest()
        entries = _told_apart(self.office.entitlements.of(caller))
        bundle = self.office.signing.now().bundle
        return Moment(caller, entries, bundle, self._federated_with(entries), self.office.clock(), count)

    async def svid(self, moment: Moment, entry: Entry) -> HeldSvid:
        """The SVID of one of its entries, which verifies by its bundle.

        Raises:
            AuthorityError: none can be issued now, and there is none that is still good.
        """
        return await self._svids.of(moment.caller, entry, moment.bundle)

    async def after(self, moment: Moment, *, due: datetime | None = None) -> None:
        """Wait until another moment may have come: something has changed, it is `due`, or it is time to look again."""
        within = _LOOK_EVERY if due is None else min(max(due - self.office.clock(), _SHORTEST), _LOOK_EVERY)
        if await self.office.changes.after(moment.count, within=within) != moment.count:
            most = min(self._open * _SPLAY, _MOST_SPLAY)
            await asyncio.sleep(random.uniform(0, most))  # noqa: S311  # it only spreads

    def _federated_with(self, entries: tuple[Entry, ...]) -> Mapping[TrustDomain, Bundle]:
        wanted = {domain for entry in entries for domain in entry.federates_with} - {self.office.trust_domain}
        known = self._federated() if wanted else {}
        return {domain: known[domain] for domain in sorted(wanted) if domain in known}


def _told_apart(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Without those that a workload could not tell from an older one: by the same hint, or by the same name without one."""
    found: dict[tuple[str, SpiffeId | None], Entry] = {}
    for entry in entries:
        found.setdefault((entry.hint, None if entry.hint else entry.spiffe_id), entry)
    return tuple(found.values())
