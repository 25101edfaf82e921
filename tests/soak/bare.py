"""A server of gRPC's alone, beside the one under test: what it grows by under calls that are broken off is gRPC's own.

`grpc.aio` loses 96 bytes for each call whose task is cancelled while it waits for gRPC (grpc/grpc#43360). It prints its port, and then
every second the bytes that are allocated, which no fragment of the heap blurs as it does the memory of the process.
"""

import asyncio
import ctypes
import gc

import grpc
from envoy.service.auth.v3.external_auth_pb2 import CheckResponse

from mesh.heap import use_one_arena

_ANSWER: bytes = CheckResponse().SerializeToString()
_FIELDS = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _MallInfo2(ctypes.Structure):
    """As mallinfo(3) has it."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in _FIELDS)


def _allocated() -> int:
    """Bytes; 0 where the C library does not tell."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        return 0
    mallinfo2.restype = _MallInfo2
    found = mallinfo2()
    return int(found.uordblks) + int(found.hblkhd)


async def _check(_: bytes, __: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
    return _ANSWER


async def _serve() -> None:
    server = grpc.aio.server()
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(_check)}
    service = grpc.method_handlers_generic_handler("envoy.service.auth.v3.Authorization", handlers)
    server.add_generic_rpc_handlers((service,))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)  # noqa: T201  # for who started it
    await server.start()
    gc.freeze()
    while True:
        await asyncio.sleep(1)
        print(_allocated(), flush=True)  # noqa: T201  # as above


if __name__ == "__main__":
    use_one_arena()
    asyncio.run(_serve())
