"""The application behind both sides, for requests that the proxies change: it answers with what reached it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
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
    server = await asyncio.start_unix_server(_serve, socket, limit=256 * 1024)
    try:
        yield
    finally:
        server.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # Envoy keeps its connections until it ends.
    with suppress(OSError, EOFError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 200 OK\r\n{SEEN}: {_seen(head)}\r\ncontent-length: 0\r\n\r\n".encode())
    writer.close()


def _seen(head: bytes) -> str:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers.setdefault(name, []).append(value)
    # An authorizer cannot make Envoy send several lines of a name where there were none.
    joined = {name: ",".join(values) for name, values in sorted(headers.items()) if name not in _OF_THE_PROXY}
    return json.dumps([first, joined])
