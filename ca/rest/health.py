"""Health: what probes of a kubelet or a load balancer ask."""

from fastapi import FastAPI

from ca.office import Office
from ca.readiness import Readiness
from ca.rest.problems import documented
from ca.rest.words import Answer

__all__ = ["add_health"]


class Health(Answer):
    """It is well."""

    status: str


def add_health(app: FastAPI, office: Office) -> None:
    """`/healthz` says that the process runs, `/readyz` that it can issue."""
    readiness = Readiness(office)

    @app.get("/healthz", summary="Whether the process runs", tags=["health"])
    async def healthz() -> Health:
        return Health(status="ok")

    @app.get(
        "/readyz",
        summary="Whether a certificate could be issued now",
        tags=["health"],
        responses=documented("not-ready"),
    )
    async def readyz() -> Health:
        await readiness.require()
        return Health(status="ready")
