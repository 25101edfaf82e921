"""Selection: which policies apply to a workload (semantics 1.1 and 1.2)."""

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from authz.model import TargetRef
from authz.workload import GATEWAY_LABEL, WAYPOINT_CLASS, ProxyKind, ServiceRef, Workload

__all__ = ["Attachable", "applies", "select", "selects"]

_GATEWAY_API = "gateway.networking.k8s.io"
_CORE = ("", "core")
_NETWORKING = "networking.istio.io"


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
    policies: Iterable[P], workload: Workload, *, root_namespace: str, service: ServiceRef | None = None
) -> tuple[P, ...]:
    """The policies that apply to `workload`, in the order given.

    `service` is the one whose chain a request is in; it matters at waypoints only, which have a chain for each.
    """
    return tuple(
        policy for policy in policies if applies(policy, workload, root_namespace=root_namespace, service=service)
    )


def applies(policy: Attachable, workload: Workload, *, root_namespace: str, service: ServiceRef | None = None) -> bool:
    """Whether `policy` applies to `workload`: the namespace is looked at first, then the target, then the selector."""
    waypoint = workload.proxy is ProxyKind.WAYPOINT
    served = service if waypoint else None
    looked_at = (
        (workload.namespace, root_namespace)
        if served is None
        else (workload.namespace, root_namespace, served.namespace)
    )
    if policy.namespace not in looked_at:
        return False
    if policy.target_refs:
        return any(_attaches(reference, policy, workload, root_namespace, served) for reference in policy.target_refs)
    # A waypoint takes nothing that does not name it, not even what has no selector at all.
    return not waypoint and (policy.selector is None or selects(policy.selector, workload))


def selects(selector: Mapping[str, str], workload: Workload) -> bool:
    """Whether `workload` has all the labels of `selector`."""
    return all(workload.labels.get(name) == value for name, value in selector.items())


def _attaches(
    reference: TargetRef, policy: Attachable, workload: Workload, root_namespace: str, service: ServiceRef | None
) -> bool:
    """The table of semantics 1.2. A sidecar ignores whatever has a target."""
    gateway = workload.labels.get(GATEWAY_LABEL)
    if gateway is None:
        return False
    waypoint = workload.proxy is ProxyKind.WAYPOINT
    match reference.group, reference.kind:
        case (group, "Gateway") if group == _GATEWAY_API:
            own = policy.namespace == workload.namespace and reference.namespace in (None, "", workload.namespace)
            return own and reference.name == gateway
        case (group, "GatewayClass") if group == _GATEWAY_API:
            return waypoint and reference.name == WAYPOINT_CLASS and policy.namespace == root_namespace
        case (group, "Service") if group in _CORE:
            return _serves(reference, policy, service, external=False)
        case (group, "ServiceEntry") if group == _NETWORKING:
            return _serves(reference, policy, service, external=True)
        case _:
            return False


def _serves(reference: TargetRef, policy: Attachable, service: ServiceRef | None, *, external: bool) -> bool:
    return (
        service is not None
        and service.external is external
        and policy.namespace == service.namespace
        and reference.namespace in (None, "", service.namespace)
        and reference.name == service.name
    )
