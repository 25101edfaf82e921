"""The server of the Workload API."""

from ca.front import Front, GrpcServer, UnixDoor, UnixPeer
from ca.streams import Streams
from ca.workload_api.service import WorkloadApi

__all__ = ["workload_api_server"]

_ANYBODY = 0o777
"""Whoever connects is told by what the kernel says of them, so anybody may."""


def workload_api_server(streams: Streams, address: str, *, hash_executables: bool = False) -> GrpcServer[UnixPeer]:
    """A server of the Workload API at `address`, `unix:/path`: `async with` it, or `start` and `stop` it.

    `hash_executables` lets entries ask for `unix:sha256:…`, and reads the executable of each caller for that.

    Raises:
        ListenError: nothing can listen there.
    """
    front = Front(UnixDoor(address, mode=_ANYBODY, hash_executable=hash_executables))
    return GrpcServer(front, WorkloadApi(streams, front).service())
