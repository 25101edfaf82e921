"""Errors: every reason for which the authority issues nothing."""

from datetime import datetime, timedelta
from enum import Enum

__all__ = [
    "AttestationError",
    "AuthorityError",
    "BrokenAuditError",
    "ClockError",
    "CsrError",
    "CsrFault",
    "DamagedKeyError",
    "EntitlementFault",
    "ExposedKeyError",
    "IllegalMoveError",
    "InvalidSelectorError",
    "JoinTokenError",
    "KeyExistsError",
    "KeyStoreError",
    "LimitedError",
    "ListenError",
    "NewerSchemaError",
    "NotEntitledError",
    "NotKeptError",
    "NotReadyError",
    "PluggedError",
    "RecheckError",
    "RefusedKeyError",
    "RefusedLifetimeError",
    "RefusedNameError",
    "RefusedSettingsError",
    "StoreConflictError",
    "StoreError",
    "StoreUnavailableError",
    "TokenFault",
    "UnknownKeyError",
    "WrongPassphraseError",
]


class AuthorityError(Exception):
    """The base of all errors of this package. None of them carries a private key."""


class AttestationError(AuthorityError):
    """A caller is not who it would have to be. `reason` is for the audit log: callers hear one text, whatever it is."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"attestation failed: {reason}")
        self.reason = reason


class InvalidSelectorError(AuthorityError):
    """`text` is no selector."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"invalid selector {text!r}: {reason}")
        self.text = text
        self.reason = reason


class KeyStoreError(AuthorityError):
    """The private key at `place` cannot be had: `reason`. Neither says anything of what the key is."""

    def __init__(self, place: str, reason: str, remedy: str = "") -> None:
        super().__init__(f"key store {place}: {reason}" + (f"; {remedy}" if remedy else ""))
        self.place = place
        self.reason = reason
        self.remedy = remedy


class DamagedKeyError(KeyStoreError):
    """What is kept is not what was written."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(place, f"the key is damaged: {reason}", "restore it from a backup")


class ExposedKeyError(KeyStoreError):
    """Others than us may have had their hands on what is kept."""


class KeyExistsError(KeyStoreError):
    """There is a key of that name, and it stays as it is."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "there is a key of that name already", "choose another")


class UnknownKeyError(KeyStoreError):
    """There is no key of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "there is no key of that name", "look whether it is the right key store")


class WrongPassphraseError(KeyStoreError):
    """The passphrase or PIN is not the one that the key was kept under."""

    def __init__(self, place: str) -> None:
        super().__init__(
            place, "the passphrase does not open it, or it was put under another name", "give the right one"
        )


class IllegalMoveError(AuthorityError):
    """A signing authority cannot go from one phase to that other."""

    def __init__(self, slot: str, before: str, after: str) -> None:
        super().__init__(f"signing authority {slot} is {before} and cannot become {after}")
        self.slot = slot
        self.before = before
        self.after = after


class EntitlementFault(Enum):
    """Why a caller gets no identity, or not that one. The values are stable codes."""

    NO_IDENTITY = "no-identity"
    OTHER_IDENTITY = "other-identity"
    SEVERAL_IDENTITIES = "several-identities"
    NO_ADMIN = "no-admin"


class NotEntitledError(AuthorityError):
    """A caller, who is known, may not have what they ask for."""

    def __init__(self, caller: str, fault: EntitlementFault, reason: str) -> None:
        super().__init__(f"caller {caller!r}: {reason}")
        self.caller = caller
        self.fault = fault
        self.reason = reason


class LimitedError(AuthorityError):
    """Too many requests of one caller; `retry_after` says when the next is taken."""

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__(f"too many requests; try again in {retry_after.total_seconds():.0f} s")
        self.retry_after = retry_after


class ListenError(AuthorityError):
    """Nothing can listen at `address`: `reason`."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot listen on {address}: {reason}")
        self.address = address
        self.reason = reason


