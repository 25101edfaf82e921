"""The service that Istio's agents and ztunnel ask: `istio.v1.auth.IstioCertificateService/CreateCertificate` (spec 2.7).

Who asks is found out from the token or the certificate that is shown, never from the request; what the request names must be
what the caller may have.
"""

import logging
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter
from typing import Protocol

from google.protobuf.message import DecodeError

from ca.attestation import Caller
from ca.csr import read_csr
from ca.errors import (
    AttestationError,
    AuthorityError,
    CsrError,
    CsrFault,
    ImpersonationError,
    NotReadyError,
    StoreError,
)
from ca.front import Context, Front, RefusedCallError, Service, TlsPeer
from ca.inventory import IssuedKind
from ca.issuance import IssuedX509
from ca.istio.ca_pb2 import DESCRIPTOR, IstioCertificateRequest, IstioCertificateResponse
from ca.istio.impersonation import Impersonation
from ca.joining import attest_renewal
from ca.office import Office
from ca.pem import bundle_to_pem, chain_to_pems
from ca.refusals import Refusal, RefusalKind, refusal_of

__all__ = ["SERVICE", "CertificateService", "TokenAttestor"]

_logger = logging.getLogger("meshward.ca")

SERVICE: str = DESCRIPTOR.services_by_name["IstioCertificateService"].full_name
EDGE = "istio"
_ACTION = "istio certificate"
_BEARER = "Bearer "
_IMPERSONATED = "ImpersonatedIdentity"
# What is no fault of the caller's is in the log, and what comes too often would drown the audit.
_RECORDED = frozenset({RefusalKind.MALFORMED, RefusalKind.UNAUTHENTICATED, RefusalKind.FORBIDDEN, RefusalKind.CONFLICT})
# Longer than anything lives, and no longer than a `timedelta` can be.
_LONGEST_ASKED = 10**9


class TokenAttestor(Protocol):
    """Finds out whose token of a cluster it is, as `ca.attestation.KubernetesAttestor` does."""

    def attest(self, token: str, *, cluster: str | None, at: datetime) -> Awaitable[Caller]:
        """Whose it is. `cluster` is what the caller says; it may leave it open.

        Raises:
            AttestationError: it proves nothing.
            NotReadyError: nobody can tell.
        """


