"""Workload: a destination, what policies select and what a request is found to be for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from authz.span import Span

__all__ = [
    "AMBIENT",
    "DATAPLANE_LABEL",
    "GATEWAY_CLASS_LABEL",
    "GATEWAY_LABEL",
    "WAYPOINT_CLASS",
    "ProxyKind",
    "ServiceRef",
    "Workload",
]

GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"
"""The label by which a workload says that it is a gateway of the Gateway API, and which."""

GATEWAY_CLASS_LABEL = "gateway.networking.k8s.io/gateway-class-name"
"""The label by which such a gateway says of which class it is."""

WAYPOINT_CLASS = "istio-waypoint"
"""The class of Istio's waypoints."""

DATAPLANE_LABEL = "istio.io/dataplane-mode"
"""The label of namespaces and pods that says who decides for them where no sidecar does."""

AMBIENT = "ambient"
"""Its value where ztunnel does."""

# What Istio's controller puts on the pods that it makes for a waypoint.
_MANAGED_LABEL = "gateway.istio.io/managed"
_MANAGED_WAYPOINT = "istio.io-mesh-controller"


class ProxyKind(Enum):
    """Where policies run for a workload (semantics 0.1)."""

    SIDECAR = "sidecar"
    GATEWAY = "gateway"
    WAYPOINT = "waypoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRef:
    """The service whose chain of a waypoint a request is in: a Kubernetes Service, or a ServiceEntry if `external`."""

    namespace: str
    name: str
    external: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A destination in the mesh.

    `addresses` are IP addresses in their canonical text, `ports` the container ports; both may be empty where the manifests
    do not say. `router` is whether it declares itself to be a gateway otherwise than by its labels.
    """

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    service_account: str = "default"
    addresses: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    router: bool = False
    span: Span | None = field(default=None, compare=False, repr=False)

    @property
    def id(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def proxy(self) -> ProxyKind:
        """What kind of proxy decides for it, by its labels and by what it declares."""
        labels = self.labels
        if labels.get(GATEWAY_CLASS_LABEL) == WAYPOINT_CLASS or labels.get(_MANAGED_LABEL) == _MANAGED_WAYPOINT:
            return ProxyKind.WAYPOINT
        return ProxyKind.GATEWAY if self.router or GATEWAY_LABEL in labels else ProxyKind.SIDECAR
