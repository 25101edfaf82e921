"""Monitoring: the HTTP endpoint of `meshward serve --metrics`, for Prometheus and for probes.

It runs on a thread with a loop of its own: an answer to Envoy waits at most one short turn for it, and not for a scrape. uvicorn
rather than the server that comes with prometheus-client, which has a thread for each connection and lets it live for ever.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry, make_asgi_app
from uvicorn.protocols.http.h11_impl import H11Protocol

from cli.command import UsageError
from extauthz.metrics import Metrics, Status
from extauthz.server import ListenError, parse_port

__all__ = ["monitoring"]

# A scraper has one connection, a kubelet one for each probe.
_MOST_CONNECTIONS = 64
_LONGEST_CONNECTION = 10.0
_LARGEST_HEADERS = 16 * 1024
_IDLE = 5

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@contextmanager
def monitoring(address: str | None, status: Status) -> Iterator[str | None]:
    """Answer at `address`, which becomes the real one where its port is 0; not at all where there is none.

    Raises:
        UsageError: It cannot be listened on.
    """
    if address is None:
        yield None
        return
    with _listening(address) as listening:
        config = uvicorn.Config(
            _application(status),
            http=_BoundedProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",  # what strangers send is not worth a line
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=1,
            h11_max_incomplete_event_size=_LARGEST_HEADERS,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="metrics", daemon=True)
        thread.start()
        host, port = listening.getsockname()[:2]
        try:
            yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        finally:
            server.should_exit = True
            thread.join()


def _listening(address: str) -> socket.socket:
    try:
        host, port = parse_port(address)
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except ListenError as error:
        raise UsageError(str(error), help="`--metrics` takes `host:port`") from error
    except OSError as error:
        raise UsageError(f"cannot listen on {address}: {error.strerror or error}") from error


def _application(status: Status) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Metrics(status))
    metrics = make_asgi_app(registry)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        match scope["path"]:
            case "/metrics":
                await metrics(scope, receive, send)
            case "/healthz":
                await _say(send, 200, "ok")
            case "/readyz":
                await _say(send, 200, "ready") if status.ready else await _say(send, 503, "not ready")
            case _:
                await _say(send, 404, "there are /metrics, /healthz and /readyz")

    return answer


async def _say(send: Send, status: int, text: str) -> None:
    body = f"{text}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _BoundedProtocol(H11Protocol):
    """HTTP for clients that may be slow, or many, on purpose: uvicorn alone waits for ever for the end of a request."""

    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        super().connection_made(transport)
        if len(self.connections) > _MOST_CONNECTIONS:
            transport.abort()
        else:
            self._end = self.loop.call_later(_LONGEST_CONNECTION, self._expire)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def _expire(self) -> None:
        idle = self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # uvicorn's hint is wrong
        if idle:
            self.transport.abort()
            return
        # An answer is under way, and gets as long once more.
        self.cycle.keep_alive = False
        self._end = self.loop.call_later(_LONGEST_CONNECTION, self.transport.abort)
