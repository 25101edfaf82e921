"""Subjects: the workloads that a question is about, those together that are guarded alike."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from authz.analysis.access import Guarding
from authz.model import Policy
from authz.request_authentication import RequestAuthentication
from authz.workload import ProxyKind, ServiceRef, Workload
from mesh.questions import guarding_of
from mesh.snapshot import Guard, Snapshot

__all__ = ["Pair", "Subject", "alike", "alike_in_both", "implied_workloads", "pairs", "subjects"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A workload, or a service on its way through the waypoint that the workload is; `name` is how it is spoken of."""

    name: str
    workload: Workload
    service: ServiceRef | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A subject as it was and as it is; none where one version of the mesh has no such. At least one is there."""

    old: Subject | None
    new: Subject | None

    @property
    def subject(self) -> Subject:
        """As it is, or was if it is no more."""
        found = self.new or self.old
        if found is None:
            raise ValueError("a pair of nothing")
        return found


def subjects(snapshot: Snapshot) -> list[Subject]:
    """All of a mesh, in the order of their names; where it declares no workloads, those that its policies are for."""
    return _subjects(list(snapshot.registry) or implied_workloads(snapshot), _targeted(snapshot))


def _subjects(workloads: Sequence[Workload], services: Sequence[ServiceRef]) -> list[Subject]:
    found = [Subject(workload.id, workload) for workload in workloads]
    found += [
        Subject(f"{service.namespace}/{service.name}", workload, service)
        for workload in workloads
        if workload.proxy is ProxyKind.WAYPOINT
        for service in services
    ]
    return sorted(found, key=lambda subject: subject.name)


def pairs(old: Snapshot, new: Snapshot) -> list[Pair]:
    """The subjects of two versions of a mesh, each with what it was, in the order of their names.

    Where one of the two declares no workloads, both are taken to have those of the other, and those that the policies of
    either are for: a policy that is gone was for somebody who may still be there.
    """
    declared = [list(old.registry), list(new.registry)]
    if not all(declared):
        known = {workload.id: workload for each in declared for workload in each}
        for workload in (*implied_workloads(old), *implied_workloads(new)):
            known.setdefault(workload.id, workload)
        declared = [list(known.values())] * 2
    services = sorted({*_targeted(old), *_targeted(new)}, key=_order)
    before, after = (_by_identity(_subjects(workloads, services)) for workloads in declared)
    found = [
        Pair(was, now)
        for identity in before.keys() | after.keys()
        for was, now in _matched(before.get(identity, ()), after.get(identity, ()))
    ]
    return sorted(found, key=lambda pair: (pair.subject.name, pair.subject.workload.id, pair.subject.service is None))


_Identity = tuple[str, ServiceRef | None]


def _by_identity(some: Sequence[Subject]) -> Mapping[_Identity, Sequence[Subject]]:
    found: defaultdict[_Identity, list[Subject]] = defaultdict(list)
    for subject in some:
        found[subject.workload.id, subject.service].append(subject)
    return found


def _matched(old: Sequence[Subject], new: Sequence[Subject]) -> Iterator[tuple[Subject | None, Subject | None]]:
    """Those of one name: the only one with the only one; of several, a Deployment and a Job, say, by their labels."""
    if len(old) == len(new) == 1:
        yield old[0], new[0]
        return
    left = list(old)
    for now in new:
        was = next((each for each in left if each.workload.labels == now.workload.labels), None)
        if was is not None:
            left.remove(was)
        yield was, now
    for was in left:
        yield was, None


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
    return sorted(found, key=_order)


def _order(service: ServiceRef) -> tuple[str, str, bool]:
    return service.namespace, service.name, service.external


def alike(snapshot: Snapshot, some: Sequence[Subject]) -> Iterator[tuple[Guarding, list[Subject]]]:
    """The subjects by what stands before them."""
    groups: defaultdict[object, list[Subject]] = defaultdict(list)
    guards = [snapshot.guard(subject.workload, subject.service) for subject in some]
    for subject, guard in zip(some, guards, strict=True):
        groups[_key(guard)].append(subject)
    for group in groups.values():
        yield guarding_of(snapshot, group[0].workload, group[0].service), group


def alike_in_both(
    old: Snapshot, new: Snapshot, some: Sequence[Pair]
) -> Iterator[tuple[Guarding | None, Guarding | None, list[Pair]]]:
    """The pairs by what stood and what stands before them; none where there was, or is, no such subject."""
    groups: defaultdict[object, list[Pair]] = defaultdict(list)
    guards = [(_guard(old, pair.old), _guard(new, pair.new)) for pair in some]
    for pair, (was, now) in zip(some, guards, strict=True):
        groups[was and _key(was), now and _key(now)].append(pair)
    for group in groups.values():
        yield _guarding(old, group[0].old), _guarding(new, group[0].new), group


def _guard(snapshot: Snapshot, subject: Subject | None) -> Guard | None:
    return None if subject is None else snapshot.guard(subject.workload, subject.service)


def _guarding(snapshot: Snapshot, subject: Subject | None) -> Guarding | None:
    return None if subject is None else guarding_of(snapshot, subject.workload, subject.service)


def _key(guard: Guard) -> object:
    """What is the same for those that are guarded alike, as long as their guards are kept."""
    asked = tuple(sorted(guard.authorizers.asked))
    return id(guard.tree), tuple(map(id, guard.jwt_rules)), asked, frozenset(guard.modes.items())
