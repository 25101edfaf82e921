"""Inventory: what a mesh has besides policies, asked by name."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence

from authz.selection import selects
from authz.workload import GATEWAY_LABEL, ProxyKind, Workload
from parser.manifests import Manifests
from parser.services import Service

__all__ = ["Inventory"]

# In every cluster, whether its manifests say so or not.
_ALWAYS = ("default", "kube-system", "kube-public", "kube-node-lease")


class Inventory:
    """The namespaces, services and gateways in manifests. Where they have none of a kind, nothing is said to be missing."""

    def __init__(self, manifests: Manifests, *, root_namespace: str) -> None:
        self._judges_namespaces = bool(manifests.namespaces)
        used = {workload.namespace for workload in manifests.workloads}
        self.namespaces: Sequence[str] = sorted({*manifests.namespaces, *used, *_ALWAYS, root_namespace})
        """The names of all that are known, in order."""
        self._reversed = sorted(name[::-1] for name in self.namespaces)
        self._services = frozenset((each.namespace, each.name) for each in manifests.services if not each.external)
        self._entries = frozenset((each.namespace, each.name) for each in manifests.services if each.external)
        self._hosts = frozenset(host.lower() for each in manifests.services for host in each.hosts)
        labelled = {(each.namespace, each.labels[GATEWAY_LABEL]) for each in manifests.workloads if GATEWAY_LABEL in each.labels}  # fmt: skip
        # Pods with the label do not make a Gateway, but where one is declared elsewhere they are what it stands for.
        declared = {(each.namespace, each.name) for each in manifests.gateways}
        self._gateways = frozenset(declared | labelled if declared else ())
        # Each service under one of its labels.
        self._selecting: dict[tuple[str, str, str], list[Service]] = defaultdict(list)
        for service in manifests.services:
            for label, value in list(service.selector.items())[:1]:
                self._selecting[service.namespace, label, value].append(service)
        self.has_opaque_ports = any(service.opaque for service in manifests.services)
        """Whether a service has ports, and none for HTTP."""

    def targets(self, kind: str) -> frozenset[tuple[str, str]]:
        """Namespace and name of every object of a kind that policies attach to."""
        match kind:
            case "Gateway":
                return self._gateways
            case "ServiceEntry":
                return self._entries
            case _:
                return self._services

    def lacks_namespace(self, pattern: str) -> bool:
        """Whether no namespace is, or begins or ends as, `pattern` says. Stars elsewhere are not judged."""
        if not self._judges_namespaces or "*" in pattern[1:-1] or pattern in ("*", "**"):
            return False
        if pattern.endswith("*"):
            return not _any_begins(self.namespaces, pattern[:-1])
        if pattern.startswith("*"):
            return not _any_begins(self._reversed, pattern[:0:-1])
        at = bisect_left(self.namespaces, pattern)
        return self.namespaces[at : at + 1] != [pattern]

    def lacks_host(self, service: str) -> bool:
        """Whether no service has the host in `[namespace/]host`, as far as that can be told."""
        namespace, _, host = service.lower().rpartition("/")
        if host in self._hosts:
            return False
        name, *rest = host.split(".")
        if len(rest) >= 2 and rest[1] == "svc":
            return bool(self._services) and ((rest[0], name) not in self._services or namespace not in ("", rest[0]))
        return bool(self._entries) and not host.replace(".", "").isdigit() and ":" not in host

    def is_opaque(self, workload: Workload) -> bool:
        """Whether services lead to a workload with a sidecar, and none of their ports carries HTTP."""
        found = [
            service
            for label, value in workload.labels.items()
            for service in self._selecting.get((workload.namespace, label, value), ())
            if selects(service.selector, workload)
        ]
        return workload.proxy is ProxyKind.SIDECAR and bool(found) and all(service.opaque for service in found)


def _any_begins(names: Sequence[str], prefix: str) -> bool:
    at = bisect_left(names, prefix)
    return at < len(names) and names[at].startswith(prefix)
