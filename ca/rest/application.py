"""The frame of an application: how it is described, how it refuses, and what is around it."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi

from ca.rest.guard import Guard
from ca.rest.problems import KINDS, Problem, ProblemError, Problems
from ca.rest.straight import Application
from ca.rest.strict_route import strict_route
from ca.rest.words import Answer

__all__ = ["framed"]


class KindAnswer(Answer):
    """A kind of problem."""

    code: str
    status: int
    title: str


def framed(title: str, description: str, *, problems: Problems, before: Callable[[Request], None]) -> Application:
    """An application without routes of its own. Each route calls `before` first, which may refuse."""
    # No pages that take their scripts from elsewhere, and no second path for what has one.
    app = Application(
        title=title,
        description=description,
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.router.route_class = strict_route(before)
    problems.handle(app)
    app.add_middleware(Guard, problems=problems)

    @app.get("/problems/{code}", summary="What a kind of problem is", tags=["description"])
    async def problem(code: str) -> KindAnswer:
        if code not in KINDS:
            raise ProblemError("not-found", "there is no such kind of problem")
        kind = KINDS[code]
        return KindAnswer(code=kind.code, status=kind.status, title=kind.title)

    @app.get("/openapi.json", summary="This description", tags=["description"])
    async def openapi() -> dict[str, Any]:
        return _described(app)

    return app


def _described(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = schema.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        reference = "#/components/schemas/{model}"
        problem = Problem.model_json_schema(ref_template=reference)
        schemas.update(problem.pop("$defs", {}))
        schemas["Problem"] = problem
        # What the framework would have said, and this does not.
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        components["securitySchemes"] = {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "To workloads: a join token, or a service account's. To operators: the admin token.",
            },
            "certificate": {"type": "mutualTLS", "description": "An X.509-SVID of this authority that is still good."},
        }
        app.openapi_schema = schema
    return app.openapi_schema
