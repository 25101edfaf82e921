"""Errors: every way in which a name or a document can fail to prove who somebody is."""

from enum import Enum

__all__ = [
    "IdentityError",
    "InvalidBundleError",
    "InvalidJwkError",
    "InvalidJwsError",
    "InvalidJwtSvidError",
    "InvalidSpiffeIdError",
    "InvalidTrustDomainError",
    "JwtFault",
    "Step",
    "SvidVerificationError",
    "WeakKeyError",
]

_SHOWN = 80


class IdentityError(Exception):
    """The base of all errors of this package."""


class InvalidTrustDomainError(IdentityError):
    """`text` is not a trust domain."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"invalid trust domain {_excerpt(text)}: {reason}")
        self.text = text
        self.reason = reason


class InvalidSpiffeIdError(IdentityError):
    """`text` is not a SPIFFE ID."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"invalid SPIFFE ID {_excerpt(text)}: {reason}")
        self.text = text
        self.reason = reason


class WeakKeyError(IdentityError):
    """A public key is of a kind or a size that no SVID may have."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"public key refused: {reason}")
        self.reason = reason


class InvalidJwkError(IdentityError):
    """A JWK is no public key that may sign SVIDs."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid JWK: {reason}")
        self.reason = reason


class InvalidBundleError(IdentityError):
    """A document is no SPIFFE bundle."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid bundle: {reason}")
        self.reason = reason


class InvalidJwsError(IdentityError):
    """A text is no signed token that could prove anything. `reason` shows none of it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid token: {reason}")
        self.reason = reason


class JwtFault(Enum):
    """What may be wrong with a JWT-SVID, in the order in which it is found."""

    MALFORMED = "malformed"
    HEADER = "header"
    KEY_ID = "key id"
    SUBJECT = "subject"
    EXPIRY = "expiry"
    AUDIENCE = "audience"
    TRUST_DOMAIN = "trust domain"
    KEY = "key"
    SIGNATURE = "signature"


class InvalidJwtSvidError(IdentityError):
    """A JWT-SVID proves nothing. Neither `fault` nor `reason` shows any of the token but its names."""

    def __init__(self, fault: JwtFault, reason: str) -> None:
        super().__init__(f"JWT-SVID refused: {reason}")
        self.fault = fault
        self.reason = reason


class Step(Enum):
    """The steps of `verify_x509_svid`, in their order."""

    CHAIN = "chain"
    CONTENT = "content"
    SPIFFE_ID = "SPIFFE ID"
    LEAF = "leaf"
    BUNDLE = "bundle"
    ISSUER = "issuer"
    SIGNING_CERTIFICATE = "signing certificate"
    VALIDITY = "validity"


class SvidVerificationError(IdentityError):
    """An X.509-SVID proves nothing: `step` found `reason`.

    `position` counts from the leaf, which is 0; the authority stands one past the last certificate that led to it. It is
    `None` where the reason is not about one certificate.
    """

    def __init__(self, step: Step, reason: str, *, position: int | None = None) -> None:
        place = "" if position is None else f" (certificate {position})"
        super().__init__(f"X.509-SVID refused at step {step.value}{place}: {reason}")
        self.step = step
        self.reason = reason
        self.position = position


def _excerpt(text: str) -> str:
    # Names come from strangers and errors end up in logs: repr keeps a newline from starting a line of its own there.
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"
