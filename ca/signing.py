"""Signing: what signs for a trust domain at one moment, and what verifies it."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from cryptography import x509

from ca.authorities import Authorities, JwtSigner
from ca.authority import Authority
from ca.errors import NotKeptError, NotReadyError
from ca.keys import KeyLoader, KeyStore, SigningKey
from ca.phases import TRUSTED, Phase, SlotKind
from ca.signer import Signer
from ca.store import KeptAuthorities
from identity import Bundle, JwtAuthority, TrustDomain

__all__ = ["FollowedSigning", "KeptSigning", "Signing", "SigningSource", "signing_of"]

T = TypeVar("T")

_UNTAINTED = TRUSTED - {Phase.TAINTED}
_HAS_SIGNED = (Phase.ACTIVE, Phase.SUPERSEDED, Phase.TAINTED)


@dataclass(frozen=True, slots=True)
class Signing:
    """What signs at one moment. Taken once for each answer, so that all of it is of the same moment."""

    bundle: Bundle
    """What everybody is to verify with."""
    accepted: Bundle
    """The same without what is tainted: an SVID that a thief could have made renews nothing."""
    authority: Authority | None
    issuer: str
    """The id by which the inventory knows what signs X.509-SVIDs."""
    jwt: JwtSigner | None
    intermediates: tuple[x509.Certificate, ...]
    """Everything that may stand between a leaf and a root, for peers that show the leaf alone."""
    to_reissue: frozenset[str]
    """Issuers whose leaves are to be replaced without waiting for their end."""
    missing: str = "no signing authority is active; rotate to get one"
    """Why there is no `authority` or `jwt`."""
    authorities: Authorities | None = None
    """Where all of it comes from; for a plugged-in authority, its roots and the keys for tokens."""

    @property
    def trust_domain(self) -> TrustDomain:
        """Whose it is."""
        return self.bundle.trust_domain

    def require_authority(self, at: datetime) -> Authority:
        """What issues X.509-SVIDs at `at`.

        Raises:
            NotReadyError: nothing signs, or the clock has gone back.
        """
        self._require_clock(at)
        if self.authority is None:
            raise NotReadyError(self.missing)
        _require_alive(self.authority.intermediate.certificate.not_valid_after_utc, at)
        return self.authority

    def require_jwt(self, at: datetime) -> JwtSigner:
        """What signs JWT-SVIDs at `at`.

        Raises:
            NotReadyError: nothing signs, or the clock has gone back.
        """
        self._require_clock(at)
        if self.jwt is None:
            raise NotReadyError(self.missing)
        _require_alive(self.jwt.not_after, at)
        return self.jwt

    def _require_clock(self, at: datetime) -> None:
        if self.authorities is not None:
            self.authorities.require_clock(at)


class SigningSource(Protocol):
    """Where edges get what signs now."""

    def now(self) -> Signing:
        """What signs now; nothing is read for it.

        Raises:
            NotReadyError: nothing was ever loaded.
        """


class FollowedSigning(SigningSource, Protocol):
    """A `SigningSource` that changes while it is used."""

    def refresh(self) -> bool:
        """Look at where it comes from, and say whether it is another than before. This blocks; it may be called from any thread.

        Raises:
            AuthorityError: it cannot be told. What signed before goes on.
        """


class KeptSigning:
    """A `SigningSource` that follows what is kept in the store, whichever replica changes it."""

    def __init__(self, kept: KeptAuthorities, keys: KeyStore, trust_domain: TrustDomain) -> None:
        self._kept = kept
        self._keys = _Opened(keys)
        self._trust_domain = trust_domain
        self._lock = threading.Lock()
        self._version = 0
        self._signing: Signing | None = None

    def now(self) -> Signing:
        """As `SigningSource.now`."""
        if self._signing is None:
            raise NotReadyError("it is starting")
        return self._signing

    def active_issuer(self) -> str:
        """The id of the intermediate that signs.

        Raises:
            NotReadyError: none does.
        """
        signing = self.now()
        if signing.authority is None:
            raise NotReadyError(signing.missing)
        return signing.issuer

    def signer_of(self, issuer: str) -> Signer:
        """An intermediate that signs leaves, or did, with its key: for what is to be said of those leaves. This blocks.

        Raises:
            KeyStoreError: its key cannot be had.
            NotKeptError: there is none of that id, or nobody is to trust it any more.
            NotReadyError: nothing was ever loaded.
        """
        signing = self.now()
        if signing.authority is not None and issuer == signing.issuer:
            return signing.authority.intermediate
        found = () if signing.authorities is None else signing.authorities.of(SlotKind.INTERMEDIATE, *_HAS_SIGNED)
        for slot in found:
            if slot.id == issuer:
                return Signer(slot.certificate, self._keys.load(slot.key_name))
        raise NotKeptError("intermediate", issuer)

    def refresh(self) -> bool:
        """Look at what is kept, and say whether it is another than before. This blocks; it may be called from any thread.

        Raises:
            KeyStoreError: a key cannot be had. What signed before goes on.
            NotReadyError: nothing is kept for the trust domain.
            StoreUnavailableError: nobody can tell what is kept. What signed before goes on.
        """
        with self._lock:
            if self._version and self._kept.number(self._trust_domain) == self._version:
                return False
            version = self._kept.load(self._trust_domain)
            if version is None:
                raise NotReadyError(
                    f"there are no authorities of `{self._trust_domain}`; `meshward ca init` makes them"
                )
            self._signing = signing_of(version.authorities, self._keys)
            self._keys.keep(slot.key_name for slot in version.authorities.slots if slot.phase is Phase.ACTIVE)
            self._version = version.number
            return True


def signing_of(authorities: Authorities, keys: KeyLoader) -> Signing:
    """What signs by `authorities`.

    Raises:
        KeyStoreError: a key cannot be had.
    """
    # As of the latest change: whether a signer has ended since is asked for each answer.
    at = authorities.seen or datetime.min.replace(tzinfo=UTC)
    intermediate = authorities.active(SlotKind.INTERMEDIATE)
    bundle = authorities.bundle
    accepted = replace(
        bundle,
        x509_authorities=tuple(slot.certificate for slot in authorities.of(SlotKind.ROOT, *_UNTAINTED)),
        jwt_authorities=tuple(
            JwtAuthority(slot.id, slot.public_key) for slot in authorities.of(SlotKind.JWT, *_UNTAINTED)
        ),
    )
    return Signing(
        bundle=bundle,
        accepted=accepted,
        authority=_if_ready(lambda: authorities.issuer(keys, at=at)),
        issuer="" if intermediate is None else intermediate.id,
        jwt=_if_ready(lambda: authorities.jwt_signer(keys, at=at)),
        intermediates=tuple(
            slot.certificate for slot in authorities.of(SlotKind.INTERMEDIATE, Phase.ACTIVE, Phase.SUPERSEDED)
        ),
        to_reissue=authorities.to_reissue,
        authorities=authorities,
    )


def _if_ready(make: Callable[[], T]) -> T | None:
    try:
        return make()
    except NotReadyError:
        return None


def _require_alive(not_after: datetime, at: datetime) -> None:
    if at >= not_after:
        raise NotReadyError(f"what signs ended at {not_after.isoformat()}; rotate to get another")


class _Opened:
    """The keys that sign, opened once: opening one on disk takes a tenth of a second, on purpose."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._opened: dict[str, SigningKey] = {}

    def load(self, name: str) -> SigningKey:
        if name not in self._opened:
            self._opened[name] = self._keys.load(name)
        return self._opened[name]

    def keep(self, names: Iterable[str]) -> None:
        """Let go of all others."""
        kept = frozenset(names)
        self._opened = {name: key for name, key in self._opened.items() if name in kept}
