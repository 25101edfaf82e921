"""The RBAC filter of a real Envoy, with the rules as istiod writes them: what it adds to a request.

Two listeners differ by the filter alone. The same requests go to both in turn, each over a connection that stays open, and
Envoy's own processor time is read before and after: that leaves out who asks, and whatever else the machine does.
"""

import re
import socket
import statistics
import tempfile
import time
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from authz.attributes import Protocol
from benchmarks.apart.sets import CALLER, Asked, policies
from demo.envoy import Envoy
from tests.differential.emitter import filters

__all__ = ["EnvoyRbac"]

_HEAD = re.compile(rb"HTTP/1\.1 (?P<status>\d{3}) .*?\r\n\r\n", re.DOTALL)
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n")
_IN_TURN = 20
_KINDS = "type.googleapis.com/envoy.extensions.filters"
_SECONDS = 2.0
"""What one round may take."""


class EnvoyRbac:
    """An Envoy with both listeners, until the end of the `with`."""

    def __init__(self, name: str, size: int) -> None:
        allow = filters(policies(name, size), protocol=Protocol.HTTP, trust_domains=("cluster.local",)).allow
        self._directory = tempfile.TemporaryDirectory(prefix="rbac-")
        here = Path(self._directory.name)
        listeners = [
            _listener(here / "plain", []),
            _listener(here / "rbac", [_named("rbac", f"{_KINDS}.http.rbac.v3.RBAC", **allow or {})]),
        ]
        bootstrap = {"node": {"id": "b", "cluster": "b"}, "static_resources": {"listeners": listeners}}
        self._envoy = Envoy("rbac", bootstrap, here / "envoy")
        self._plain, self._rbac = (_Connection(here / listener) for listener in ("plain", "rbac"))
        # A Linux clock of another process's processor time is its number, inverted, with these low bits.
        self._clock = (~self._envoy.pid << 3) | 2

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for connection in (self._plain, self._rbac):
            connection.close()
        self._envoy.stop()
        self._directory.cleanup()

    def added(self, requests: list[Asked]) -> tuple[float, list[bool]]:
        """Microseconds of processor time that the filter adds to a request, and what it lets through."""
        differences: list[float] = []
        answers: list[bool] = []
        end = time.perf_counter() + _SECONDS
        for first in range(0, len(requests), _IN_TURN):
            part = requests[first : first + _IN_TURN]
            without, _ = self._took(self._plain, part)
            with_filter, statuses = self._took(self._rbac, part)
            differences.append((with_filter - without) / len(part) * 1e6)
            answers += [status == HTTPStatus.OK for status in statuses]
            if time.perf_counter() > end:
                break
        return statistics.median(differences), answers

    def _took(self, connection: "_Connection", requests: list[Asked]) -> tuple[float, list[int]]:
        started = time.clock_gettime(self._clock)
        statuses = [connection.ask(request) for request in requests]
        return time.clock_gettime(self._clock) - started, statuses


class _Connection:
    """One connection that stays open."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))

    def ask(self, request: Asked) -> int:
        """The status of the answer."""
        self._socket.sendall(_written(request).encode())
        received = b""
        while (head := _HEAD.match(received)) is None:
            received += self._more()
        length = _LENGTH.search(head.group())
        left = head.end() + (int(length[1]) if length else 0) - len(received)
        while left > 0:
            left -= len(self._more())
        return int(head["status"])

    def _more(self) -> bytes:
        if more := self._socket.recv(1 << 16):
            return more
        raise SystemExit("envoy closed the connection")

    def close(self) -> None:
        self._socket.close()


def _written(request: Asked) -> str:
    return f"{request.method} {request.path} HTTP/1.1\r\nhost: api\r\n{CALLER}: {request.caller}\r\ncontent-length: 0\r\n\r\n"


def _listener(path: Path, between: list[dict[str, Any]]) -> dict[str, Any]:
    answer = {"match": {"prefix": ""}, "direct_response": {"status": 200}}
    manager = _named(
        "http",
        f"{_KINDS}.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="http",
        http_filters=[*between, _named("router", f"{_KINDS}.http.router.v3.Router")],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [answer]}]},
    )
    return {"name": path.name, "address": {"pipe": {"path": str(path)}}, "filter_chains": [{"filters": [manager]}]}


def _named(name: str, kind: str, **fields: object) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": kind, **fields}}
