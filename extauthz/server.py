"""The server around the service: its socket, health, reflection, and an orderly end."""

import asyncio
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

import grpc
from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from extauthz.service import AuthorizationService

__all__ = ["ListenError", "Server"]

_SERVICE = external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"].full_name

# A question has the headers of one request, which Envoy bounds at 60 KiB unless told otherwise, and a certificate.
# What is larger is refused before it is parsed, and Envoy denies what is refused.
_MAX_QUESTION = 256 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_QUESTION),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.max_concurrent_streams", 1000),
    # Two servers on one port would split the questions between two sets of policies.
    ("grpc.so_reuseport", 0),
)


class ListenError(Exception):
    """The address cannot be listened on."""


class Server:
    """A gRPC server with one service.

    Raises:
        ListenError: `address` (`host:port` or `unix:/path`) is taken, or is none.
    """

    def __init__(self, service: AuthorizationService, address: str) -> None:
        self._server = grpc.aio.server(options=_OPTIONS)
        external_auth_pb2_grpc.add_AuthorizationServicer_to_server(service, self._server)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((_SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        self._socket = Path(address.removeprefix("unix:")) if address.startswith("unix:") else None
        if self._socket is not None:
            _clear_stale(self._socket)
        # The socket file is for whoever runs the server and their group: who may connect may ask about any workload.
        before = os.umask(0o117)
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ListenError(f"cannot listen on {address}: is it taken, or not an address?") from error
        finally:
            os.umask(before)
        host, colon, _ = address.rpartition(":")
        self.address = address if self._socket is not None or not colon else f"{host}:{port}"
        """Where it listens; with the real port where 0 was asked for."""

    async def start(self) -> None:
        """Answer questions, and say so to who asks for the server's health."""
        await self._server.start()
        for name in ("", _SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self, *, grace: float) -> None:
        """Take no new questions and answer those that are open, for at most `grace` seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)
        if self._socket is not None:
            with suppress(FileNotFoundError):
                await asyncio.to_thread(self._socket.unlink)


def _clear_stale(path: Path) -> None:
    """Remove a socket that nobody listens on any more; one that answers is somebody's, and no socket is not ours."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ListenError(f"cannot listen on unix:{path}: there is a file of that name")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise ListenError(f"cannot listen on unix:{path}: another server does")
