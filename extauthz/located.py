"""Located: a question with the workload that it is about, what stands before that, and every way to read the request there."""

from collections.abc import Sequence
from typing import NamedTuple

from authz.attributes import Attributes
from authz.workload import ProxyKind, Workload
from extauthz.wire import Asked, Destination, at_gateway, readings
from mesh.snapshot import Guard, Snapshot

__all__ = ["Located", "locate"]


class Located(NamedTuple):
    """What is found by the policies and the workloads of one snapshot."""

    workload: Workload
    guard: Guard
    ways: Sequence[Attributes]


def locate(snapshot: Snapshot, asked: Asked, destination: Destination) -> Located:
    """Find where a question to `destination` goes.

    Raises:
        UnknownWorkloadError: Nowhere that is known.
        MalformedRequestError: There are too many ways to read it.
    """
    workload = snapshot.find(
        workload=destination.workload, principal=destination.principal, address=destination.address
    )
    if workload.proxy is ProxyKind.GATEWAY:
        asked = at_gateway(asked, trusted_proxies=snapshot.config.trusted_proxies)
    guard = snapshot.guard(workload, destination.service)
    return Located(workload, guard, readings(asked, guard.tree.headers))
