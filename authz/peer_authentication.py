"""PeerAuthentication: on which ports a workload demands mTLS (semantics 5)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from authz.selection import GATEWAY_LABEL, selects
from authz.span import Path, Span
from authz.workload import Workload

__all__ = ["MtlsMode", "PeerAuthentication", "mtls_mode"]


class MtlsMode(Enum):
    """What a port takes. `UNSET` leaves it to the wider policy, and means PERMISSIVE where there is none."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAuthentication:
    """One PeerAuthentication. `created` is its creationTimestamp as written, empty where the document has none."""

    namespace: str
    name: str
    created: str = ""
    selector: Mapping[str, str] | None = None
    mode: MtlsMode = MtlsMode.UNSET
    port_modes: Mapping[int, MtlsMode] = field(default_factory=dict)
    spans: Mapping[Path, Span] = field(default_factory=dict, compare=False, repr=False)

    @property
    def id(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


def mtls_mode(
    policies: Iterable[PeerAuthentication], workload: Workload, port: int | None, *, root_namespace: str
) -> MtlsMode:
    """What `port` of `workload` takes; the workload's own mode where the port is not known. Never `UNSET`.

    Gateways say it in their own configuration: no PeerAuthentication speaks for them, and theirs is PERMISSIVE here.
    """
    if GATEWAY_LABEL in workload.labels:
        return MtlsMode.PERMISSIVE
    # Of each scope the oldest counts, as a whole (5.1, 3).
    oldest: dict[str, PeerAuthentication] = {}
    for policy in sorted(policies, key=lambda each: (each.created, each.name)):
        scope = _scope(policy, workload, root_namespace)
        if scope is not None:
            oldest.setdefault(scope, policy)
    mode = MtlsMode.PERMISSIVE
    for scope in ("mesh", "namespace", "workload"):
        if scope in oldest and oldest[scope].mode is not MtlsMode.UNSET:
            mode = oldest[scope].mode
    if "workload" in oldest and port is not None:
        own = oldest["workload"].port_modes.get(port, MtlsMode.UNSET)
        return mode if own is MtlsMode.UNSET else own
    return mode


def _scope(policy: PeerAuthentication, workload: Workload, root_namespace: str) -> str | None:
    """For what `policy` speaks when it speaks for `workload`: the mesh, its namespace, itself, or not at all."""
    if policy.namespace not in (workload.namespace, root_namespace):
        return None
    if not policy.selector:
        return "mesh" if policy.namespace == root_namespace else "namespace"
    # With a selector, one in the root namespace counts for nobody, not even there.
    if policy.namespace == root_namespace or not selects(policy.selector, workload):
        return None
    return "workload"
