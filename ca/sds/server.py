"""The server of SDS."""

from ca.front import Front, GrpcServer, UnixDoor, UnixPeer
from ca.sds.service import SecretDiscovery
from ca.streams import Streams

__all__ = ["sds_server"]

_ITS_GROUP = 0o660


def sds_server(
    streams: Streams, address: str, *, mode: int = _ITS_GROUP, hash_executables: bool = False
) -> GrpcServer[UnixPeer]:
    """A server of SDS for Envoys at `address`, `unix:/path`: `async with` it, or `start` and `stop` it.

    The socket's file is for whoever runs the server and their group, unless `mode` says otherwise; what an Envoy gets is by what
    the kernel says of it, all the same. `hash_executables` lets entries ask for `unix:sha256:…`.

    Raises:
        ListenError: nothing can listen there.
    """
    front = Front(UnixDoor(address, mode=mode, hash_executable=hash_executables))
    return GrpcServer(front, SecretDiscovery(streams, front).service())
