"""Selection: which policies apply to a workload (semantics 1.1 and 1.2)."""

from collections.abc import Iterable, Mapping

from authz.model import Policy, TargetRef
from authz.workload import Workload

__all__ = ["GATEWAY_LABEL", "applies", "select", "selects"]

GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"
"""The label by which a workload says that it is a gateway of the Gateway API, and which."""


def select(policies: Iterable[Policy], workload: Workload, *, root_namespace: str) -> tuple[Policy, ...]:
    """The policies that apply to `workload`, in the order given."""
    return tuple(policy for policy in policies if applies(policy, workload, root_namespace=root_namespace))


def applies(policy: Policy, workload: Workload, *, root_namespace: str) -> bool:
    """Whether `policy` applies to `workload`: the namespace is looked at first, then the target, then the selector."""
    if policy.namespace not in (workload.namespace, root_namespace):
        return False
    if policy.target_refs:
        return any(_attaches(reference, policy, workload) for reference in policy.target_refs)
    return policy.selector is None or selects(policy.selector, workload)


def selects(selector: Mapping[str, str], workload: Workload) -> bool:
    """Whether `workload` has all the labels of `selector`."""
    return all(workload.labels.get(name) == value for name, value in selector.items())


def _attaches(reference: TargetRef, policy: Policy, workload: Workload) -> bool:
    # A sidecar ignores policies with a target. Without the manifests of a Gateway only references to one can be told.
    return (
        reference.kind == "Gateway"
        and reference.group == "gateway.networking.k8s.io"
        and policy.namespace == workload.namespace
        and reference.namespace in (None, "", workload.namespace)
        and workload.labels.get(GATEWAY_LABEL) == reference.name
    )
