"""The authority's own SVID: what its servers show, issued like any other and kept current."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ca.attestation import Attestor, Caller
from ca.entries import Entry
from ca.errors import AuthorityError, NotReadyError
from ca.issuance import IssuedX509
from ca.office import Office
from ca.renewing import renewal_at
from ca.selector import Selector
from identity import SpiffeId, X509Svid

__all__ = ["OWN_ENTRY", "OWN_PATH", "OwnSvid"]

_logger = logging.getLogger("meshward.ca")

OWN_PATH = "/meshward/ca"
"""What the authority calls itself below its trust domain."""
OWN_ENTRY = "authority"
"""What stands for an entry: none is kept for the authority itself."""

_ALWAYS = datetime.min.replace(tzinfo=UTC)
_AFTER_FAILURE = timedelta(seconds=5)


class OwnSvid:
    """One SVID of the authority's own. `renew` it before it is asked for, and let `run` go on beside the servers.

    `spiffe_id` is `spiffe://<trust domain>/meshward/ca` unless given. `dns_names` are for clients that know servers by host names.
    """

    def __init__(self, office: Office, *, dns_names: Sequence[str] = (), spiffe_id: SpiffeId | None = None) -> None:
        self._office = office
        name = spiffe_id or SpiffeId(office.trust_domain, OWN_PATH)
        selectors = frozenset({Selector(Attestor.AUTHORITY.value, "self")})
        self._entry = Entry(OWN_ENTRY, name, selectors, _ALWAYS, dns_names=tuple(dns_names))
        self._caller = Caller(Attestor.AUTHORITY, Attestor.AUTHORITY.value)
        self._issued: IssuedX509 | None = None
        self._renew_at = _ALWAYS
        self.failure: AuthorityError | None = None
        """Why the last renewal failed; what there was before is shown meanwhile."""

    @property
    def current(self) -> X509Svid:
        """The one to show now, with its key.

        Raises:
            NotReadyError: there was never any.
        """
        if self._issued is None:
            raise NotReadyError("its own certificate has not been issued yet")
        return self._issued.svid

    async def renew(self) -> X509Svid:
        """Issue another with a new key, and show that from now on.

        Raises:
            AuthorityError: none can be issued now.
        """
        at = self._office.clock()
        issued = await self._office.issuance.x509_svid_with_key(self._caller, self._entry, at=at)
        self._renew_at = renewal_at(issued.svid, at=at)
        self._issued = issued
        return issued.svid

    async def run(self, stop: asyncio.Event) -> None:
        """Renew at half of its life, or as soon as something else signs, until `stop`."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                count = self._office.changes.count
                pause = await self._renew_if_due()
                waiting = asyncio.ensure_future(self._office.changes.after(count, within=pause))
                try:
                    await asyncio.wait({stopping, waiting}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waiting.cancel()
        finally:
            stopping.cancel()

    async def _renew_if_due(self) -> timedelta:
        """How long nothing is to be done, unless something changes."""
        try:
            if self._is_due():
                await self.renew()
            self.failure = None
        except AuthorityError as error:
            if str(error) != str(self.failure):
                _logger.error("the authority's own certificate is not renewed: %s", error)  # noqa: TRY400  # no fault of the code
            self.failure = error
            return _AFTER_FAILURE
        return self._renew_at - self._office.clock()

    def _is_due(self) -> bool:
        if self._issued is None or self._office.clock() >= self._renew_at:
            return True
        signing = self._office.signing.now()
        # Superseded or tainted: what signs now is another. While nothing signs, what there is stays.
        return signing.authority is not None and signing.issuer != self._issued.signing.issuer
