"""The server: uvicorn in the event loop of the office, with the authority's own SVID, for clients that may be slow, or many, on purpose."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from ca.rest.guard import MAX_HEADERS
from ca.rest.problems import KINDS, MEDIA_TYPE

__all__ = ["Bounds", "serving"]

_DRAINS = 5
_GOODBYE = 1.0
"""How long a client may take to say that it has heard of the end. Many never do."""
_UNREADABLE = {
    "type": KINDS["request-refused"].uri,
    "code": "request-refused",
    "title": KINDS["request-refused"].title,
    "status": 400,
    "detail": "it is no request of HTTP/1.1",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a server its clients may take. Times are in seconds.

    A request has to be there within `request` of the connection or of its own first byte, and its answer taken within `answer` after
    that.
    """

    connections: int = 1024
    handshake: float = 10.0
    request: float = 10.0
    answer: float = 30.0
    idle: int = 30


@asynccontextmanager
async def serving(
    app: ASGIApp, listening: socket.socket, *, tls: ssl.SSLContext | None, bounds: Bounds | None = None
) -> AsyncIterator[None]:
    """Answer at `listening` for as long as the block lasts, and let go of it.

    Without `tls` no client can show a certificate; that is for what is published, behind somebody else's TLS. What is under way when
    the block ends is answered, if it does not take longer than some seconds.
    """
    limits = bounds or Bounds()
    config = uvicorn.Config(
        app,
        http=type("_Bounded", (_Bounded,), {"bounds": limits}),
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # what strangers send is not worth a line
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=limits.idle,
        timeout_graceful_shutdown=_DRAINS,
        h11_max_incomplete_event_size=MAX_HEADERS,
    )
    server = _Server(config, tls, handshake=limits.handshake)
    running = asyncio.create_task(server.serve([listening]))
    try:
        await server.up(running)
        yield
    finally:
        server.should_exit = True
        await running


class _Server(uvicorn.Server):
    """uvicorn in a loop that is somebody else's: signals are theirs as well."""

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext | None, *, handshake: float) -> None:
        super().__init__(config)
        self._tls = tls
        self._handshake = handshake
        self._up = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn's own leaves a client a minute for its handshake.
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                self._protocol,
                sock=listening,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else self._handshake,
                ssl_shutdown_timeout=None if self._tls is None else _GOODBYE,
            )
            for listening in sockets or ()
        ]
        self.started = True
        self._up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # The loop is somebody else's: nothing of ours stays in it.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    async def up(self, running: "asyncio.Task[None]") -> None:
        """Wait until it answers, or until `running`, which is it, fails."""
        waiting = asyncio.create_task(self._up.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if running.done():
            running.result()

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]  # uvicorn's union has web sockets, too
            config=self.config, server_state=self.server_state, app_state={}
        )


class _Bounded(H11Protocol):
    """HTTP within bounds, with what TLS has seen of the client in each request."""

    bounds: ClassVar[Bounds]
    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        super().connection_made(cast("asyncio.Transport", _Together(transport, self.loop)))
        if len(self.connections) > self.bounds.connections:
            transport.abort()
            return
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            self.app = _WithTls(self.app, connection)
        self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # Between two requests uvicorn waits, for `idle`; from the first byte on it would for ever.
        if self._end is None:
            self._start()
        super().data_received(data)

    def on_response_complete(self) -> None:
        self._stop()
        answered = self.cycle
        super().on_response_complete()
        if self.cycle is not answered or self.conn.trailing_data[0]:
            self._start()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words are not ours
        content = json.dumps(_UNREADABLE).encode()
        said = [("content-type", MEDIA_TYPE), ("content-length", str(len(content))), ("connection", "close")]
        try:
            for event in (
                h11.Response(status_code=400, headers=said, reason=b"Bad Request"),
                h11.Data(data=content),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            # In the middle of an answer to what came before.
            self.transport.abort()
        else:
            self.transport.close()

    def _start(self) -> None:
        self._end = self.loop.call_later(self.bounds.request, self._expire)

    def _stop(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None

    def _expire(self) -> None:
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:  # type: ignore[redundant-expr]  # uvicorn's hint is wrong
            # What was begun is not there yet.
            self.transport.abort()
            return
        # An answer is under way.
        cycle.keep_alive = False
        self._end = self.loop.call_later(self.bounds.answer, self.transport.abort)


class _Together:
    """A transport that sends what is written in one turn of the loop at once: head and body of an answer are one record of TLS, not two."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def abort(self) -> None:
        self._parts.clear()
        self._transport.abort()

    def _send(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))


class _WithTls:
    """An application that is told of the TLS below it, by the extension that ASGI has for that."""

    def __init__(self, app: ASGIApp, connection: ssl.SSLObject) -> None:
        self._app = app
        der = connection.getpeercert(binary_form=True)
        self._tls: dict[str, Any] = {
            "client_cert_chain": [] if der is None else [ssl.DER_cert_to_PEM_cert(der)],
            "tls_version": connection.version(),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})["tls"] = self._tls
        await self._app(scope, receive, send)
