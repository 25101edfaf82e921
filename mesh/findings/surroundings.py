"""Surroundings: what findings ask of a mesh, each thing worked out once."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from authz.findings.reading import ReadRule, read_rules
from authz.findings.scope import Scope, may_meet, scope_of
from authz.mesh_config import MeshConfig
from authz.model import Action, Policy
from authz.peer_authentication import MtlsMode, PeerAuthentication, port_mode
from authz.request_authentication import RequestAuthentication
from authz.selection import selects
from authz.workload import AMBIENT, DATAPLANE_LABEL, ProxyKind, Workload
from parser.manifests import Manifests
from parser.reach import Reach
from parser.services import Service

__all__ = ["Surroundings"]

_TOKENS = "request.auth."


class Surroundings:
    """Manifests without errors, and the mesh configuration that counts, if there is one."""

    def __init__(self, manifests: Manifests, given: MeshConfig | None) -> None:
        self.manifests = manifests
        self.given = given
        self.config: MeshConfig = given or MeshConfig()
        self.root: str = self.config.root_namespace
        self._workloads: dict[Scope, tuple[Workload, ...]] = {}
        self._allowing: dict[Scope, Sequence[Sequence[ReadRule]]] = {}
        self._plaintext: dict[int, bool] = {}
        self._reach = Reach(manifests.workloads, manifests.request_authentications, root_namespace=self.root)

    @cached_property
    def rules(self) -> Sequence[Sequence[ReadRule]]:
        """The rules of each policy, in the order of the policies."""
        return [read_rules(policy, self.config.trust_domains) for policy in self.manifests.policies]

    @property
    def has_workloads(self) -> bool:
        """Whether there are any."""
        return self._reach.exists

    def workloads(self, policy: Policy | RequestAuthentication) -> tuple[Workload, ...]:
        """The workloads that `policy` is for, one of those that are alike, but for waypoints that it names by a service or class."""
        scope = scope_of(policy)
        if (known := self._workloads.get(scope)) is None:
            known = self._workloads[scope] = tuple(self._reach.of(policy))
        return known

    # Other policies -------------------------------------------------------------------------------------------------------

    def allowing(self, policy: Policy) -> Sequence[Sequence[ReadRule]]:
        """The rules of each ALLOW policy that may be in force where `policy` is."""
        scope = scope_of(policy)
        if (known := self._allowing.get(scope)) is None:
            known = self._allowing[scope] = [self.rules[other] for other in self._enforced_allow.meeting(policy)]
        return known

    def looks_at_tokens(self, policy: RequestAuthentication) -> bool:
        """Whether a policy that may be in force where `policy` is has tokens looked at, by itself or by somebody else."""
        return next(self._with_tokens.meeting(policy), None) is not None

    @cached_property
    def _enforced_allow(self) -> "_Others":
        policies = self.manifests.policies
        numbers = (number for number, each in enumerate(policies) if each.action is Action.ALLOW and not each.dry_run)
        return _Others(policies, numbers, self.root)

    @cached_property
    def _with_tokens(self) -> "_Others":
        policies = self.manifests.policies
        numbers = (
            number for number, each in enumerate(policies) if each.action is Action.CUSTOM or self._reads_tokens(number)
        )
        return _Others(policies, numbers, self.root)

    def _reads_tokens(self, number: int) -> bool:
        return any(clause.attribute.key.startswith(_TOKENS) for rule in self.rules[number] for clause in rule.clauses)

    # Connections ----------------------------------------------------------------------------------------------------------

    def serves_plaintext(self, policy: Policy) -> bool:
        """Whether some workload that `policy` is for takes connections without mTLS, as far as the manifests say."""
        reached = self.workloads(policy)
        if reached:
            return any(self._takes_plaintext(workload) for workload in reached)
        # Nobody knows for whom it is: then what speaks for its whole namespace, or for the mesh, does.
        anybody = Workload(namespace=policy.namespace, name="", labels=policy.selector or {})
        return self._takes_plaintext(anybody)

    def _takes_plaintext(self, workload: Workload) -> bool:
        known = self._plaintext.get(id(workload)) if workload.name else None
        if known is None:
            known = self._is_open(workload)
            if workload.name:
                self._plaintext[id(workload)] = known
        return known

    def _is_open(self, workload: Workload) -> bool:
        if workload.proxy is ProxyKind.WAYPOINT:
            return False
        peers = [*self._peers.get(workload.namespace, ()), *self._peers.get(self.root, ())]
        ports = {port for peer in peers for port in peer.port_modes}
        modes = {port_mode(peers, workload, port, root_namespace=self.root).mode for port in (None, *ports)}
        return modes != {MtlsMode.STRICT}

    @cached_property
    def _peers(self) -> dict[str, list[PeerAuthentication]]:
        found: dict[str, list[PeerAuthentication]] = defaultdict(list)
        for peer in self.manifests.peer_authentications:
            found[peer.namespace].append(peer)
        return found

    # Services and names ---------------------------------------------------------------------------------------------------

    def services(self, workload: Workload) -> Iterator[Service]:
        """The services that lead to `workload`."""
        for label in workload.labels.items():
            for service in self._selecting.get((workload.namespace, *label), ()):
                if selects(service.selector, workload):
                    yield service

    @cached_property
    def _selecting(self) -> dict[tuple[str, str, str], list[Service]]:
        found: dict[tuple[str, str, str], list[Service]] = defaultdict(list)
        for service in self.manifests.services:
            # Each under one of its labels.
            for label, value in list(service.selector.items())[:1]:
                found[service.namespace, label, value].append(service)
        return found

    @cached_property
    def accounts(self) -> dict[str, set[str]]:
        """The service accounts that workloads run as, by namespace."""
        found: dict[str, set[str]] = defaultdict(set)
        for workload in self.manifests.workloads:
            found[workload.namespace].add(workload.service_account)
        return found

    @cached_property
    def issuers(self) -> frozenset[str] | None:
        """Whose tokens are taken somewhere; none where a rule takes those of any issuer, or there are no rules."""
        rules = [rule for policy in self.manifests.request_authentications for rule in policy.jwt_rules]
        return None if not rules or any(not rule.issuer for rule in rules) else frozenset(rule.issuer for rule in rules)

    def is_ambient(self, workload: Workload) -> bool:
        """Whether a ztunnel decides for `workload`, and no sidecar does."""
        if workload.proxy is not ProxyKind.SIDECAR:
            return False
        own = workload.labels.get(DATAPLANE_LABEL)
        return own == AMBIENT if own is not None else workload.namespace in self._ambient

    @cached_property
    def _ambient(self) -> frozenset[str]:
        return frozenset(self.manifests.ambient)


class _Others:
    """Some of the policies, by their namespaces and one of their labels: whom another may meet is found without trying each."""

    def __init__(self, policies: Sequence[Policy], numbers: Iterable[int], root: str) -> None:
        self._policies = policies
        self._root = root
        self._anywhere: dict[str | None, list[int]] = defaultdict(list)
        self._labelled: dict[str | None, dict[str, dict[str, list[int]]]] = defaultdict(dict)
        for number in numbers:
            policy = policies[number]
            label = min((policy.selector or {}).items(), default=None)
            # All of them are under none, too: what is in the root namespace may meet them everywhere.
            for place in (None, policy.namespace):
                if label is None or policy.target_refs:
                    self._anywhere[place].append(number)
                else:
                    self._labelled[place].setdefault(label[0], {}).setdefault(label[1], []).append(number)

    def meeting(self, policy: Policy | RequestAuthentication) -> Iterator[int]:
        """The numbers of those that may be in force where `policy` is."""
        for place in [None] if policy.namespace == self._root else dict.fromkeys((policy.namespace, self._root)):
            for number in self._near(place, policy.selector or {}):
                if may_meet(policy, self._policies[number], self._root):
                    yield number

    def _near(self, place: str | None, selector: Mapping[str, str]) -> Iterator[int]:
        yield from self._anywhere.get(place, ())
        for label, by_value in self._labelled.get(place, {}).items():
            # Of those that ask for another value, none is for the same workload.
            wanted = by_value.values() if label not in selector else [by_value.get(selector[label], [])]
            for numbers in wanted:
                yield from numbers
