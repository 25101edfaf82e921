"""Subjects: the workloads that a question is about, those together that are guarded alike."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from authz.analysis.access import Guarding
from authz.model import Policy
from authz.request_authentication import RequestAuthentication
from authz.workload import ProxyKind, ServiceRef, Workload
from mesh.questions import guarding_of
from mesh.snapshot import Snapshot

__all__ = ["Subject", "alike", "implied_workloads", "subjects"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A workload, or a service on its way through the waypoint that the workload is; `name` is how it is spoken of."""

    name: str
    workload: Workload
    service: ServiceRef | None = None


def subjects(snapshot: Snapshot) -> list[Subject]:
    """All of a mesh, in the order of their names; where it declares no workloads, those that its policies are for."""
    workloads = list(snapshot.registry) or implied_workloads(snapshot)
    found = [Subject(workload.id, workload) for workload in workloads]
    services = _targeted(snapshot)
    found += [
        Subject(f"{service.namespace}/{service.name}", workload, service)
        for workload in workloads
        if workload.proxy is ProxyKind.WAYPOINT
        for service in services
    ]
    return sorted(found, key=lambda subject: subject.name)


def implied_workloads(snapshot: Snapshot) -> list[Workload]:
    """A workload for each namespace and each selector that a policy has, named by its labels."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], None] = {}
    policies: Sequence[Any] = (*snapshot.policies, *snapshot.request_authentications, *snapshot.peer_authentications)
    namespaces = {policy.namespace for policy in policies} - {snapshot.config.root_namespace}
    for policy in policies:
        labels = tuple(sorted((policy.selector or {}).items()))
        wide = policy.namespace == snapshot.config.root_namespace
        for namespace in namespaces or {"default"} if wide else (policy.namespace,):
            found[namespace, ()] = None
            found[namespace, labels] = None
    return [
        Workload(
            namespace=namespace,
            name=",".join(f"{name}={value}" for name, value in labels) or "any",
            labels=dict(labels),
        )
        for namespace, labels in sorted(found)
    ]


def _targeted(snapshot: Snapshot) -> list[ServiceRef]:
    """The services that policies name as their targets."""
    attached: Sequence[Policy | RequestAuthentication] = (*snapshot.policies, *snapshot.request_authentications)
    found = {
        ServiceRef(namespace=policy.namespace, name=reference.name, external=reference.kind == "ServiceEntry")
        for policy in attached
        for reference in policy.target_refs
        if reference.kind in ("Service", "ServiceEntry")
    }
    return sorted(found, key=lambda service: (service.namespace, service.name, service.external))


def alike(snapshot: Snapshot, some: Sequence[Subject]) -> Iterator[tuple[Guarding, list[Subject]]]:
    """The subjects by what stands before them."""
    groups: defaultdict[object, list[Subject]] = defaultdict(list)
    for subject in some:
        guard = snapshot.guard(subject.workload, subject.service)
        key = (
            id(guard.tree),
            tuple(map(id, guard.jwt_rules)),
            tuple(sorted(guard.authorizers.asked)),
            frozenset(guard.modes.items()),
        )
        groups[key].append(subject)
    for group in groups.values():
        yield guarding_of(snapshot, group[0].workload, group[0].service), group
