"""Who manages: operators, by the admin token or by an SVID of a registration entry for admins."""

import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any, Self, cast

from fastapi import Depends, Request

from ca.attestation import Attestor, Caller
from ca.errors import AttestationError, NotEntitledError
from ca.office import Office
from ca.rest.asking import Bearer, Shown, credential_of, peer_of, renewing

__all__ = ["ADMIN_SECURITY", "WHO_MANAGES", "Admin", "AdminToken", "Managing"]

ADMIN_SECURITY: dict[str, Any] = {"security": [{"token": []}, {"certificate": []}]}
WHO_MANAGES = ("unauthenticated", "several-credentials", "no-admin")
"""The codes that every route of operators may answer with."""


@dataclass(frozen=True, slots=True)
class AdminToken:
    """What the token of operators hashes to by SHA-256. The token itself is nowhere here; it has 128 random bits at least."""

    digest: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.digest) != sha256().digest_size:
            raise ValueError("the hash of an admin token is a SHA-256")

    @classmethod
    def of(cls, token: str) -> Self:
        """For whoever makes a token and keeps its hash."""
        return cls(sha256(token.encode()).digest())

    def is_of(self, token: str) -> bool:
        """Whether `token` is the one. How long that takes says nothing of it."""
        return hmac.compare_digest(sha256(token.encode(errors="replace")).digest(), self.digest)


@dataclass(frozen=True, slots=True)
class Managing:
    """Finds out who manages. Without `token`, only SVIDs of admins do."""

    office: Office
    token: AdminToken | None

    async def caller(self, request: Request) -> Caller:
        """Who it is. Why somebody is turned away is in the audit.

        Raises:
            AttestationError: it is not known who.
            NotEntitledError: it may not manage.
            ProblemError: it shows several credentials.
            StoreUnavailableError: nobody can tell.
        """
        peer, at = peer_of(request), self.office.clock()
        try:
            caller = await self._attested(request)
            self.office.entitlements.require_admin(caller)
        except AttestationError as error:
            await self.office.issuance.refused(peer, "administer", error, at=at)
            raise
        except NotEntitledError as error:
            await self.office.issuance.refused(error.caller, "administer", error, at=at)
            raise
        return caller

    async def _attested(self, request: Request) -> Caller:
        match credential_of(request):
            case Shown(certificate):
                return await renewing(self.office, certificate, at=self.office.clock())
            case Bearer(token):
                if self.token is None or not self.token.is_of(token):
                    raise AttestationError("it is not the admin token")
                return Caller(Attestor.ADMIN, f"{Attestor.ADMIN.value}:token")


async def _admin(request: Request) -> Caller:
    return await cast("Managing", request.app.state.managing).caller(request)


Admin = Annotated[Caller, Depends(_admin)]
"""Who manages, for a route of `admin_app`. It is known before the body is looked at."""
