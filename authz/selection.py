"""Selection: which policies apply to a workload (semantics 1.1 and 1.2)."""

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from authz.model import TargetRef
from authz.workload import GATEWAY_LABEL, WAYPOINT_CLASS, ProxyKind, ServiceRef, Workload

__all__ = ["Attachable", "applies", "select", "selects"]


class Attachable(Protocol):
    """What says by labels or by targets where it applies."""

    @property
    def namespace(self) -> str: ...  # noqa: D102  # as in the model
    @property
    def selector(self) -> Mapping[str, str] | None: ...  # noqa: D102
    @property
    def target_refs(self) -> tuple[TargetRef, ...]: ...  # noqa: D102


P = TypeVar("P", bound=Attachable)


def select(
    policies: Iterable[P],
    workload: Workload,
    *,
    root_namespace: str,
    service: ServiceRef | None = None,
    selectors_on_gateways: bool = True,
) -> tuple[P, ...]:
    """The policies that apply to `workload`, in the order given.

    `service` is the one whose chain a request is in; it matters at waypoints only, which have a chain for each.
    `selectors_on_gateways` is whether a policy without target applies to gateways of the Gateway API.
    """
    served = service if workload.proxy is ProxyKind.WAYPOINT else None
    place = _Place(workload, root_namespace, served, selectors_on_gateways=selectors_on_gateways)
    return tuple(policy for policy in policies if place.takes(policy))


def applies(policy: Attachable, workload: Workload, *, root_namespace: str, service: ServiceRef | None = None) -> bool:
    """Whether `policy` applies to `workload`: the namespace is looked at first, then the target, then the selector."""
    return bool(select((policy,), workload, root_namespace=root_namespace, service=service))


def selects(selector: Mapping[str, str], workload: Workload) -> bool:
    """Whether `workload` has all the labels of `selector`."""
    return all(workload.labels.get(name) == value for name, value in selector.items())


class _Place:
    """Where policies are looked for."""

    def __init__(
        self, workload: Workload, root_namespace: str, service: ServiceRef | None, *, selectors_on_gateways: bool
    ) -> None:
        self._workload = workload
        self._root = root_namespace
        self._service = service
        self._namespaces = {workload.namespace, root_namespace} | ({service.namespace} if service else set())
        self._gateway = workload.labels.get(GATEWAY_LABEL)
        self._waypoint = workload.proxy is ProxyKind.WAYPOINT
        # A waypoint takes nothing that does not name it, not even what has no selector at all.
        self._selected = not self._waypoint and (selectors_on_gateways or self._gateway is None)

    def takes(self, policy: Attachable) -> bool:
        if policy.namespace not in self._namespaces:
            return False
        if policy.target_refs:
            # A sidecar ignores whatever has a target.
            return self._gateway is not None and any(self._is(reference, policy) for reference in policy.target_refs)
        return self._selected and (policy.selector is None or selects(policy.selector, self._workload))

    def _is(self, reference: TargetRef, policy: Attachable) -> bool:
        """The table of targets in semantics 1.2."""
        match _GROUPS.get((reference.kind, reference.group)):
            case "Gateway":
                own = policy.namespace == self._workload.namespace
                return own and reference.namespace in (None, "", policy.namespace) and reference.name == self._gateway
            case "GatewayClass":
                return self._waypoint and reference.name == WAYPOINT_CLASS and policy.namespace == self._root
            case "Service" | "ServiceEntry" as kind:
                found = ServiceRef(namespace=policy.namespace, name=reference.name, external=kind == "ServiceEntry")
                return found == self._service and reference.namespace in (None, "", policy.namespace)
            case _:
                return False


_GROUPS = {
    ("Gateway", "gateway.networking.k8s.io"): "Gateway",
    ("GatewayClass", "gateway.networking.k8s.io"): "GatewayClass",
    ("Service", ""): "Service",
    ("Service", "core"): "Service",
    ("ServiceEntry", "networking.istio.io"): "ServiceEntry",
}
