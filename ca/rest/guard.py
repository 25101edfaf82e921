"""The guard around an application: what a request may weigh, and what is said when something unforeseen happens inside."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.types import ASGIApp

from ca.rest.problems import ProblemError, Problems

__all__ = ["MAX_BODY", "MAX_HEADERS", "Guard"]

MAX_BODY = 64 * 1024
"""In bytes. What is longer is refused before anybody reads it."""

MAX_HEADERS = 32 * 1024
"""In bytes, all together and with the path. A service account's token has one or two thousand, sixteen at most."""

_logger = logging.getLogger("meshward.ca")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Guard:
    """ASGI around ASGI. It counts the bytes of a body as they come, whatever their number was said to be."""

    def __init__(self, app: ASGIApp, *, problems: Problems, limit: int = MAX_BODY) -> None:
        self._app = app
        self._problems = problems
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            # Neither web sockets nor a life span: who asks for something unknown gets nothing.
            return
        received, started = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit:
                raise self._too_long()
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            self._require_short(scope)
            await self._app(scope, counted, noted)
        except ProblemError as error:
            await self._problems.of(error)(scope, receive, send)
        except Exception:
            # Whatever it was, its text is nobody's business out there.
            _logger.exception("a request could not be answered")
            if started:
                raise
            answer = self._problems.answer("internal", "the authority could not do it; its log says why")
            await answer(scope, receive, send)

    def _require_short(self, scope: Scope) -> None:
        # A parser that is given all at once takes any number of them.
        length = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if length + sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADERS:
            detail = f"the headers and the path have more than {MAX_HEADERS} bytes"
            raise ProblemError("headers-too-long", detail, headers={"Connection": "close"})
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._limit:
                raise self._too_long()

    def _too_long(self) -> ProblemError:
        # What is still to come is not read: the connection is of no use after this.
        return ProblemError(
            "body-too-long", f"the body has more than {self._limit} bytes", headers={"Connection": "close"}
        )
