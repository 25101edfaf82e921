"""The inventory: every certificate and token that the authority signed or was about to sign."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Generic, TypeVar

from identity import SpiffeId

__all__ = [
    "Intent",
    "InventoryFilter",
    "Issued",
    "IssuedKind",
    "IssuedState",
    "Page",
    "Revocation",
    "RevocationList",
    "RevocationReason",
    "RevokedSerial",
]

Row = TypeVar("Row")


class IssuedKind(Enum):
    """What was issued."""

    X509 = "x509-svid"
    JWT = "jwt-svid"


class IssuedState(Enum):
    """What has become of it at some moment."""

    INTENDED = "intended"
    """Nobody ever got it: the row was written before signing, and no release followed."""
    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


class RevocationReason(Enum):
    """RFC 5280, 5.3.1: why a certificate is not to be trusted any more. The values are the standard's names."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to be signed.

    `serial` is lower-case hexadecimal for a certificate and the `jti` for a token. `issuer` is the id of the signing
    authority's slot. `spki_sha256` is `None` for a token, which certifies no key. `entry` is the registration entry by
    which, and `caller` the one to whom it is issued.
    """

    serial: str
    spiffe_id: SpiffeId
    kind: IssuedKind
    issuer: str
    not_before: datetime
    not_after: datetime
    spki_sha256: bytes | None
    entry: str | None
    caller: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """When and why a certificate was revoked."""

    at: datetime
    reason: RevocationReason


@dataclass(frozen=True, slots=True)
class Issued:
    """A row of the inventory: the intent, when it was written, and what followed.

    `released` is `None` as long as nobody can have the certificate: it is set, for good, before it leaves.
    """

    intent: Intent
    intended: datetime
    released: datetime | None = None
    revoked: Revocation | None = None

    def state(self, at: datetime) -> IssuedState:
        """What it is at `at`."""
        if self.revoked is not None:
            return IssuedState.REVOKED
        if self.released is None:
            return IssuedState.INTENDED
        return IssuedState.VALID if at < self.intent.not_after else IssuedState.EXPIRED


@dataclass(frozen=True, slots=True)
class InventoryFilter:
    """Which rows to list: those that meet all that is given.

    `prefix` is of the whole SPIFFE ID. `state` is meant at the time of asking; `expiring_within` means those that are
    valid then and will not be that much later. Times are from, inclusive, to, exclusive.
    """

    spiffe_id: SpiffeId | None = None
    prefix: str | None = None
    issuer: str | None = None
    kind: IssuedKind | None = None
    caller: str | None = None
    state: IssuedState | None = None
    expiring_within: timedelta | None = None
    intended_from: datetime | None = None
    intended_to: datetime | None = None
    expires_from: datetime | None = None
    expires_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows, and what to give for those that follow; `None` if there are no more."""

    rows: tuple[Row, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class RevokedSerial:
    """What a certificate revocation list says of one certificate."""

    serial: str
    revocation: Revocation


@dataclass(frozen=True, slots=True)
class RevocationList:
    """The revoked certificates of one issuer that have not expired. `number` never falls and grows with every revocation."""

    number: int
    revoked: tuple[RevokedSerial, ...]