class NotReadyError(AuthorityError):
    """Nothing can be signed: `reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the authority is not ready: {reason}")
        self.reason = reason


class PluggedError(AuthorityError):
    """The files of a plugged-in authority do not make one: what is wrong, in which file, and what to do about it."""

    def __init__(self, place: str, reason: str, remedy: str) -> None:
        super().__init__(f"{place}: {reason}; {remedy}")
        self.place = place
        self.reason = reason
        self.remedy = remedy


class RefusedSettingsError(AuthorityError):
    """The lifetimes that were asked for let something outlive what it rests on."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(f"setting `{setting}` refused: {reason}")
        self.setting = setting
        self.reason = reason


class RefusedNameError(AuthorityError):
    """`name` is not one that this authority may certify."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name!r} refused: {reason}")
        self.name = name
        self.reason = reason


class RefusedKeyError(AuthorityError):
    """A public key is not one that this authority certifies."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"public key refused: {reason}")
        self.reason = reason


class RefusedLifetimeError(AuthorityError):
    """A certificate would live too long, too short or outside the life of those above it.

    `lifetime` is what it would have had from `at` on.
    """

    def __init__(self, reason: str, *, lifetime: timedelta, at: datetime) -> None:
        super().__init__(f"lifetime of {lifetime} from {at.isoformat()} refused: {reason}")
        self.reason = reason
        self.lifetime = lifetime
        self.at = at


class RecheckError(AuthorityError):
    """What was signed is not what was meant, and was kept in: `found` is what differs."""

    def __init__(self, found: str) -> None:
        super().__init__(f"signed certificate withheld: {found}")
        self.found = found


class CsrFault(Enum):
    """What may be wrong with a certificate signing request, in the order in which it is found. The values are stable codes."""

    MISSING = "csr-missing"
    TOO_LONG = "csr-too-long"
    MALFORMED = "csr-malformed"
    KEY = "csr-key"
    SIGNATURE = "csr-signature"
    ASKS_FOR_MORE = "csr-asks-for-more"
    NAME = "csr-name"


class CsrError(AuthorityError):
    """A certificate signing request is refused: it has `fault`, and `reason` says where."""

    def __init__(self, fault: CsrFault, reason: str) -> None:
        super().__init__(f"certificate signing request refused: {reason}")
        self.fault = fault
        self.reason = reason


class StoreError(AuthorityError):
    """The base of what the store refuses. None of them carries a token or what a token hashes to."""


class BrokenAuditError(StoreError):
    """The audit chain is not as it was written: row `number` is the first that is wrong."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(f"audit chain broken at row {number}: {reason}")
        self.number = number
        self.reason = reason


class ClockError(StoreError):
    """The clock is behind what has been issued already, so lifetimes cannot be trusted."""

    def __init__(self, *, at: datetime, latest: datetime) -> None:
        super().__init__(
            f"the clock says {at.isoformat()}, and something was issued at {latest.isoformat()} already; set it right"
        )
        self.at = at
        self.latest = latest


class TokenFault(Enum):
    """What may be wrong with a join token. For the audit log; to the outside all are one. The values are stable codes."""

    UNKNOWN = "token-unknown"
    USED = "token-used"
    EXPIRED = "token-expired"


class JoinTokenError(StoreError):
    """A join token is refused. The token itself is not here."""

    def __init__(self, fault: TokenFault) -> None:
        super().__init__(f"join token refused: {fault.value}")
        self.fault = fault


class NewerSchemaError(StoreError):
    """A newer meshward has been here: `found` is the schema's revision, `known` the newest that we have."""

    def __init__(self, place: str, *, found: str, known: str) -> None:
        super().__init__(
            f"store {place} has schema `{found}`, and this meshward knows up to `{known}`; run the newer one"
        )
        self.place = place
        self.found = found
        self.known = known


class NotKeptError(StoreError):
    """There is no such row."""

    def __init__(self, what: str, which: str) -> None:
        super().__init__(f"there is no {what} `{which}`")
        self.what = what
        self.which = which


class StoreConflictError(StoreError):
    """What is kept already contradicts what should be."""

    def __init__(self, what: str, which: str, reason: str) -> None:
        super().__init__(f"{what} `{which}`: {reason}")
        self.what = what
        self.which = which
        self.reason = reason


class StoreUnavailableError(StoreError):
    """The store at `place` cannot be read or written. What was to be written may or may not be there."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"store {place}: {reason}")
        self.place = place
        self.reason = reason
