"""A server of gRPC's alone, beside the one under test: what it grows by under calls that are broken off is gRPC's own.

`grpc.aio` loses 96 bytes for each call whose task is cancelled while it waits for gRPC (grpc/grpc#43360). Prints its port.
"""

import asyncio
import gc

import grpc
from envoy.service.auth.v3.external_auth_pb2 import CheckResponse

from mesh.heap import use_one_arena

_ANSWER: bytes = CheckResponse().SerializeToString()


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
    await server.wait_for_termination()


if __name__ == "__main__":
    use_one_arena()
    asyncio.run(_serve())
