"""gRPC servers behind a front: their options, health, reflection, and an orderly end."""

from types import TracebackType
from typing import Generic, Self, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ca.errors import ListenError
from ca.front.calls import Calls, Service
from ca.front.front import Front

__all__ = ["GrpcServer"]

Peer = TypeVar("Peer")

_MAX_MESSAGE = 64 * 1024
"""What is larger is refused before it is parsed: no request to an authority has reason to be."""
_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.max_concurrent_streams", 1000),
    # A client whose machine is gone says nothing of it; streams without end would stay for ever.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
_LAST_STEPS = 1.0


class GrpcServer(Generic[Peer]):
    """A server of one service behind `front`. It serves from `start`, or the beginning of an `async with`, to `stop`.

    Calls that are open at the end have `grace` seconds.
    """

    def __init__(self, front: Front[Peer], service: Service, *, grace: float = 1.0) -> None:
        self._front = front
        self._grace = grace
        self._name = service.name
        self._calls = Calls(service)
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((self._calls.handler(),))
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (service.name, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, pool=service.pool)

    @property
    def address(self) -> str:
        """Where clients connect."""
        return self._front.address

    async def start(self) -> None:
        """Serve.

        Raises:
            ListenError: the address cannot be had.
        """
        try:
            self._listen()
            await self._server.start()
            for name in ("", self._name):
                await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
            await self._front.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Take nobody in any more, give the calls that are open a moment to end, and hang up."""
        await self._front.shut()
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._grace)
        await self._front.stop()
        await self._calls.ended(within=_LAST_STEPS)

    def _listen(self) -> None:
        try:
            self._server.add_insecure_port(self._front.inner_address)
        except RuntimeError as error:
            raise ListenError(self.address, f"gRPC cannot have `{self._front.inner_address}`") from error

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
