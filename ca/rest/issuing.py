"""Issuing over HTTP: `POST /v1/x509-svid` and `POST /v1/jwt-svid`."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from time import perf_counter
from typing import Annotated, Any

from fastapi import Header, Request, Response
from pydantic import AwareDatetime, Field

from ca.attestation import Attestor, Caller
from ca.csr import MAX_CSR, RequestedKey, read_csr
from ca.errors import AttestationError, CsrFault, EntitlementFault, NotEntitledError, RefusedKeyError
from ca.inventory import IssuedKind
from ca.issuance import IssuedX509, Repeat
from ca.jwt_svid import MAX_AUDIENCE
from ca.office import Office
from ca.pem import bundle_to_pem, chain_to_pems
from ca.rest.asking import Asking
from ca.rest.problems import ProblemError, Problems, documented
from ca.rest.straight import Application, Straight
from ca.rest.words import Answer, Asked, Named, Seconds, read_name, seconds
from identity import SpiffeId

__all__ = ["EDGE", "add_issuing"]

EDGE = "rest"
_X509 = "/v1/x509-svid"

_WHO = ("unauthenticated", "several-credentials", *(fault.value for fault in EntitlementFault))
_ANY = ("request-refused", "body-refused", "body-too-long", "media-type-refused", "not-ready", "conflict")
_SECURITY: dict[str, Any] = {"security": [{"token": []}, {"certificate": []}]}


class X509Asked(Asked):
    """A request for an X.509-SVID."""

    csr: Annotated[
        str,
        Field(
            max_length=MAX_CSR,
            description="A PKCS #10 request in PEM. It proves the key, and may name the SPIFFE ID; anything else is refused.",
            examples=["-----BEGIN CERTIFICATE REQUEST-----\n…\n-----END CERTIFICATE REQUEST-----\n"],
        ),
    ]
    spiffe_id: Annotated[
        Named | None, Field(description="Which of the names of who asks; needed where there are several.")
    ] = None
    ttl: Seconds | None = None


class BundleAnswer(Answer):
    """What verifies everybody."""

    trust_domain: str
    sequence: int | None
    pem: str


class X509Answer(Answer):
    """An X.509-SVID."""

    spiffe_id: str
    serial: Annotated[str, Field(description="In hexadecimal, as the inventory has it.")]
    expires: AwareDatetime
    chain: Annotated[list[str], Field(description="PEM, one certificate each, the workload's first; no root.")]
    bundle: BundleAnswer
    hint: Annotated[str, Field(description="What this name is for, where the entry says so.")]


class JwtAsked(Asked):
    """A request for a JWT-SVID."""

    audience: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=MAX_AUDIENCE)]],
        Field(min_length=1, max_length=16, examples=[["spiffe://example.org/ns/shop/sa/api"]]),
    ]
    spiffe_id: Annotated[
        Named | None, Field(description="Which of the names of who asks; needed where there are several.")
    ] = None
    ttl: Seconds | None = None


class JwtAnswer(Answer):
    """A JWT-SVID. Whoever has the token is who it names."""

    spiffe_id: str
    id: str
    audience: list[str]
    expires: AwareDatetime
    token: str


_KEY = "Idempotency-Key"
_KEY_FORM: dict[str, Any] = {"min_length": 1, "max_length": 255, "pattern": r"^[\x20-\x7e]+$"}
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=_KEY,
        **_KEY_FORM,
        description="Who repeats a request under the same key within a day gets the same certificate. "
        "A join token, which is used up by the first request, gets the same as well, and nothing else.",
    ),
]


def add_issuing(
    app: Application, office: Office, asking: Asking, *, before: Callable[[Request], None], problems: Problems
) -> None:
    """Both routes. To the first, which every workload asks again and again, there is a straight way."""

    async def repeated(  # noqa: PLR0913, PLR0917  # all that a request may say
        request: Request,
        requested: RequestedKey,
        wanted: SpiffeId | None,
        ttl: timedelta | None,
        repeat: Repeat,
        at: datetime,
    ) -> tuple[Caller, IssuedX509] | None:
        """What was answered to a join token that is used up."""
        try:
            caller = await asking.again(request)
            given = await office.issuance.repeated(caller, requested, at=at, spiffe_id=wanted, ttl=ttl, repeat=repeat)
        except (AttestationError, NotEntitledError):
            # It hears, and the audit says, what it would have without a key.
            return None
        return None if given is None else (caller, given)

    @app.post(
        _X509,
        response_model=X509Answer,
        summary="Certify a key",
        tags=["issuing"],
        openapi_extra=_SECURITY,
        responses=documented(
            *_WHO, *_ANY, *(fault.value for fault in CsrFault), "key-refused", "lifetime-refused", "name-refused"
        ),
    )
    async def x509_svid(request: Request, asked: X509Asked, idempotency_key: IdempotencyKey = None) -> Response:
        started, at = perf_counter(), office.clock()
        repeat = _repeat(request, idempotency_key)
        # All that can be wrong with the request itself, and with us, first: a join token is good for one attempt.
        requested = read_csr(asked.csr.encode())
        wanted = None if asked.spiffe_id is None else read_name(asked.spiffe_id)
        office.signing.now().require_authority(at)
        # It may be that only its answer was lost.
        found = None if repeat is None else await repeated(request, requested, wanted, seconds(asked.ttl), repeat, at)
        if found is None:
            caller = await asking.caller(request, at=at)
            office.limits.issuing(caller)
            async with _recorded(office, caller, IssuedKind.X509, wanted or requested.spiffe_id, at):
                issued = await office.issuance.x509_svid(
                    caller, requested, at=at, spiffe_id=wanted, ttl=seconds(asked.ttl), repeat=repeat
                )
        else:
            caller, issued = found
        answer = _x509_answer(issued)
        _note_consumer(office, caller, issued, at)
        office.counters.issued(EDGE, IssuedKind.X509)
        office.counters.seconds(EDGE, IssuedKind.X509, perf_counter() - started)
        return Response(answer.model_dump_json(), media_type="application/json", headers={"Cache-Control": "no-store"})

    app.straight["POST", _X509] = Straight(
        X509Asked,
        x509_svid,
        header=_KEY,
        header_type=Annotated[str, Field(**_KEY_FORM)] | None,
        before=before,
        problems=problems,
    )

    @app.post(
        "/v1/jwt-svid",
        summary="Make a token for an audience",
        tags=["issuing"],
        openapi_extra=_SECURITY,
        responses=documented(*_WHO, *_ANY, "lifetime-refused", "name-refused"),
    )
    async def jwt_svid(request: Request, response: Response, asked: JwtAsked) -> JwtAnswer:
        started, at = perf_counter(), office.clock()
        wanted = None if asked.spiffe_id is None else read_name(asked.spiffe_id)
        office.signing.now().require_jwt(at)
        caller = await asking.caller(request, at=at)
        office.limits.issuing(caller)
        async with _recorded(office, caller, IssuedKind.JWT, wanted, at):
            entry = office.entitlements.one(caller, wanted)
            minted = await office.issuance.jwt_svid(caller, entry, tuple(asked.audience), at=at, ttl=seconds(asked.ttl))
        response.headers["Cache-Control"] = "no-store"
        office.counters.issued(EDGE, IssuedKind.JWT)
        office.counters.seconds(EDGE, IssuedKind.JWT, perf_counter() - started)
        return JwtAnswer(
            spiffe_id=str(minted.planned.spiffe_id),
            id=minted.planned.id,
            audience=list(minted.planned.audience),
            expires=minted.planned.expires,
            token=minted.token,
        )


def _repeat(request: Request, key: str | None) -> Repeat | None:
    if len(request.headers.getlist("idempotency-key")) > 1:
        raise ProblemError("request-refused", "there is more than one `Idempotency-Key`")
    return None if key is None else Repeat(key)


@asynccontextmanager
async def _recorded(
    office: Office, caller: Caller, kind: IssuedKind, wanted: SpiffeId | None, at: datetime
) -> AsyncIterator[None]:
    """Have in the audit who wanted what is not theirs: another's name, or another's key."""
    try:
        yield
    except (NotEntitledError, RefusedKeyError) as error:
        subject = "" if wanted is None else str(wanted)
        await office.issuance.refused(caller.name, f"issue {kind.value}", error, at=at, subject=subject)
        raise


def _x509_answer(issued: IssuedX509) -> X509Answer:
    svid, bundle = issued.svid, issued.signing.bundle
    return X509Answer(
        spiffe_id=str(svid.spiffe_id),
        serial=f"{svid.leaf.serial_number:x}",
        expires=svid.leaf.not_valid_after_utc,
        chain=chain_to_pems(svid),
        bundle=BundleAnswer(trust_domain=bundle.trust_domain.name, sequence=bundle.sequence, pem=bundle_to_pem(bundle)),
        hint=issued.entry.hint,
    )


def _note_consumer(office: Office, caller: Caller, issued: IssuedX509, at: datetime) -> None:
    """Who takes the certificate takes the bundle with it.

    Who came by a join token comes again by its SVID, and is called by that from the first time on.
    """
    who = str(issued.svid.spiffe_id) if caller.attestor is Attestor.JOIN_TOKEN else caller.name
    name = " ".join(filter(None, (EDGE, who, caller.instance)))
    if issued.signing.bundle.sequence is not None:
        office.consumers.holds(name, issued.signing.bundle.sequence, at=at)
