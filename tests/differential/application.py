"""The application behind both sides, for requests that the proxies change: it answers with what reached it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.differential.bootstrap import CASE

__all__ = ["SEEN", "application"]

SEEN = "x-seen"
"""The header of the answer that says what the request was by then."""

# These tell the two sides, and one time from another.
_OF_THE_PROXY = {CASE, "x-request-id", "x-envoy-expected-rq-timeout-ms"}


@asynccontextmanager
async def application(socket: Path) -> AsyncIterator[None]:
    """HTTP/1.1 on a Unix socket, until the end of the `with`; requests with bodies are not read."""
    connections: list[_Mirror] = []

    def mirror() -> _Mirror:
        connections.append(_Mirror())
        return connections[-1]

    server = await asyncio.get_running_loop().create_unix_server(mirror, socket)
    try:
        yield
    finally:
        server.close()
        for connection in connections:
            connection.close()
        # What is closed is gone once the loop has gone round.
        await asyncio.sleep(0)


class _Mirror(asyncio.Protocol):
    """One connection of Envoy's, which keeps it until it is closed here."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *heads, self._received = (self._received + data).split(b"\r\n\r\n")
        for head in heads:
            assert self._transport is not None
            answer = f"HTTP/1.1 200 OK\r\n{SEEN}: {_seen(head)}\r\ncontent-length: 0\r\n\r\n"
            self._transport.write(answer.encode())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _seen(head: bytes) -> str:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers.setdefault(name, []).append(value)
    # An authorizer cannot make Envoy send several lines of a name where there were none.
    joined = {name: ",".join(values) for name, values in sorted(headers.items()) if name not in _OF_THE_PROXY}
    return json.dumps([first, joined])
