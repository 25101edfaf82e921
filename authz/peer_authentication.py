"""PeerAuthentication: on which ports a workload demands mTLS (semantics 5)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from authz.selection import selects
from authz.span import Path, Span
from authz.workload import ProxyKind, Workload

__all__ = ["MtlsMode", "PeerAuthentication", "PortMode", "port_mode"]


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


class PortMode(NamedTuple):
    """What a port takes, never `UNSET`, and the id of the policy that says so; empty where it is the default."""

    mode: MtlsMode
    by: str


def port_mode(
    policies: Iterable[PeerAuthentication], workload: Workload, port: int | None, *, root_namespace: str
) -> PortMode:
    """What `port` of `workload` takes; what the workload does where the port is not known.

    Gateways say it in their own configuration, and waypoints take nothing but mTLS: no PeerAuthentication speaks for them, and
    theirs is PERMISSIVE here.
    """
    if workload.proxy is not ProxyKind.SIDECAR:
        return _DEFAULT
    # Of each scope the oldest counts, as a whole (5.1, 3).
    oldest: dict[str, PeerAuthentication] = {}
    for policy in sorted(policies, key=lambda each: (each.created, each.name)):
        scope = _scope(policy, workload, root_namespace)
        if scope is not None:
            oldest.setdefault(scope, policy)
    own = oldest.get("workload")
    if own is not None and port is not None:
        mode = own.port_modes.get(port, MtlsMode.UNSET)
        if mode is not MtlsMode.UNSET:
            return PortMode(mode, own.id)
    for scope in ("workload", "namespace", "mesh"):
        if scope in oldest and oldest[scope].mode is not MtlsMode.UNSET:
            return PortMode(oldest[scope].mode, oldest[scope].id)
    return _DEFAULT


_DEFAULT = PortMode(MtlsMode.PERMISSIVE, "")


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
