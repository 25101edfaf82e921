"""The straight way: what is asked all the time is read and answered without the framework, which describes it and answers the same."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ca.errors import AuthorityError
from ca.rest.guard import Guard
from ca.rest.problems import Problems
from ca.rest.strict_route import StrictRequest, require_json

__all__ = ["Application", "Straight"]

Asked = TypeVar("Asked", bound=BaseModel)

Handler = Callable[[Request, Asked, str | None], Awaitable[Response]]


class Application(FastAPI):
    """An application that has a straight way to some of its routes, by method and path."""

    def __init__(self, **described: str | bool | None) -> None:
        super().__init__(**described)  # type: ignore[arg-type]  # as they are named there
        self.straight: dict[tuple[str, str], ASGIApp] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        found = self.straight.get((scope.get("method", ""), scope.get("path", "")))
        await (super().__call__ if found is None else found)(scope, receive, send)


class Straight(Generic[Asked]):
    """ASGI for one route: a JSON body by `model`, and one header of which `header` is the name and `header_type` what it may be.

    What is wrong with a request is said as the framework would have said it.
    """

    def __init__(  # noqa: PLR0913  # what a route is made of
        self,
        model: type[Asked],
        handler: Handler[Asked],
        *,
        header: str,
        header_type: Any,
        before: Callable[[Request], None],
        problems: Problems,
    ) -> None:
        self._model = model
        self._handler = handler
        self._header = header
        self._header_type: TypeAdapter[str | None] = TypeAdapter(header_type)
        self._before = before
        self._problems = problems
        self._guarded = Guard(self._respond, problems=problems)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        await self._guarded(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(StrictRequest(scope, receive))
        except RequestValidationError as error:
            answer = self._problems.invalid(error)
        except (HTTPException, AuthorityError) as error:
            answer = self._problems.of(error)
        await answer(scope, receive, send)

    async def _answer(self, request: StrictRequest) -> Response:
        self._before(request)
        require_json(request)
        faults: list[dict[str, object]] = []
        asked, said = None, None
        content = await request.json() if await request.body() else None
        try:
            said = self._header_type.validate_python(request.headers.get(self._header))
        except ValidationError as error:
            faults += [{"loc": ("header", self._header), "msg": each["msg"]} for each in error.errors()]
        if content is None:
            faults.append({"loc": ("body",), "msg": "Field required"})
        else:
            try:
                asked = self._model.model_validate(content)
            except ValidationError as error:
                faults += [{"loc": ("body", *each["loc"]), "msg": each["msg"]} for each in error.errors()]
        if faults or asked is None:
            raise RequestValidationError(faults)
        return await self._handler(request, asked, said)
