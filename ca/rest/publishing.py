"""What is published to everybody: the bundle (SPIFFE Trust Domain and Bundle 5) and the revocation lists."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Annotated

from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI, Query, Request, Response

from ca.crl import RevocationLists
from ca.office import Office
from ca.rest.cached import versioned
from ca.rest.problems import ProblemError, documented
from identity import Bundle, to_document

__all__ = ["REFRESH_HINT", "add_bundle", "add_revocation_lists"]

REFRESH_HINT = timedelta(minutes=5)
"""How often to look at the bundle, unless it says so itself: what the standard proposes."""

_DER, _PEM = "application/pkix-crl", "application/x-pem-file"


def add_bundle(app: FastAPI, office: Office) -> None:
    """`/v1/bundle`, as federated trust domains fetch it: no client is asked who it is."""
    kept: list[tuple[Bundle, bytes]] = []

    @app.get(
        "/v1/bundle",
        summary="The bundle of the trust domain, as SPIFFE publishes it",
        tags=["publishing"],
        response_class=Response,
        responses={
            200: {
                "description": "A JWK set with `spiffe_sequence` and `spiffe_refresh_hint`.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            304: {"description": "It is still the one that `If-None-Match` names."},
            **documented("not-ready"),
        },
    )
    async def bundle(request: Request) -> Response:
        current = office.signing.now().bundle
        if not kept or kept[0][0] is not current:
            hinted = replace(current, refresh_hint=current.refresh_hint or REFRESH_HINT)
            kept[:] = [(current, to_document(hinted))]
        document = kept[0][1]
        tag = f"{current.sequence or 0}-{sha256(document).hexdigest()[:16]}"
        return versioned(request, document, tag=tag, media_type="application/json")


def add_revocation_lists(app: FastAPI, office: Office) -> None:
    """`/v1/crl`, in DER or PEM."""
    lists = RevocationLists(office.store.inventory, office.signing)
    # Anybody may ask, and of the threads that wait for the store there are few.
    reading = asyncio.Semaphore(1)

    @app.get(
        "/v1/crl",
        summary="What was revoked of what an intermediate has issued",
        tags=["publishing"],
        response_class=Response,
        responses={
            200: {
                "description": "A certificate revocation list (RFC 5280).",
                "content": {name: {"schema": {"type": "string", "format": "binary"}} for name in (_DER, _PEM)},
            },
            304: {"description": "It is still the one that `If-None-Match` names."},
            **documented("request-refused", "not-found", "not-acceptable", "not-ready"),
        },
    )
    async def crl(
        request: Request,
        issuer: Annotated[
            str | None,
            Query(pattern="^[0-9a-f]{1,64}$", description="The id of the intermediate; by default what signs now."),
        ] = None,
    ) -> Response:
        media_type = accepted(request.headers.getlist("accept"), (_DER, _PEM))
        if media_type is None:
            raise ProblemError("not-acceptable", f"there are {_DER} and {_PEM}")
        async with reading:
            found = await asyncio.to_thread(lists.of, issuer, at=office.clock())
        content = found.public_bytes(Encoding.DER if media_type == _DER else Encoding.PEM)
        tag = sha256(content).hexdigest()[:32]
        return versioned(request, content, tag=tag, media_type=media_type, headers={"Vary": "Accept"})


def accepted(said: Sequence[str], offered: Sequence[str]) -> str | None:
    """Which of `offered`, the best first, `Accept` likes best (RFC 9110 12.5.1); `None` if it likes none.

    The ways to write wishes that nobody has for a revocation list, parameters beside `q`, are not looked at.
    """
    if not "".join(said).strip():
        return offered[0]
    weights: dict[str, float] = {}
    for wish in ",".join(said).split(","):
        name, *parameters = (part.strip().lower() for part in wish.split(";"))
        weights[name] = max(weights.get(name, 0.0), _weight(parameters))

    def weight(name: str) -> float:
        # The closest wish counts.
        for wished in (name, name.partition("/")[0] + "/*", "*/*"):
            if wished in weights:
                return weights[wished]
        return 0.0

    best = max(offered, key=weight)
    return best if weight(best) > 0 else None


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
