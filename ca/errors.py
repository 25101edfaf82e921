"""Errors: every reason for which the authority issues nothing."""

from datetime import datetime, timedelta
from enum import Enum

__all__ = [
    "AuthorityError",
    "CsrError",
    "CsrFault",
    "RecheckError",
    "RefusedKeyError",
    "RefusedLifetimeError",
    "RefusedNameError",
]


class AuthorityError(Exception):
    """The base of all errors of this package. None of them carries a private key."""


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
