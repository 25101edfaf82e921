"""Refusals: what whoever is turned away hears, the same at every edge (spec 2.8).

All failures of authentication are one text; the reason is in the audit. What the caller can mend is said in full.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from ca.errors import (
    AttestationError,
    AuthorityError,
    ClockError,
    CsrError,
    IllegalMoveError,
    ImpersonationError,
    InvalidSelectorError,
    JoinTokenError,
    KeyStoreError,
    LimitedError,
    NotEntitledError,
    NotKeptError,
    NotReadyError,
    RefusedKeyError,
    RefusedLifetimeError,
    RefusedNameError,
    StoreConflictError,
    StoreUnavailableError,
)

__all__ = ["Refusal", "RefusalKind", "refusal_of"]


class RefusalKind(Enum):
    """What a refusal is to HTTP and to gRPC: the status, and the number of the code."""

    MALFORMED = (400, 3)
    UNAUTHENTICATED = (401, 16)
    FORBIDDEN = (403, 7)
    NOT_FOUND = (404, 5)
    CONFLICT = (409, 9)
    LIMITED = (429, 8)
    INTERNAL = (500, 13)
    NOT_READY = (503, 14)

    @property
    def http(self) -> int:
        """The status of HTTP."""
        return self.value[0]

    @property
    def grpc(self) -> int:
        """The number of the code of gRPC."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is said: `code` is stable and for programs, `text` for people. `retry_after` says when it is worth another try."""

    kind: RefusalKind
    code: str
    text: str
    retry_after: timedelta | None = None


def refusal_of(error: AuthorityError) -> Refusal:  # noqa: C901, PLR0912  # one case a kind of error
    """What the one who caused `error`, or met it, is to hear."""
    match error:
        case ImpersonationError():
            # As in Istio, whose ztunnel tells the two apart in its log. Who hears it has proved already who it is.
            return Refusal(RefusalKind.UNAUTHENTICATED, "impersonation", "request impersonation authentication failure")
        case AttestationError() | JoinTokenError():
            return Refusal(RefusalKind.UNAUTHENTICATED, "unauthenticated", "request authentication failure")
        case NotEntitledError():
            return Refusal(RefusalKind.FORBIDDEN, error.fault.value, error.reason)
        case LimitedError():
            return Refusal(RefusalKind.LIMITED, "limited", str(error), error.retry_after)
        case CsrError():
            return Refusal(RefusalKind.MALFORMED, error.fault.value, str(error))
        case RefusedKeyError():
            return Refusal(RefusalKind.MALFORMED, "key-refused", str(error))
        case RefusedLifetimeError():
            return Refusal(RefusalKind.MALFORMED, "lifetime-refused", str(error))
        case RefusedNameError() | InvalidSelectorError():
            return Refusal(RefusalKind.MALFORMED, "name-refused", str(error))
        case NotKeptError():
            return Refusal(RefusalKind.NOT_FOUND, "not-found", str(error))
        case StoreConflictError() | IllegalMoveError():
            return Refusal(RefusalKind.CONFLICT, "conflict", str(error))
        case NotReadyError() | ClockError():
            return Refusal(RefusalKind.NOT_READY, "not-ready", str(error), _SOON)
        case StoreUnavailableError() | KeyStoreError():
            # Where the store or a key is, is nobody's business out there.
            return Refusal(RefusalKind.NOT_READY, "not-ready", "the authority cannot keep or sign anything now", _SOON)
        case _:
            return Refusal(RefusalKind.INTERNAL, "internal", "the authority could not do it; its log says why")


_SOON = timedelta(seconds=1)
