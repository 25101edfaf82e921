"""Issuance: from a caller and what it asks for to what it gets, with all that the store has to know before.

Every edge issues by this, so that who may have what, what is written down and in which order is the same for all:
entitlement, intent, signature, recheck, release, answer.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ca.attestation import Caller
from ca.audit import AuditEvent, Outcome
from ca.authority import Planned
from ca.csr import RequestedKey
from ca.der import key_to_der
from ca.entitlements import Entitlements
from ca.entries import Entry
from ca.errors import (
    AuthorityError,
    EntitlementFault,
    NotEntitledError,
    NotReadyError,
    RefusedKeyError,
    RefusedLifetimeError,
    StoreConflictError,
)
from ca.inventory import Intent, IssuedKind
from ca.jwt_svid import DEFAULT_JWT_TTL, MintedJwtSvid, mint, plan_jwt_svid
from ca.profile import DEFAULT_TTL, MIN_TTL
from ca.signing import Signing, SigningSource
from ca.store import Answer, Store
from identity import PublicKey, SpiffeId, X509Svid

__all__ = ["Issuance", "IssuedX509", "Repeat"]


@dataclass(frozen=True, slots=True)
class Repeat:
    """What a caller calls its request, to get the same answer if it has to ask again."""

    key: str


@dataclass(frozen=True, slots=True)
class IssuedX509:
    """An X.509-SVID that has been released, the entry by which, and what signed at that moment."""

    svid: X509Svid
    entry: Entry
    signing: Signing


class Issuance:
    """Issues for one trust domain. Nothing leaves before its row is on the disk; what fails on the way leaves nothing but an intent.

    `max_ttl` and `max_jwt_ttl` are the longest that anything lives; `jwt_issuer` is what tokens say as `iss`.
    """

    def __init__(  # noqa: PLR0913  # what it is made of
        self,
        store: Store,
        source: SigningSource,
        entitlements: Entitlements,
        *,
        max_ttl: timedelta,
        max_jwt_ttl: timedelta,
        jwt_issuer: str | None = None,
    ) -> None:
        self.store = store
        self.source = source
        self.entitlements = entitlements
        self._max_ttl = max_ttl
        self._max_jwt_ttl = max_jwt_ttl
        self._jwt_issuer = jwt_issuer

    async def x509_svid(  # noqa: PLR0913  # all that a request may say
        self,
        caller: Caller,
        requested: RequestedKey,
        *,
        at: datetime,
        spiffe_id: SpiffeId | None = None,
        ttl: timedelta | None = None,
        repeat: Repeat | None = None,
    ) -> IssuedX509:
        """Certify the key of a request for the one name that `caller` asks for, or may have.

        The name comes from the entry, never from the request, which may only choose among those that the caller may have.

        Raises:
            NotEntitledError: the caller may not have that name, or any.
            RefusedKeyError: the key is weak, another's, or was given up as compromised.
            RefusedLifetimeError: the time to live is out of bounds, or so near to the end of the signer that little is left.
            StoreConflictError: the key of `repeat` was used for another request.
            NotReadyError, StoreUnavailableError, ClockError: nothing can be issued now.
            RecheckError: what was signed is not what was meant.
        """
        wanted = requested.spiffe_id or spiffe_id
        if spiffe_id is not None and requested.spiffe_id not in (None, spiffe_id):
            reason = f"its certificate request names {str(requested.spiffe_id)!r}, and it asks for {str(spiffe_id)!r}"
            raise NotEntitledError(caller.name, EntitlementFault.OTHER_IDENTITY, reason)
        entry = self.entitlements.one(caller, wanted)
        return await self.certify(caller, entry, requested.public_key, ttl=ttl, repeat=repeat, at=at)

    async def repeated(  # noqa: PLR0913  # all that a request may say
        self,
        caller: Caller,
        requested: RequestedKey,
        *,
        at: datetime,
        repeat: Repeat,
        spiffe_id: SpiffeId | None = None,
        ttl: timedelta | None = None,
    ) -> IssuedX509 | None:
        """What the same request was answered, if it was and is good still. Nothing is issued.

        Raises:
            NotEntitledError, StoreConflictError, NotReadyError, StoreUnavailableError: as `x509_svid`.
        """
        entry = self.entitlements.one(caller, requested.spiffe_id or spiffe_id)
        request = _digest(entry.spiffe_id, key_to_der(requested.public_key), ttl)
        return await self._recalled(caller, entry, request, repeat, at=at)

    async def x509_svid_with_key(
        self, caller: Caller, entry: Entry, *, at: datetime, ttl: timedelta | None = None
    ) -> IssuedX509:
        """Certify a new P-256 key, which comes with the certificate, for `entry`, one of those that `caller` may have now.

        Raises:
            AuthorityError: as `x509_svid`.
        """
        private_key = ec.generate_private_key(ec.SECP256R1())
        issued = await self.certify(caller, entry, private_key.public_key(), ttl=ttl, at=at)
        svid = X509Svid(issued.svid.spiffe_id, issued.svid.chain, private_key=private_key)
        return IssuedX509(svid, entry, issued.signing)

    async def jwt_svid(
        self,
        caller: Caller,
        entry: Entry,
        audience: tuple[str, ...],
        *,
        at: datetime,
        ttl: timedelta | None = None,
    ) -> MintedJwtSvid:
        """A token of `entry`, one of those that `caller` may have now, for `audience`.

        Raises:
            RefusedNameError: the audience is none, or too long.
            RefusedLifetimeError: the time to live is out of bounds.
            NotReadyError, StoreUnavailableError, ClockError: nothing can be issued now.
            RecheckError: what was signed is not what was meant.
        """
        signer = self.source.now().require_jwt(at)
        longest = min(entry.jwt_ttl or self._max_jwt_ttl, self._max_jwt_ttl)
        if ttl is not None and not timedelta(0) < ttl <= longest:
            raise RefusedLifetimeError(f"a token of {entry.spiffe_id} lives for up to {longest}", lifetime=ttl, at=at)
        lifetime = ttl or min(entry.jwt_ttl or DEFAULT_JWT_TTL, longest)
        planned = plan_jwt_svid(signer, entry.spiffe_id, audience, at=at, ttl=lifetime, issuer=self._jwt_issuer)
        intent = Intent(
            serial=planned.id,
            spiffe_id=entry.spiffe_id,
            kind=IssuedKind.JWT,
            issuer=signer.key_id,
            not_before=planned.issued,
            not_after=planned.expires,
            spki_sha256=None,
            entry=entry.id,
            caller=caller.name,
        )
        await self.store.inventory.intend(intent, at=at)
        minted = mint(signer, planned)
        await self.store.inventory.complete(intent, at=at)
        return minted

    async def refused(self, who: str, action: str, error: AuthorityError, *, at: datetime, subject: str = "") -> None:
        """Record in the audit why somebody was turned away; they hear less.

        Raises:
            StoreUnavailableError: nobody can tell whether it was recorded.
        """
        await self.store.audit.append(AuditEvent(at, who, action, Outcome.REFUSED, subject=subject, reason=str(error)))

    async def certify(  # noqa: PLR0913  # as above
        self,
        caller: Caller,
        entry: Entry,
        public_key: PublicKey,
        *,
        at: datetime,
        ttl: timedelta | None = None,
        repeat: Repeat | None = None,
    ) -> IssuedX509:
        """Certify a key whose holder has shown it, for `entry`, one of those that `caller` may have now.

        Raises:
            AuthorityError: as `x509_svid`.
        """
        signing = self.source.now()
        authority = signing.require_authority(at)
        spki = key_to_der(public_key)
        request = b"" if repeat is None else _digest(entry.spiffe_id, spki, ttl)
        if repeat is not None and (given := await self._recalled(caller, entry, request, repeat, at=at)) is not None:
            return given

        longest = min(entry.ttl or self._max_ttl, self._max_ttl)
        if ttl is not None and not MIN_TTL <= ttl <= longest:
            reason = f"a certificate of {entry.spiffe_id} lives for {MIN_TTL} to {longest}"
            raise RefusedLifetimeError(reason, lifetime=ttl, at=at)
        lifetime = ttl or min(entry.ttl or DEFAULT_TTL, longest)
        try:
            planned = authority.plan(entry.spiffe_id, public_key, at=at, ttl=lifetime, dns_names=entry.dns_names)
        except RefusedLifetimeError as error:
            # What was asked for is in bounds: it is the signer that has too little left.
            raise NotReadyError(error.reason) from error
        intent = _intent(planned, spki, issuer=signing.issuer, entry=entry, caller=caller)
        try:
            await self.store.inventory.intend(intent, at=at)
        except StoreConflictError as error:
            if error.what == "public key":
                raise RefusedKeyError(error.reason) from error
            raise
        svid = authority.sign(planned, at=at)
        if repeat is None:
            await self.store.inventory.complete(intent, at=at)
            return IssuedX509(svid, entry, signing)
        answer = Answer(caller.name, repeat.key, request, svid.chain_to_pem(), planned.profile.not_after)
        content = await self.store.inventory.complete_once(intent, answer, at=at)
        return IssuedX509(_read(entry.spiffe_id, content), entry, signing)

    async def _recalled(
        self, caller: Caller, entry: Entry, request: bytes, repeat: Repeat, *, at: datetime
    ) -> IssuedX509 | None:
        signing = self.source.now()
        given = await asyncio.to_thread(self.store.inventory.recall, caller.name, repeat.key, request, at=at)
        return None if given is None else IssuedX509(_read(entry.spiffe_id, given), entry, signing)


def _intent(planned: Planned, spki: bytes, *, issuer: str, entry: Entry, caller: Caller) -> Intent:
    return Intent(
        serial=planned.serial,
        spiffe_id=planned.spiffe_id,
        kind=IssuedKind.X509,
        issuer=issuer,
        not_before=planned.profile.not_before,
        not_after=planned.profile.not_after,
        spki_sha256=hashlib.sha256(spki).digest(),
        entry=entry.id,
        caller=caller.name,
    )


def _digest(spiffe_id: SpiffeId, spki: bytes, ttl: timedelta | None) -> bytes:
    """Whether two requests are the same. A name has no newline, so no two give the same text."""
    asked = "" if ttl is None else str(ttl.total_seconds())
    return hashlib.sha256(f"{spiffe_id}\n{asked}\n".encode() + spki).digest()


def _read(spiffe_id: SpiffeId, pem: bytes) -> X509Svid:
    return X509Svid(spiffe_id, tuple(x509.load_pem_x509_certificates(pem)))
