"""Addresses of the parts, and HTTP to them with every byte as it was written."""

import http.client
import socket
from collections.abc import Iterable
from pathlib import Path
from ssl import SSLContext
from typing import NamedTuple

__all__ = ["Answer", "Endpoint", "Header", "Tls", "exchange", "request", "request_by_socket"]

_SECONDS = 5.0

Header = tuple[str, str]


class Endpoint(NamedTuple):
    """Where a part listens on this machine."""

    host: str
    port: int


class Tls(NamedTuple):
    """How to speak TLS to it."""

    context: SSLContext
    sni: str | None


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: tuple[Header, ...]
    body: bytes


def request(
    endpoint: Endpoint,
    method: str,
    target: str,
    headers: Iterable[Header],
    *,
    tls: Tls | None = None,
) -> Answer:
    """Send one request on a connection of its own; `target` goes out as it is, dots, slashes and all.

    Raises:
        OSError: no connection, or it broke.
        http.client.HTTPException: the answer was not HTTP.
    """
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port)
    with _connect(endpoint, tls) as connection.sock:
        return _ask(connection, method, target, headers)


def request_by_socket(path: Path, method: str, target: str) -> Answer:
    """The same over a Unix socket.

    Raises:
        OSError: no connection, or it broke.
        http.client.HTTPException: the answer was not HTTP.
    """
    connection = http.client.HTTPConnection("localhost")
    with socket.socket(socket.AF_UNIX) as connection.sock:
        connection.sock.settimeout(_SECONDS)
        connection.sock.connect(str(path))
        return _ask(connection, method, target, [("Host", "localhost")])


def exchange(endpoint: Endpoint, payload: bytes, *, tls: Tls | None = None) -> bytes:
    """Send `payload`, and return as many bytes of the answer, or fewer where the peer hangs up.

    Raises:
        OSError: no connection, or it broke.
    """
    answer = b""
    with _connect(endpoint, tls) as connection:
        connection.sendall(payload)
        while len(answer) < len(payload) and (more := connection.recv(len(payload) - len(answer))):
            answer += more
    return answer


def _connect(endpoint: Endpoint, tls: Tls | None) -> socket.socket:
    plain = socket.create_connection(endpoint, timeout=_SECONDS)
    # Otherwise what follows the handshake waits 40 ms for TCP to acknowledge it.
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is None:
        return plain
    try:
        return tls.context.wrap_socket(plain, server_hostname=tls.sni)
    except BaseException:
        plain.close()
        raise


def _ask(connection: http.client.HTTPConnection, method: str, target: str, headers: Iterable[Header]) -> Answer:
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    with connection.getresponse() as response:
        return Answer(response.status, tuple(response.getheaders()), response.read())
