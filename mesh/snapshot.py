"""Snapshot: everything that decisions depend on, at one revision, compiled."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from authz.decision import Match
from authz.external import Authorizers, authorizers
from authz.mesh_config import MeshConfig
from authz.model import Action, Policy
from authz.peer_authentication import PeerAuthentication, PortMode, port_mode
from authz.request_authentication import JwtRule, RequestAuthentication, jwt_rules
from authz.selection import select
from authz.span import Span
from authz.tree import DecisionTree, compile_policies
from authz.workload import ServiceRef, Workload
from mesh.errors import UnknownWorkloadError
from mesh.registry import Registry

__all__ = ["Guard", "Snapshot"]

_SPELLED_OUT_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Guard:
    """What stands before one workload: the compiled policies, whose tokens it takes, who else must agree, and what its ports take.

    `modes` has those ports for which a policy may say something else than for all others, which are under `None`.
    """

    tree: DecisionTree
    jwt_rules: tuple[JwtRule, ...]
    authorizers: Authorizers
    modes: Mapping[int | None, PortMode]

    def mode(self, port: int | None) -> PortMode:
        """What a port of the workload takes, by the PeerAuthentications that speak for it."""
        return self.modes.get(port) or self.modes[None]


class Snapshot:
    """Policies of all kinds, workloads and the mesh configuration at `revision`. What it answers never changes.

    The trees of all its workloads are compiled when it is made; workloads with the same policies share one.
    """

    __slots__ = (
        "_by_id",
        "_guards",
        "_ports",
        "_registered",
        "_trees",
        "config",
        "peer_authentications",
        "policies",
        "registry",
        "request_authentications",
        "revision",
    )

    def __init__(  # noqa: PLR0913  # what a mesh declares
        self,
        *,
        policies: Sequence[Policy],
        workloads: Iterable[Workload],
        config: MeshConfig,
        revision: str,
        peer_authentications: Sequence[PeerAuthentication] = (),
        request_authentications: Sequence[RequestAuthentication] = (),
    ) -> None:
        self.policies = tuple(policies)
        self.request_authentications = tuple(request_authentications)
        self.peer_authentications = tuple(peer_authentications)
        self._by_id = {policy.id: policy for policy in self.policies}
        self.registry = Registry(workloads)
        self.config = config
        self.revision = revision
        self._trees: dict[tuple[int, ...], DecisionTree] = {}
        # The ports that policies speak of, and any other.
        self._ports = (None, *sorted({port for policy in self.peer_authentications for port in policy.port_modes}))
        self._guards: dict[tuple[str, frozenset[tuple[str, str]], bool, ServiceRef | None], Guard] = {}
        # The registry keeps its workloads for as long as this lives, so each stands for itself.
        self._registered = {id(workload): self._guarded(workload, None) for workload in self.registry}

    def guard(self, workload: Workload, service: ServiceRef | None = None) -> Guard:
        """What stands before `workload`, which need not be one of the registry's.

        `service` is the one whose chain of a waypoint is asked about.
        """
        if service is None and (registered := self._registered.get(id(workload))) is not None:
            return registered
        return self._guarded(workload, service)

    def _guarded(self, workload: Workload, service: ServiceRef | None) -> Guard:
        key = (workload.namespace, frozenset(workload.labels.items()), workload.router, service)
        if (known := self._guards.get(key)) is not None:
            return known
        config = self.config
        selected = select(
            self.policies,
            workload,
            root_namespace=config.root_namespace,
            service=service,
            selectors_on_gateways=config.selectors_on_gateways,
        )
        tree = self._tree(selected)
        rules = jwt_rules(
            self.request_authentications,
            workload,
            root_namespace=config.root_namespace,
            service=service,
            selectors_on_gateways=config.selectors_on_gateways,
        )
        modes = {
            port: port_mode(self.peer_authentications, workload, port, root_namespace=config.root_namespace)
            for port in self._ports
        }
        guard = Guard(tree, rules, authorizers(tree.providers, config), modes)
        # Requests may spell out any number of workloads; what is kept of them is bounded.
        if len(self._guards) < _SPELLED_OUT_LIMIT + len(self.registry):
            self._guards[key] = guard
        return guard

    def tree(self, workload: Workload, service: ServiceRef | None = None) -> DecisionTree:
        """The compiled policies that apply to `workload`."""
        return self.guard(workload, service).tree

    def _tree(self, selected: tuple[Policy, ...]) -> DecisionTree:
        identity = tuple(map(id, selected))
        if (tree := self._trees.get(identity)) is None:
            tree = compile_policies(selected, trust_domains=self.config.trust_domains)
            if len(self._trees) < _SPELLED_OUT_LIMIT + len(self.registry):
                self._trees[identity] = tree
        return tree

    def jwt_rules(self) -> tuple[JwtRule, ...]:
        """The rules of all RequestAuthentications, whomever they apply to."""
        return tuple(rule for policy in self.request_authentications for rule in policy.jwt_rules)

    def port_mode(self, workload: Workload, port: int | None) -> PortMode:
        """What `port` of `workload` takes."""
        return self.guard(workload).mode(port)

    def warnings(self) -> Iterator[str]:
        """What its policies ask for and nobody will do, a sentence each."""
        if not self.request_authentications and any(
            attribute.key.startswith("request.auth.") for tree in self._trees.values() for attribute in tree.reads
        ):
            yield (
                "policies look at tokens, and no RequestAuthentication says whose to take: `request.auth.*` and "
                "`requestPrincipals` never match, and their negations always do"
            )
        # What a mesh configuration lacks is said where it is read; here, that there is none to ask.
        if not self.config.extension_providers and (
            custom := sorted(policy.id for policy in self.policies if policy.action is Action.CUSTOM)
        ):
            yield (
                f"no mesh configuration names external authorizers: what the rules of {', '.join(custom)} match is denied, "
                "as Istio does"
            )

    def place(self, match: Match) -> Span | None:
        """Where the rule that matched is written, as far as the policies came from documents."""
        policy = self._by_id.get(match.policy)
        return None if policy is None else policy.span("spec", "rules", match.rule)

    def find(self, *, workload: str | None, principal: str | None, address: str | None) -> Workload:
        """The destination of a request: by its id if given, else by the principal it runs as, else by its address.

        Several candidates are as good as one where the same policies apply to all of them.

        Raises:
            UnknownWorkloadError: None fits, or several with different policies do.
        """
        if workload is not None:
            candidates = self.registry.named(workload)
        else:
            candidates = self.registry.candidates(principal=principal, address=address)
        if len(candidates) > 1 and len({self._outcome(candidate) for candidate in candidates}) > 1:
            raise UnknownWorkloadError(_ambiguous(candidates))
        return candidates[0]

    def _outcome(self, workload: Workload) -> tuple[object, ...]:
        """What is the same for workloads that are guarded alike."""
        guard = self.guard(workload)
        return id(guard.tree), tuple(map(id, guard.jwt_rules)), workload.proxy, tuple(guard.modes.values())


def _ambiguous(candidates: Sequence[Workload]) -> str:
    names = sorted({candidate.id for candidate in candidates})
    if len(names) == 1:
        return f"several workloads are named `{names[0]}`, and different policies apply to them: rename all but one"
    listed = ", ".join(f"`{name}`" for name in names[:5]) + (", …" if len(names) > 5 else "")
    return f"the destination may be any of {listed}, with different policies: name it in `context_extensions`"
