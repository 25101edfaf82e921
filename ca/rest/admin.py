"""The application for operators. It is for a listener of its own, which workloads do not reach (spec 3.3, threat 19)."""

import asyncio

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ca.metrics import Metrics
from ca.office import Office
from ca.rest.application import framed
from ca.rest.asking import peer_of
from ca.rest.audit import add_audit
from ca.rest.authorities import add_authorities
from ca.rest.entries import add_entries
from ca.rest.health import add_health
from ca.rest.inventory import add_inventory
from ca.rest.join_tokens import add_join_tokens
from ca.rest.managing import AdminToken, Managing
from ca.rest.problems import Problems

__all__ = ["EDGE", "AdminToken", "admin_app"]

EDGE = "rest-admin"


def admin_app(office: Office, metrics: Metrics, *, token: AdminToken | None = None) -> FastAPI:
    """What operators ask, by an SVID of an entry for admins or by the admin token whose hash is `token`.

    `/metrics`, `/healthz` and `/readyz` are for whoever reaches the listener: what they tell names nobody.
    """

    def before(request: Request) -> None:
        if request.url.path.startswith("/v1/"):
            office.limits.attesting(peer_of(request))

    app = framed(
        "meshward: managing the authority",
        "Registration entries, join tokens, the inventory, the audit chain and the signing authorities, for operators: by "
        "`Authorization: Bearer` and the admin token, or by the certificate of the connection, if its entry is one for admins. "
        "Problems are RFC 9457; their codes are stable.",
        problems=Problems(office.counters, EDGE),
        before=before,
    )
    app.state.managing = Managing(office, token)
    add_entries(app, office)
    add_join_tokens(app, office)
    add_inventory(app, office)
    add_audit(app, office)
    add_authorities(app, office)
    add_health(app, office)
    _add_metrics(app, metrics)
    return app


def _add_metrics(app: FastAPI, metrics: Metrics) -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)

    @app.get(
        "/metrics",
        summary="What Prometheus scrapes",
        tags=["health"],
        response_class=Response,
        responses={200: {"description": "Text or OpenMetrics.", "content": {"text/plain": {}}}},
    )
    async def scraped(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        # The store is read for it.
        content = await asyncio.to_thread(encode, registry)
        return Response(content, headers={"Content-Type": media_type})
