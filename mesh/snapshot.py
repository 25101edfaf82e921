"""Snapshot: everything that decisions depend on, at one revision, compiled."""

from collections.abc import Iterable, Iterator, Sequence

from authz.decision import Match
from authz.mesh_config import MeshConfig
from authz.model import Action, Policy
from authz.peer_authentication import PeerAuthentication, PortMode
from authz.request_authentication import JwtRule, RequestAuthentication
from authz.span import Span
from authz.tree import DecisionTree
from authz.workload import ServiceRef, Workload
from mesh.errors import UnknownWorkloadError
from mesh.guards import Guard, Guards
from mesh.registry import Registry

__all__ = ["Guard", "Snapshot"]


class Snapshot:
    """Policies of all kinds, workloads and the mesh configuration at `revision`. What it answers never changes.

    The trees of all its workloads are compiled when it is made; workloads with the same policies share one. What a `previous`
    snapshot has compiled of the same is taken over, and makes no difference but to the time that it takes.

    Raises:
        BudgetError: The policies say more than `budget` allows, as in `mesh.guards`.
    """

    __slots__ = (
        "_by_id",
        "_warnings",
        "config",
        "guards",
        "peer_authentications",
        "policies",
        "registry",
        "request_authentications",
        "revision",
        "workloads",
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
        previous: "Snapshot | None" = None,
        budget: int | None = None,
    ) -> None:
        self.policies = tuple(policies)
        self.request_authentications = tuple(request_authentications)
        self.peer_authentications = tuple(peer_authentications)
        self.workloads = tuple(workloads)
        self.config = config
        self.revision = revision
        same = previous is not None and list(map(id, self.workloads)) == list(map(id, previous.workloads))
        self.registry: Registry = previous.registry if previous is not None and same else Registry(self.workloads)
        self.guards: Guards = Guards(
            policies=self.policies,
            request_authentications=self.request_authentications,
            peer_authentications=self.peer_authentications,
            registry=self.registry,
            config=config,
            previous=None if previous is None else previous.guards,
            budget=budget,
        )
        self._by_id: dict[str, Policy] = {}
        self._warnings = tuple(self._gaps())

    def guard(self, workload: Workload, service: ServiceRef | None = None) -> Guard:
        """What stands before `workload`, which need not be one of the registry's.

        `service` is the one whose chain of a waypoint is asked about.
        """
        return self.guards.of(workload, service)

    def tree(self, workload: Workload, service: ServiceRef | None = None) -> DecisionTree:
        """The compiled policies that apply to `workload`."""
        return self.guard(workload, service).tree

    def jwt_rules(self) -> tuple[JwtRule, ...]:
        """The rules of all RequestAuthentications, whomever they apply to."""
        return tuple(rule for policy in self.request_authentications for rule in policy.jwt_rules)

    def port_mode(self, workload: Workload, port: int | None) -> PortMode:
        """What `port` of `workload` takes."""
        return self.guard(workload).mode(port)

    def warnings(self) -> tuple[str, ...]:
        """What its policies ask for and nobody will do, a sentence each."""
        return self._warnings

    def _gaps(self) -> Iterator[str]:
        if not self.request_authentications and self.guards.look_at_tokens:
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

    def parts(self) -> list[object]:
        """The largest things that it holds, thousands of them."""
        return [*self.guards.trees.values(), *self.policies]

    def place(self, match: Match) -> Span | None:
        """Where the rule that matched is written, as far as the policies came from documents."""
        if not self._by_id:  # only who shows decisions asks
            self._by_id = {policy.id: policy for policy in self.policies}
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
        return id(guard.tree), tuple(map(id, guard.jwt_rules)), workload.proxy, frozenset(guard.modes.items())


def _ambiguous(candidates: Sequence[Workload]) -> str:
    names = sorted({candidate.id for candidate in candidates})
    if len(names) == 1:
        return f"several workloads are named `{names[0]}`, and different policies apply to them: rename all but one"
    listed = ", ".join(f"`{name}`" for name in names[:5]) + (", …" if len(names) > 5 else "")
    return f"the destination may be any of {listed}, with different policies: name it in `context_extensions`"
