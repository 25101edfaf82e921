"""Snapshot: everything that decisions depend on, at one revision, compiled."""

from collections.abc import Iterable, Iterator, Sequence

from authz.decision import Match
from authz.mesh_config import MeshConfig
from authz.model import Action, Policy
from authz.peer_authentication import PeerAuthentication, PortMode, port_mode
from authz.selection import select
from authz.span import Span
from authz.tree import DecisionTree, compile_policies
from authz.workload import Workload
from mesh.errors import UnknownWorkloadError
from mesh.registry import Registry

__all__ = ["Snapshot"]

_SPELLED_OUT_LIMIT = 1024


class Snapshot:
    """Policies of both kinds, workloads and the mesh configuration at `revision`. What it answers never changes.

    The trees of all its workloads are compiled when it is made; workloads with the same policies share one.
    """

    __slots__ = (
        "_by_id",
        "_modes",
        "_spelled_out",
        "_trees",
        "config",
        "peer_authentications",
        "policies",
        "registry",
        "revision",
    )

    def __init__(  # what a mesh declares
        self,
        *,
        policies: Sequence[Policy],
        workloads: Iterable[Workload],
        config: MeshConfig,
        revision: str,
        peer_authentications: Sequence[PeerAuthentication] = (),
    ) -> None:
        self.policies = tuple(policies)
        self.peer_authentications = tuple(peer_authentications)
        self._by_id = {policy.id: policy for policy in self.policies}
        self.registry = Registry(workloads)
        self.config = config
        self.revision = revision
        self._trees: dict[tuple[int, ...], DecisionTree] = {}
        self._modes: dict[tuple[str, frozenset[tuple[str, str]], int | None], PortMode] = {}
        self._spelled_out: dict[tuple[str, frozenset[tuple[str, str]]], DecisionTree] = {}
        for workload in self.registry:
            self.tree(workload)

    def tree(self, workload: Workload) -> DecisionTree:
        """The compiled policies that apply to `workload`, which need not be one of the registry's."""
        key = (workload.namespace, frozenset(workload.labels.items()))
        if (known := self._spelled_out.get(key)) is not None:
            return known
        selected = select(self.policies, workload, root_namespace=self.config.root_namespace)
        identity = tuple(map(id, selected))
        if (tree := self._trees.get(identity)) is None:
            tree = compile_policies(selected, trust_domains=self.config.trust_domains)
            if len(self._trees) < _SPELLED_OUT_LIMIT + len(self.registry):
                self._trees[identity] = tree
        # Requests may spell out any number of workloads; what is kept of them is bounded.
        if len(self._spelled_out) < _SPELLED_OUT_LIMIT + len(self.registry):
            self._spelled_out[key] = tree
        return tree

    def port_mode(self, workload: Workload, port: int | None) -> PortMode:
        """What `port` of `workload` takes, by the PeerAuthentications that speak for it."""
        key = (workload.namespace, frozenset(workload.labels.items()), port)
        if (mode := self._modes.get(key)) is None:
            mode = port_mode(self.peer_authentications, workload, port, root_namespace=self.config.root_namespace)
            if len(self._modes) < _SPELLED_OUT_LIMIT + len(self.registry):
                self._modes[key] = mode
        return mode

    def gaps(self) -> Iterator[str]:
        """What its policies ask for and this version does not do, a sentence each."""
        if any(attribute.key.startswith("request.auth.") for tree in self._trees.values() for attribute in tree.reads):
            yield (
                "policies look at tokens, and this version verifies none: on live requests `request.auth.*` and "
                "`requestPrincipals` never match, and their negations always do"
            )
        if custom := sorted(policy.id for policy in self.policies if policy.action is Action.CUSTOM):
            yield (
                f"this version asks no external authorizer: what the rules of {', '.join(custom)} match is denied, as "
                "Istio does for a provider that it cannot use"
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
        if len(candidates) > 1 and len({id(self.tree(candidate)) for candidate in candidates}) > 1:
            raise UnknownWorkloadError(_ambiguous(candidates))
        return candidates[0]


def _ambiguous(candidates: Sequence[Workload]) -> str:
    names = sorted({candidate.id for candidate in candidates})
    if len(names) == 1:
        return f"several workloads are named `{names[0]}`, and different policies apply to them: rename all but one"
    listed = ", ".join(f"`{name}`" for name in names[:5]) + (", …" if len(names) > 5 else "")
    return f"the destination may be any of {listed}, with different policies: name it in `context_extensions`"
