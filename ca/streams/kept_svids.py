"""Kept SVIDs: those that consumers get with their keys, one for a caller and an entry, made again when their time has come.

A consumer may have many streams, as Envoy has one for each name of a secret; all of them get the same.
"""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import perf_counter

from ca.attestation import Caller
from ca.entries import Entry
from ca.errors import AuthorityError, NotKeptError, RecheckError
from ca.inventory import IssuedKind
from ca.issuance import IssuedX509
from ca.office import Office
from ca.renewing import HALF, renewal_at
from identity import Bundle, SvidVerificationError, X509Svid, verify_x509_svid

__all__ = ["HeldSvid", "KeptSvids"]

EDGE = "streams"
"""SDS and the Workload API share what they issue, and count it as one."""
_logger = logging.getLogger("meshward.ca")

_AGAIN = timedelta(seconds=5)
_MOST = 10_000
"""SVIDs that are kept. More than that many workloads have another node."""

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class HeldSvid:
    """An SVID with its key, the entry by which, what signed it, and when to ask again."""

    svid: X509Svid
    entry: Entry
    issuer: str
    due: datetime


class KeptSvids:
    """The SVIDs of one office's streaming consumers, in memory and nowhere else.

    `renew_after` is the part of its life after which one is made anew.
    """

    def __init__(self, office: Office, *, renew_after: float = HALF) -> None:
        self._office = office
        self._renew_after = renew_after
        # The last that were asked for are at the end.
        self._held: OrderedDict[_Key, HeldSvid] = OrderedDict()
        self._pending: dict[_Key, asyncio.Task[HeldSvid]] = {}

    async def of(self, caller: Caller, entry: Entry, bundle: Bundle) -> HeldSvid:
        """The one of `entry`, which `caller` may have now. It verifies by `bundle`, and its key is the leaf's.

        Raises:
            AuthorityError: none can be issued now, and there is none that is still good.
        """
        key = (caller.name, entry.id)
        held = self._held.get(key)
        if held is not None:
            self._held.move_to_end(key)
            if not await self._is_good(held, entry, bundle):
                held = None
            elif not self._is_due(held):
                return held
        try:
            return _verified(await self._issued_once(key, caller, entry), bundle, at=self._office.clock())
        except AuthorityError as error:
            if held is None:
                raise
            # What there is, is good for as long again. Nothing is taken from a workload because we cannot do better.
            _logger.warning("the certificate of %s is not renewed: %s", entry.spiffe_id, error)
            held = replace(held, due=self._office.clock() + _AGAIN)
            self._held[key] = held
            return held

    async def _is_good(self, held: HeldSvid, entry: Entry, bundle: Bundle) -> bool:
        if held.entry != entry:
            return False
        try:
            _verified(held, bundle, at=self._office.clock())
        except RecheckError:
            return False
        return not await self._is_revoked(held)

    async def _is_revoked(self, held: HeldSvid) -> bool:
        """Whether somebody has given it up. Nobody tells: what signs and the entries are the same."""
        serial = f"{held.svid.leaf.serial_number:x}"
        try:
            row = await asyncio.to_thread(self._office.store.inventory.get, serial)
        except NotKeptError:
            return True
        except AuthorityError as error:
            _logger.warning("whether the certificate of %s is revoked cannot be told: %s", held.entry.spiffe_id, error)
            return False
        return row.revoked is not None

    def _is_due(self, held: HeldSvid) -> bool:
        if self._office.clock() >= held.due:
            return True
        # What its issuer's thief could make is to be gone before anything else.
        return held.issuer in self._office.signing.now().to_reissue

    async def _issued_once(self, key: _Key, caller: Caller, entry: Entry) -> HeldSvid:
        """Issue, together with whoever asks for the same meanwhile."""
        pending = self._pending.get(key)
        if pending is None:
            pending = asyncio.create_task(self._issue(key, caller, entry))
            self._pending[key] = pending
            pending.add_done_callback(lambda done: self._done(key, done))
        # Whoever gives up waiting takes it from nobody else.
        held = await asyncio.shield(pending)
        # It may have been asked for by an entry that has changed since.
        return held if held.entry == entry else await self._issue(key, caller, entry)

    async def _issue(self, key: _Key, caller: Caller, entry: Entry) -> HeldSvid:
        self._office.limits.issuing(caller)
        at = self._office.clock()
        started = perf_counter()
        issued = await self._office.issuance.x509_svid_with_key(caller, entry, at=at)
        self._office.counters.issued(EDGE, IssuedKind.X509)
        self._office.counters.seconds(EDGE, IssuedKind.X509, perf_counter() - started)
        held = HeldSvid(issued.svid, entry, issued.signing.issuer, self._due(issued, at))
        self._held[key] = held
        self._held.move_to_end(key)
        while len(self._held) > _MOST:
            self._held.popitem(last=False)
        return held

    def _due(self, issued: IssuedX509, at: datetime) -> datetime:
        return renewal_at(issued.svid, at=at, after=self._renew_after)

    def _done(self, key: _Key, done: "asyncio.Task[HeldSvid]") -> None:
        del self._pending[key]
        # Asked for, so that it counts as heard where all who waited have gone.
        if not done.cancelled():
            done.exception()


def _verified(held: HeldSvid, bundle: Bundle, *, at: datetime) -> HeldSvid:
    """`held`, if it is what its consumers and their peers take it for. One bad pair makes Envoy refuse the good that follow.

    Raises:
        RecheckError: it is not.
    """
    svid = held.svid
    try:
        proved = verify_x509_svid(svid.chain, [bundle], at=at)
    except SvidVerificationError as error:
        raise RecheckError(str(error)) from error
    if proved != held.entry.spiffe_id or svid.private_key is None:
        raise RecheckError("it is not the name's, or has no key")
    if svid.private_key.public_key() != svid.leaf.public_key():
        raise RecheckError("the private key is not the leaf's")
    return held
