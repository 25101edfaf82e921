"""Asking the applications in process, as a client with a token, with a certificate, or with nothing."""

import asyncio
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from ca.limits import Limits
from ca.metrics import Metrics
from ca.office import Office
from ca.rest import AdminToken, OpenId, TokenAttestor, admin_app, workloads_app
from tests.unit.ca.offices import TestOffice, office

ADMIN = "the-admin-token-of-a-test"
BY_ADMIN = {"Authorization": f"Bearer {ADMIN}"}
OPAQUE = {
    "type": "/problems/unauthenticated",
    "code": "unauthenticated",
    "title": "Who asks did not show who it is",
    "status": 401,
    "detail": "request authentication failure",
}
"""All that anybody hears whose authentication failed."""


@dataclass(frozen=True)
class Edge:
    """An office and both of its applications."""

    made: TestOffice
    workloads: FastAPI

    @cached_property
    def admin(self) -> FastAPI:
        # Made when it is needed: a framework takes its time.
        metrics = Metrics(self.office)
        return admin_app(self.office, metrics, token=AdminToken.of(ADMIN))

    @property
    def office(self) -> Office:
        return self.made.office

    def ask(
        self, method: str, path: str, *, certificate: x509.Certificate | None = None, **more: Any
    ) -> httpx.Response:
        """What workloads hear."""
        return asked(self.workloads, method, path, certificate=certificate, **more)

    def manage(
        self, method: str, path: str, *, certificate: x509.Certificate | None = None, **more: Any
    ) -> httpx.Response:
        """What an operator hears, who has the admin token unless something else is said."""
        if certificate is None:
            more.setdefault("headers", BY_ADMIN)
        return asked(self.admin, method, path, certificate=certificate, **more)

    def reasons(self, action: str) -> list[str]:
        """What the audit says of those who were turned away."""
        rows = self.office.store.audit.list(size=1000).rows
        return [row.event.reason for row in rows if row.event.action == action and row.event.outcome.value == "refused"]


@contextmanager
def edge(
    directory: Path,
    *,
    limits: Limits | None = None,
    tokens: TokenAttestor | None = None,
    openid: OpenId | None = None,
    **more: Any,
) -> Iterator[Edge]:
    """A new authority, which nobody asks too often unless `limits` say so."""
    with office(directory, jwt_issuer=None if openid is None else openid.issuer, **more) as made:
        unlimited = Limits(attest_per_second=10**6, issue_per_second=10**6)
        made = replace(made, office=replace(made.office, limits=limits or unlimited))  # noqa: PLW2901  # the same with limits
        yield Edge(
            made,
            workloads_app(made.office, tokens=tokens, openid=openid),
        )


def asked(
    app: ASGIApp, method: str, path: str, *, certificate: x509.Certificate | None = None, **more: Any
) -> httpx.Response:
    """One request and its answer. What is unforeseen is answered as well, so nothing is raised here."""

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(showing(app, certificate)), base_url="https://ca.example.org"
        ) as client:
            return await client.request(method, path, **more)

    return asyncio.run(ask())


def showing(app: ASGIApp, certificate: x509.Certificate | None) -> ASGIApp:
    """The application on a connection on which the client has shown `certificate`."""
    if certificate is None:
        return app

    async def shown(scope: Scope, receive: Receive, send: Send) -> None:
        extensions: MutableMapping[str, Any] = scope.setdefault("extensions", {})
        extensions["tls"] = {"client_cert_chain": [certificate.public_bytes(Encoding.PEM).decode()]}
        await app(scope, receive, send)

    return shown


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a problem, which is one in every way that the standard wants."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert said["status"] == answer.status_code
    assert said["type"] == f"/problems/{said['code']}"
    assert said["title"]
    assert said["detail"]
    assert "Traceback" not in answer.text
    return answer.status_code, said["code"]
