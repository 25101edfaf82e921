"""Guards: what stands before each workload of a mesh, compiled once for those that are alike."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, NamedTuple, TypeVar

from authz.external import Authorizers, authorizers
from authz.mesh_config import MeshConfig
from authz.model import Policy
from authz.peer_authentication import PeerAuthentication, PortMode, port_mode
from authz.request_authentication import JwtRule, RequestAuthentication, jwt_rules
from authz.selection import select
from authz.tree import DecisionTree, compile_policies
from authz.workload import ServiceRef, Workload
from mesh.errors import BudgetError
from mesh.registry import Registry
from parser.difference import differing

__all__ = ["Guard", "Guards"]

_SPELLED_OUT_LIMIT = 1024
_TOKENS = "request.auth."

P = TypeVar("P", Policy, RequestAuthentication, PeerAuthentication)


@dataclass(frozen=True, slots=True)
class Guard:
    """What stands before one workload: the compiled policies, whose tokens it takes, who else must agree, and what its ports take.

    `modes` has those ports that take something else than all others, which are under `None`. `looks_at_tokens` is whether the
    policies read what tokens say.
    """

    tree: DecisionTree
    jwt_rules: tuple[JwtRule, ...]
    authorizers: Authorizers
    modes: Mapping[int | None, PortMode]
    looks_at_tokens: bool

    def mode(self, port: int | None) -> PortMode:
        """What a port of the workload takes, by the PeerAuthentications that speak for it."""
        return self.modes.get(port) or self.modes[None]


class _Asked(NamedTuple):
    """What is the same for workloads that are guarded alike, and the service whose chain of a waypoint is asked about."""

    namespace: str
    labels: frozenset[tuple[str, str]]
    router: bool
    service: ServiceRef | None

    @classmethod
    def about(cls, workload: Workload, service: ServiceRef | None) -> "_Asked":
        return cls(workload.namespace, frozenset(workload.labels.items()), workload.router, service)

    @property
    def namespaces(self) -> set[str]:
        """Those in which policies are looked for, besides the root."""
        return {self.namespace} if self.service is None else {self.namespace, self.service.namespace}

    def looks_into(self, namespaces: Collection[str]) -> bool:
        """Whether policies are looked for in one of `namespaces`."""
        return self.namespace in namespaces or (self.service is not None and self.service.namespace in namespaces)


class Guards:
    """The guards of all workloads of a registry, compiled when this is made, and of any other that is asked about.

    What the ones before it, `previous`, have compiled is taken over where it is the same. That changes nothing but the time it
    takes. The attributes are for the ones after it.

    Raises:
        BudgetError: The trees of the registry have more values than `budget`, if there is one. What one policy says is as much as
            its file, but it may stand before thousands of workloads.
    """

    __slots__ = (
        "by_asked",
        "by_workload",
        "compiled",
        "config",
        "peer_authentications",
        "policies",
        "registry",
        "request_authentications",
        "trees",
    )

    def __init__(  # noqa: PLR0913  # what a mesh declares
        self,
        *,
        policies: Sequence[Policy],
        request_authentications: Sequence[RequestAuthentication],
        peer_authentications: Sequence[PeerAuthentication],
        registry: Registry,
        config: MeshConfig,
        previous: "Guards | None" = None,
        budget: int | None = None,
    ) -> None:
        self.registry = registry
        self.config = config
        self.compiled: _Compiled = _Compiled(policies, None if previous is None else previous.compiled)
        self.policies: _ByNamespace[Policy] = _ByNamespace(
            self.compiled.policies, None if previous is None else previous.policies
        )
        self.request_authentications: _ByNamespace[RequestAuthentication] = _ByNamespace(
            request_authentications, None if previous is None else previous.request_authentications
        )
        self.peer_authentications: _ByNamespace[PeerAuthentication] = _ByNamespace(
            peer_authentications, None if previous is None else previous.peer_authentications
        )
        self.trees: dict[tuple[int, ...], DecisionTree] = {}
        self.by_asked: dict[_Asked, Guard] = {}
        self.by_workload: dict[int, Guard] = {}
        if previous is not None:
            self._take_over(previous)
        # The registry keeps its workloads for as long as this lives, so each stands for itself.
        values, counted = 0, set[int]()
        for workload in registry:
            if (guard := self.by_workload.get(id(workload))) is None:
                guard = self.by_workload[id(workload)] = self._guarded(
                    _Asked.about(workload, None), workload, keep=True
                )
            if budget is not None and id(guard.tree) not in counted:
                counted.add(id(guard.tree))
                values += guard.tree.values
                if values > budget:
                    raise BudgetError(workload.id, values=values, limit=budget)
        used = {id(guard.tree) for guard in chain(self.by_workload.values(), self.by_asked.values())}
        self.trees = {ids: tree for ids, tree in self.trees.items() if id(tree) in used}

    def of(self, workload: Workload, service: ServiceRef | None = None) -> Guard:
        """The guard of `workload`, or of the chain of a service at it."""
        if service is None and (registered := self.by_workload.get(id(workload))) is not None:
            return registered
        # Requests may spell out any number of workloads; what is kept of them is bounded.
        room = len(self.by_asked) < _SPELLED_OUT_LIMIT + len(self.registry)
        return self._guarded(_Asked.about(workload, service), workload, keep=room)

    @property
    def look_at_tokens(self) -> bool:
        """Whether those of a workload of the registry do."""
        return any(guard.looks_at_tokens for guard in self.by_workload.values())

    def _guarded(self, asked: _Asked, workload: Workload, *, keep: bool) -> Guard:
        if (known := self.by_asked.get(asked)) is not None:
            return known
        config, service = self.config, asked.service
        namespaces = {config.root_namespace} | asked.namespaces
        selected = select(
            self.policies.among(namespaces),
            workload,
            root_namespace=config.root_namespace,
            service=service,
            selectors_on_gateways=config.selectors_on_gateways,
        )
        ids = tuple(map(id, selected))
        if (tree := self.trees.get(ids)) is None:
            tree = compile_policies(selected, trust_domains=config.trust_domains)
        rules = jwt_rules(
            self.request_authentications.among(namespaces),
            workload,
            root_namespace=config.root_namespace,
            service=service,
            selectors_on_gateways=config.selectors_on_gateways,
        )
        guard = Guard(
            tree=tree,
            jwt_rules=rules,
            authorizers=authorizers(tree.providers, config),
            modes=self._modes(workload, namespaces),
            looks_at_tokens=any(attribute.key.startswith(_TOKENS) for attribute in tree.reads),
        )
        if keep:
            self.trees[ids] = tree
            self.by_asked[asked] = guard
        return guard

    def _modes(self, workload: Workload, namespaces: Iterable[str]) -> dict[int | None, PortMode]:
        peers = self.peer_authentications.among(namespaces)

        def mode(port: int | None) -> PortMode:
            return port_mode(peers, workload, port, root_namespace=self.config.root_namespace)

        # Of ports that no policy speaks of nothing need be kept, and nothing of those that take what others do: so the modes
        # of two workloads are equal if and only if all their ports take the same.
        default = mode(None)
        spoken_of = sorted({port for policy in peers for port in policy.port_modes})
        return {None: default, **{port: its for port in spoken_of if (its := mode(port)) != default}}

    def _take_over(self, previous: "Guards") -> None:
        # Copies, for questions that are asked meanwhile may add to them.
        by_asked, trees = previous.by_asked.copy(), previous.trees.copy()
        if self.config.trust_domains == previous.config.trust_domains:
            self.trees = trees
        changed = self.policies.changed | self.request_authentications.changed | self.peer_authentications.changed
        if self.config != previous.config or self.config.root_namespace in changed:
            return
        same = self.registry is previous.registry
        kinds = set() if same else {_Asked.about(workload, None) for workload in self.registry}
        self.by_asked = {
            asked: guard
            for asked, guard in by_asked.items()
            if not asked.looks_into(changed) and (same or asked._replace(service=None) in kinds)
        }
        if same:
            self.by_workload = {
                id(workload): previous.by_workload[id(workload)]
                for workload in self.registry
                if workload.namespace not in changed
            }


class _Compiled:
    """The policies that are compiled: for one that is declared again as it was, the one that is compiled already.

    One that has moved, in its file or to another, is the same but for its places.
    """

    __slots__ = ("declared", "policies")

    def __init__(self, declared: Sequence[Policy], before: "_Compiled | None") -> None:
        self.declared = declared
        self.policies: Sequence[Policy] = declared
        if before is not None:
            was, now = differing(before.declared, declared)
            known = {id(old): same for old, same in zip(before.declared[was], before.policies[was], strict=True)}
            gone = {known[each].id: known[each] for each in known.keys() - set(map(id, declared[now]))}
            found = [known.get(id(policy)) or _older(policy, gone) for policy in declared[now]]
            self.policies = (*before.policies[: was.start], *found, *before.policies[was.stop :])


def _older(policy: Policy, gone: Mapping[str, Policy]) -> Policy:
    like = gone.get(policy.id)
    return like if like == policy else policy


class _ByNamespace(Generic[P]):
    """Policies of one kind by their namespaces: a workload is for those in two or three of a mesh's hundreds.

    `changed` are the namespaces in which something is other than it was `before`. Policies are known by their identities, which
    stay theirs for as long as all are kept here.
    """

    __slots__ = ("changed", "namespaces", "policies")

    def __init__(self, policies: Sequence[P], before: "_ByNamespace[P] | None") -> None:
        old: Sequence[P] = () if before is None else before.policies
        was, now = differing(old, policies)
        gone: dict[int, P] = {id(policy): policy for policy in old[was]}
        come: dict[int, P] = {id(policy): policy for policy in policies[now]}
        fresh = [policy for policy in policies[now] if id(policy) not in gone]
        outdated = gone.keys() - come.keys()
        self.policies: Sequence[P] = policies
        self.changed: set[str] = {policy.namespace for policy in fresh}
        self.changed.update(gone[each].namespace for each in outdated)
        self.namespaces: dict[str, list[P]] = {} if before is None else before.namespaces.copy()
        for namespace in self.changed:
            known = self.namespaces.pop(namespace, [])
            self.namespaces[namespace] = [policy for policy in known if id(policy) not in outdated]
        for policy in fresh:
            self.namespaces[policy.namespace].append(policy)

    def among(self, namespaces: Iterable[str]) -> list[P]:
        """Those in `namespaces`, one namespace after the other."""
        return [policy for namespace in sorted(namespaces) for policy in self.namespaces.get(namespace, ())]
