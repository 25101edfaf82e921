"""The application for workloads: certificates and tokens for those who show who they are, and what is published to everybody."""

from fastapi import FastAPI, Request

from ca.office import Office
from ca.rest.application import framed
from ca.rest.asking import Asking, TokenAttestor, peer_of
from ca.rest.health import add_health
from ca.rest.issuing import EDGE, add_issuing
from ca.rest.openid import OpenId, add_discovery
from ca.rest.problems import Problems
from ca.rest.publishing import add_bundle, add_revocation_lists

__all__ = ["workloads_app"]


def workloads_app(office: Office, *, tokens: TokenAttestor | None = None, openid: OpenId | None = None) -> FastAPI:
    """What workloads ask. `tokens` verifies tokens of service accounts; keys of JWT-SVIDs are found by `openid` where it is given."""

    def before(request: Request) -> None:
        # Counted before anything is read or computed: a signature check costs more than to send another request.
        if request.method == "POST":
            office.limits.attesting(peer_of(request))

    problems = Problems(office.counters, EDGE)
    app = framed(
        "meshward: certificates and tokens for workloads",
        "X.509-SVIDs and JWT-SVIDs for whoever shows who it is: by `Authorization: Bearer` and a join token or a Kubernetes service "
        "account's token, or by the certificate of the connection. Problems are RFC 9457; their codes are stable.",
        problems=problems,
        before=before,
    )
    add_issuing(app, office, Asking(office, tokens), before=before, problems=problems)
    add_bundle(app, office)
    add_revocation_lists(app, office)
    if openid is not None:
        add_discovery(app, office, openid)
    add_health(app, office)
    return app