class CertificateService:
    """Answers agents of Istio from an office.

    Without `tokens` only certificates prove who somebody is, and without `impersonation` nobody asks for others.
    """

    def __init__(
        self,
        office: Office,
        front: Front[TlsPeer],
        *,
        tokens: TokenAttestor | None = None,
        impersonation: Impersonation | None = None,
    ) -> None:
        self._office = office
        self._front = front
        self._tokens = tokens
        self._impersonation = impersonation

    def service(self) -> Service:
        """Its one method."""
        return Service(
            name=SERVICE,
            unary={"CreateCertificate": self._create_certificate},
            count=lambda code: self._office.counters.refused(EDGE, code),
        )

    async def _create_certificate(self, question: bytes, context: Context) -> bytes:
        asking = _Asking()
        try:
            return await self._answer(question, context, asking)
        except AuthorityError as error:
            raise RefusedCallError(await self._refusal(error, asking)) from error

    async def _answer(self, question: bytes, context: Context, asking: "_Asking") -> bytes:
        started, at = perf_counter(), self._office.clock()
        peer = self._front.peer(context)
        asking.who = peer.address
        # Before anything of what it shows is computed.
        self._office.limits.attesting(peer.address)
        caller = await self._authenticated(peer, context.invocation_metadata() or (), at)
        asking.who = caller.name
        self._office.limits.issuing(caller)
        request = _parsed(question)
        consumer = f"istio:{caller.name}/{caller.instance or peer.address}"
        impersonating = _IMPERSONATED in request.metadata.fields
        if impersonating:
            asking.subject = request.metadata.fields[_IMPERSONATED].string_value
            caller = await self._impersonated(caller, asking.subject)
        requested = read_csr(request.csr.encode())
        # A request that names nothing means who its caller is, and one for another names no third.
        wanted = caller.spiffe_id if impersonating or requested.spiffe_id is None else None
        asking.subject = str(requested.spiffe_id or wanted or "")
        issued = await self._office.issuance.x509_svid(
            caller, requested, spiffe_id=wanted, ttl=_lifetime(request.validity_duration), at=at
        )
        # Whoever takes the answer has the roots that are in it.
        self._office.consumers.holds(consumer, issued.signing.bundle.sequence or 0, at=at)
        self._office.counters.issued(EDGE, IssuedKind.X509)
        self._office.counters.seconds(EDGE, IssuedKind.X509, perf_counter() - started)
        return IstioCertificateResponse(cert_chain=_laid_out(issued)).SerializeToString()

    async def _authenticated(self, peer: TlsPeer, metadata: Iterable[tuple[str, str | bytes]], at: datetime) -> Caller:
        """By the token if it is good, or else by the certificate: agents on virtual machines go on to show their first token.

        The token tells which pod it is, so that one pod is one consumer however often it comes.
        """
        said = [(name, value) for name, value in metadata if isinstance(value, str)]
        reasons = []
        unknown: NotReadyError | None = None
        token = _bearer(said)
        if token is not None and self._tokens is not None:
            try:
                return await self._tokens.attest(token, cluster=_cluster(said), at=at)
            except AttestationError as error:
                reasons.append(error.reason)
            except NotReadyError as error:
                unknown = error
        if peer.certificate is not None:
            try:
                return await attest_renewal(self._office.store, self._office.signing.now(), peer.certificate, at=at)
            except AttestationError as error:
                reasons.append(error.reason)
        if unknown is not None:
            raise unknown
        raise AttestationError(
            "; ".join(reasons) or "it shows neither a token nor a certificate that could be verified"
        )

    async def _impersonated(self, caller: Caller, asked: str) -> Caller:
        if self._impersonation is None:
            raise ImpersonationError("nobody may ask in the name of others here")
        return await self._impersonation.caller_for(caller, asked)

    async def _refusal(self, error: AuthorityError, asking: "_Asking") -> Refusal:
        refusal = refusal_of(error)
        if refusal.kind in _RECORDED:
            try:
                at = self._office.clock()
                await self._office.issuance.refused(asking.who, _ACTION, error, at=at, subject=asking.subject)
            except StoreError as lost:
                # It is turned away all the same.
                _logger.warning("that %r was refused is not recorded: %s: %s", asking.who, error, lost)
        elif refusal.kind is not RefusalKind.LIMITED:
            _logger.warning("%r gets no certificate: %s", asking.who, error)
        return refusal


@dataclass(slots=True)
class _Asking:
    """What is known by now of who asks for what, for the audit."""

    who: str = "unknown"
    subject: str = ""


def _parsed(question: bytes) -> IstioCertificateRequest:
    try:
        return IstioCertificateRequest.FromString(question)
    except DecodeError as error:
        raise CsrError(CsrFault.MALFORMED, "what was sent is no IstioCertificateRequest") from error


def _bearer(said: Sequence[tuple[str, str]]) -> str | None:
    """The first token that is shown."""
    shown = (value for name, value in said if name == "authorization")
    return next((value.removeprefix(_BEARER) for value in shown if value.startswith(_BEARER)), None)


def _cluster(said: Sequence[tuple[str, str]]) -> str | None:
    """The cluster that it says to be in. Of several none is believed."""
    found = [value for name, value in said if name == "clusterid"]
    return found[0] or None if len(found) == 1 else None


def _lifetime(seconds: int) -> timedelta | None:
    return timedelta(seconds=min(seconds, _LONGEST_ASKED)) if seconds > 0 else None


def _laid_out(issued: IssuedX509) -> list[str]:
    """Leaf and intermediates one by one, and in the last place all roots, old and new: by no other way do agents hear of new ones."""
    return [*chain_to_pems(issued.svid), bundle_to_pem(issued.signing.bundle)]
