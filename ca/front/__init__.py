"""The front: sockets of ours before gRPC servers, which say who connected."""

from ca.front.calls import Context, RefusedCallError, Service
from ca.front.door import Door
from ca.front.front import Front
from ca.front.grpc_server import GrpcServer
from ca.front.tcp_door import TlsDoor, TlsPeer
from ca.front.unix_door import UnixDoor, UnixPeer

__all__ = [
    "Context",
    "Door",
    "Front",
    "GrpcServer",
    "RefusedCallError",
    "Service",
    "TlsDoor",
    "TlsPeer",
    "UnixDoor",
    "UnixPeer",
]
