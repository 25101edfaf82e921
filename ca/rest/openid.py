"""OpenID Connect discovery: how verifiers that know nothing of SPIFFE find the keys of JWT-SVIDs (spec 2.4, as SPIRE serves it)."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response

from ca.office import Office
from ca.rest.problems import ProblemError, documented
from identity import oidc_keys_document

__all__ = ["OpenId", "add_discovery"]

_HEADERS = {"Cache-Control": "no-cache"}


@dataclass(frozen=True, slots=True)
class OpenId:
    """What tokens say as `iss`, and the hosts by which it may be asked for its keys: its own, unless others are given.

    The issuer has to be the one that the office's tokens say. It is `https` and has no path, for verifiers look right below it.
    """

    issuer: str
    hosts: frozenset[str] = field(default=frozenset())

    def __post_init__(self) -> None:
        parts = urlsplit(self.issuer)
        if (
            parts.scheme != "https"
            or not parts.netloc
            or "@" in parts.netloc
            or self.issuer != f"https://{parts.netloc}"
        ):
            raise ValueError(f"issuer {self.issuer!r} is not `https://` and a host, and nothing else")
        if not self.hosts:
            object.__setattr__(self, "hosts", frozenset({parts.netloc.lower()}))

    @property
    def document(self) -> dict[str, Any]:
        """The discovery document."""
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/keys",
            # Required of all, and there is no such endpoint.
            "authorization_endpoint": "",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "ES384"],
        }

    def require_host(self, request: Request) -> None:
        """See that it was asked for by a name of its own: whoever can point another name here could pass for another issuer.

        Raises:
            ProblemError: it was not.
        """
        said = request.headers.getlist("host")
        host = said[0].lower() if len(said) == 1 else ""
        if host not in self.hosts and _without_port(host) not in self.hosts:
            raise ProblemError("host-refused", "this host is not one of the issuer")


def add_discovery(app: FastAPI, office: Office, openid: OpenId) -> None:
    """`/.well-known/openid-configuration` and `/keys`."""

    @app.get(
        "/.well-known/openid-configuration",
        summary="How to verify JWT-SVIDs by OpenID Connect",
        tags=["publishing"],
        responses=documented("host-refused"),
    )
    async def configuration(request: Request, response: Response) -> dict[str, Any]:
        openid.require_host(request)
        response.headers.update(_HEADERS)
        return openid.document

    @app.get(
        "/keys",
        summary="The keys of JWT-SVIDs",
        tags=["publishing"],
        response_class=Response,
        responses={
            200: {"description": "A JWK set.", "content": {"application/json": {"schema": {"type": "object"}}}},
            **documented("host-refused", "not-ready"),
        },
    )
    async def keys(request: Request) -> Response:
        openid.require_host(request)
        document = oidc_keys_document(office.signing.now().bundle)
        return Response(document, headers=_HEADERS, media_type="application/json")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
