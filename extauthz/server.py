"""The server around the service: its socket, health, reflection, and an orderly end."""

import asyncio
import os
import re
import socket
import stat
from contextlib import suppress
from enum import Enum
from pathlib import Path

import grpc
from envoy.service.auth.v3 import external_auth_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from extauthz.service import AuthorizationService

__all__ = ["UNIX", "ListenError", "Port", "Server", "parse_port"]

_SERVICE = external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"].full_name

# A question has the headers of one request, which Envoy bounds at 60 KiB unless told otherwise, and a certificate.
# What is larger is refused before it is parsed, and Envoy denies what is refused.
_MAX_QUESTION = 256 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_QUESTION),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.max_concurrent_streams", 1000),
)
_LAST_STEPS = 1.0
UNIX = "unix:"
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


class ListenError(Exception):
    """The address cannot be listened on."""


class Port(Enum):
    """Whose a TCP port is. Two servers that do not know of each other would answer by two sets of policies."""

    OWN = 0
    SHARED = 1


class Server:
    """A gRPC server with one service.

    Raises:
        ListenError: `address` (`host:port` or `unix:/path`) is taken, or is none.
    """

    def __init__(self, service: AuthorizationService, address: str, *, port: Port = Port.OWN) -> None:
        self._server = grpc.aio.server(options=(*_OPTIONS, ("grpc.so_reuseport", port.value)))
        # No deserializer: the service answers bytes that are no question, where grpc would show a traceback and no reason.
        check = grpc.unary_unary_rpc_method_handler(service.check)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Check": check}),))
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self._socket = _UnixSocket(self._server, address) if address.startswith(UNIX) else None
        self.address = address if self._socket else _listen_on_port(self._server, address)
        """Where it listens; with the real port where 0 was asked for."""

    async def start(self) -> None:
        """Answer questions, and say so to who asks for the server's health."""
        await self._server.start()
        for name in ("", _SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, *, grace: float) -> None:
        """Take no new questions and answer those that are open, for at most `grace` seconds."""
        await self._health.enter_graceful_shutdown()
        calls = asyncio.all_tasks() - {asyncio.current_task()}
        await self._server.stop(grace)
        # gRPC takes a call for ended before its own task is; one that outlives the loop ends in a traceback.
        if calls:
            await asyncio.wait(calls, timeout=_LAST_STEPS)
        if self._socket is not None:
            await asyncio.to_thread(self._socket.remove)


def parse_port(address: str) -> tuple[str, int]:
    """Host and port of an address, the host without brackets.

    Raises:
        ListenError: It is none.
    """
    if (parts := _HOST_AND_PORT.fullmatch(address)) is None or int(parts[2]) > 65535:
        raise ListenError(f"cannot listen on {address!r}: an address is `host:port`, `[::1]:port` or `unix:/path`")
    return parts[1].strip("[]"), int(parts[2])


def _listen_on_port(server: grpc.aio.Server, address: str) -> str:
    host, port = parse_port(address)
    try:
        return f"{address.rpartition(':')[0]}:{server.add_insecure_port(address)}"
    except RuntimeError as error:
        reason = _reason(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port))
        raise ListenError(f"cannot listen on {address}: {reason}") from error


class _UnixSocket:
    """The file of a Unix socket that a server listens on."""

    def __init__(self, server: grpc.aio.Server, address: str) -> None:
        self._path = Path(address.removeprefix(UNIX))
        try:
            _clear_stale(self._path)
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {error.strerror or error}") from error
        # The socket file is for whoever runs the server and their group: who may connect may ask about any workload.
        before = os.umask(0o117)
        try:
            server.add_insecure_port(address)
            self._own = _identity(self._path)
        except (OSError, RuntimeError) as error:
            reason = _reason(socket.AF_UNIX, str(self._path))
            raise ListenError(f"cannot listen on {address}: {reason}") from error
        finally:
            os.umask(before)

    def remove(self) -> None:
        """Remove the file, unless it is another's by now: a successor may have come while this server drained."""
        with suppress(FileNotFoundError):
            if _identity(self._path) == self._own:
                self._path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _clear_stale(path: Path) -> None:
    """Remove a socket that nobody listens on any more; one that answers is somebody's, and no socket is not ours.

    Raises:
        ListenError: There is something that may not be removed.
        OSError: It cannot be told.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ListenError(f"cannot listen on {UNIX}{path}: there is a file of that name, and it is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise ListenError(f"cannot listen on {UNIX}{path}: another server does")


def _reason(family: socket.AddressFamily, address: str | tuple[str, int]) -> str:
    """Why nothing can listen there, which gRPC does not say."""
    with socket.socket(family) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        except OSError as error:
            return error.strerror or str(error)
    return "gRPC says no"
