"""Routes that look first whether they may look at all, and that read JSON so that nobody else can read it differently."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from ca.rest.problems import ProblemError
from identity.strict_json import parse_object

__all__ = ["strict_route"]


def strict_route(before: Callable[[Request], None]) -> type[APIRoute]:
    """A kind of route that calls `before`, which may refuse, before anything of the request is read."""

    class StrictRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()
            reads_json = self.body_field is not None

            async def handle(request: Request) -> Response:
                before(request)
                if reads_json:
                    _require_json(request)
                return await answer(_StrictRequest(request.scope, request.receive))

            return handle

    return StrictRoute


class _StrictRequest(Request):
    async def json(self) -> object:
        try:
            return parse_object(await self.body())
        except ValueError as error:
            raise ProblemError("body-refused", f"the body is no JSON object: {error}") from error


def _require_json(request: Request) -> None:
    said = request.headers.getlist("content-type")
    media_type = said[0].partition(";")[0].strip().lower() if len(said) == 1 else ""
    if media_type != "application/json":
        raise ProblemError("media-type-refused", "the body has to come as `Content-Type: application/json`")
