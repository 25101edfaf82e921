"""The messages of the Workload API, in a pool of descriptors of their own.

The service has no package, so any other copy of it in the process, such as that of py-spiffe, has messages of the same names; one
pool takes only one of them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from ca.front import RefusedCallError

__all__ = ["MESSAGES", "POOL", "SERVICE", "parse"]

SERVICE = "SpiffeWorkloadAPI"


def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    files = FileDescriptorSet.FromString(Path(__file__).with_name("workload.binpb").read_bytes())
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    # What the server offers beside it, so that reflection knows that, too.
    for module in (health_pb2, reflection_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    return pool


POOL = _pool()

MESSAGES: Mapping[str, type[Any]] = {
    method.name: GetMessageClass(method.output_type) for method in POOL.FindServiceByName(SERVICE).methods
}
"""What each method answers with."""

_REQUESTS: Mapping[str, type[Message]] = {
    method.name: GetMessageClass(method.input_type) for method in POOL.FindServiceByName(SERVICE).methods
}


def parse(method: str, request: bytes) -> Any:  # the class is made of the descriptor
    """The request of a method.

    Raises:
        RefusedCallError: the bytes are none.
    """
    try:
        return _REQUESTS[method].FromString(request)
    except DecodeError as error:
        raise RefusedCallError.malformed("malformed", "the request is no message of this method") from error
