"""Errors: what is wrong with a token, with the keys it is to be verified by, or with a request for want of a good one."""

from urllib.parse import urlsplit

from authn.status import JwtStatus
from authz.decision import Denial

__all__ = [
    "AuthnError",
    "InvalidJwkSetError",
    "InvalidTokenError",
    "KeysUnavailableError",
    "UnauthenticatedError",
    "excerpt",
    "shown",
]

_SHOWN = 80


class AuthnError(Exception):
    """The base of every error of this package."""


class InvalidJwkSetError(AuthnError):
    """Text that is no JWK Set, or one without a single key that can be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no JWK Set: {reason}")
        self.reason = reason


class KeysUnavailableError(AuthnError):
    """The keys of a rule are not at hand, and `reason` says why. No other key ever stands in for them."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"no keys: {reason}")
        self.reason = reason


class InvalidTokenError(AuthnError):
    """A token proves nothing: `status` is what Envoy would say, `reason` the fact behind it, without the token."""

    def __init__(self, status: JwtStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class UnauthenticatedError(AuthnError):
    """A request is not let through to the policies.

    `rule` is the position of the rule that determined it; `reason` tells an operator where the token was and what is wrong
    with it, without the token; `denial` is what the caller is told.
    """

    def __init__(self, status: JwtStatus, *, rule: int, reason: str, denial: Denial) -> None:
        super().__init__(reason)
        self.status = status
        self.rule = rule
        self.reason = reason
        self.denial = denial


def excerpt(text: str) -> str:
    """`text` from a stranger as a reason shows it: in backticks, cut, and unable to begin a line of a log."""
    cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return f"`{repr(cut)[1:-1]}`"


def shown(url: str) -> str:
    """`url` as a reason shows it: without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    if not parts.netloc:
        return "an address without a host"
    return excerpt(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
