"""Routes that look first whether they may look at all, and that read JSON so that nobody else can read it differently."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from ca.rest.problems import ProblemError
from identity.strict_json import parse_object

__all__ = ["StrictRequest", "require_json", "strict_route"]


def strict_route(before: Callable[[Request], None]) -> type[APIRoute]:
    """A kind of route that calls `before`, which may refuse, before anything of the request is read."""

    class StrictRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()
            reads_json = self.body_field is not None

            async def handle(request: Request) -> Response:
                before(request)
                if reads_json:
                    require_json(request)
                return await answer(StrictRequest(request.scope, request.receive))

            return handle

    return StrictRoute


class StrictRequest(Request):
    """A request whose JSON is an object that can be read in one way only."""

    async def json(self) -> object:
        """The object.

        Raises:
            ProblemError: it is none.
        """
        try:
            return parse_object(await self.body())
        except ValueError as error:
            raise ProblemError("body-refused", f"the body is no JSON object: {error}") from error


def require_json(request: Request) -> None:
    """See that the body is said to be JSON, once.

    Raises:
        ProblemError: it is not.
    """
    said = request.headers.getlist("content-type")
    media_type = said[0].partition(";")[0].strip().lower() if len(said) == 1 else ""
    if media_type != "application/json":
        raise ProblemError("media-type-refused", "the body has to come as `Content-Type: application/json`")
