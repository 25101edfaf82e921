"""Who asks: the one credential of a request, and who it is that it proves.

`Authorization: Bearer …` (RFC 6750) carries either kind of token. One with a dot is a JWT, of a Kubernetes service account; one
without is a join token, which has none. The certificate of the TLS connection is the third kind. Who shows two of these means
something that we would have to guess, and is refused.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from fastapi import Request

from ca.attestation import Caller
from ca.errors import AttestationError, JoinTokenError
from ca.joining import attest_join_token, attest_renewal, attest_used_token
from ca.office import Office
from ca.rest.problems import ProblemError

__all__ = ["Asking", "Bearer", "Shown", "TokenAttestor", "credential_of", "peer_of", "renewing"]

TokenAttestor = Callable[[str], Awaitable[Caller]]
"""Whoever shows a service account's token, or `AttestationError`."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """The certificate of a client, whose key TLS has seen at work."""

    certificate: str
    """In PEM."""


def peer_of(request: Request) -> str:
    """Where a request comes from, without the port: for limits, and for the audit."""
    return "unknown" if request.client is None else request.client.host


def credential_of(request: Request) -> Bearer | Shown:
    """The one credential of a request.

    Raises:
        AttestationError: there is none, or it is of an unknown kind.
        ProblemError: there are several.
    """
    said = request.headers.getlist("authorization")
    # The extension "tls" of ASGI; the server writes it, and nothing of a request gets there.
    chain = request.scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())
    if len(said) + bool(chain) > 1:
        raise ProblemError("several-credentials", "show one: a token, or the certificate of the connection")
    if chain:
        return Shown(chain[0])
    if not said:
        raise AttestationError("neither a token nor a certificate was shown")
    scheme, _, token = said[0].partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise AttestationError("`Authorization` is not `Bearer` and a token")
    return Bearer(token.strip())


@dataclass(frozen=True, slots=True)
class Asking:
    """Finds out who asks for a certificate or a token. `tokens` verifies those of service accounts, where there are any."""

    office: Office
    tokens: TokenAttestor | None = None

    async def caller(self, request: Request, *, at: datetime) -> Caller:
        """Who it is. A join token is used up from here on. Why somebody is turned away is in the audit.

        Raises:
            AttestationError: it is not known who.
            ProblemError: it shows several credentials.
            StoreUnavailableError: nobody can tell.
        """
        peer = peer_of(request)
        try:
            return await self._attested(credential_of(request), peer, at=at)
        except AttestationError as error:
            # What the store refused, a join token, it has recorded itself.
            if not isinstance(error.__cause__, JoinTokenError):
                await self.office.issuance.refused(peer, "attest", error, at=at)
            raise

    async def again(self, request: Request) -> Caller:
        """Who shows a join token that is used up: for what it was answered, and nothing else.

        Raises:
            AttestationError: it shows something else.
            StoreUnavailableError: nobody can tell.
        """
        match credential_of(request):
            case Bearer(token) if "." not in token:
                return await attest_used_token(self.office.store, token)
            case _:
                raise AttestationError("it shows no join token")

    async def _attested(self, credential: Bearer | Shown, peer: str, *, at: datetime) -> Caller:
        match credential:
            case Shown(certificate):
                return await renewing(self.office, certificate, at=at)
            case Bearer(token) if "." not in token:
                return await attest_join_token(self.office.store, token, by=peer, at=at)
            case Bearer(token):
                if self.tokens is None:
                    raise AttestationError("no cluster's tokens are verified here")
                return await self.tokens(token)


async def renewing(office: Office, certificate: str, *, at: datetime) -> Caller:
    """Who shows an SVID that is still good.

    Raises:
        AttestationError: it is not.
        StoreUnavailableError: nobody can tell.
    """
    try:
        leaf = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError as error:
        raise AttestationError("the certificate cannot be read") from error
    return await attest_renewal(office.store, office.signing.now(), leaf, at=at)
