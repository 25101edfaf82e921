"""Cross checks: what is wrong only with several documents together, or with a document in this mesh.

Each names its row: in section 8 of the semantics, or 10.2 for what Istio takes and nobody can mean. Manifests may be a part of
what a cluster holds, so what seems to be missing is a warning, and is looked for only among kinds of which there are any.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from authz.keys import OPERATION_FIELDS, SOURCE_FIELDS, Attribute, resolve
from authz.mesh_config import MeshConfig
from authz.model import Action, Policy, Rule, TargetRef, field_name
from authz.peer_authentication import PeerAuthentication
from authz.request_authentication import RequestAuthentication
from authz.selection import selects
from authz.span import Span
from authz.workload import WAYPOINT_CLASS
from parser.diagnostics import Diagnostic, quoted
from parser.difference import differing
from parser.inventory import Inventory
from parser.manifests import Manifests
from parser.problems import Problems, nearest
from parser.reach import Reach

__all__ = ["MeshChecks", "check_mesh"]

_Attached = Policy | RequestAuthentication
_Resource = _Attached | PeerAuthentication
_AUTH = "request.auth."
_SUGGESTIONS = 100
_MANY = 1000


def check_mesh(manifests: Manifests, config: MeshConfig | None) -> tuple[Diagnostic, ...]:
    """What is wrong with `manifests` as a whole in a mesh of this configuration; without one it is Istio's default.

    Each policy is looked at with the workloads that it is for, and so is every workload whose tokens matter.
    """
    return MeshChecks().check(manifests, config)


class MeshChecks:
    """The same checks on one mesh after the other.

    A policy in which nothing was found is not looked at anew while all that it was compared with stays the same: everything
    in the manifests but the policies without tokens.
    """

    def __init__(self) -> None:
        self._compared_with: tuple[object, ...] = ()
        self._inventory: Inventory | None = None
        self._reach: Reach | None = None
        self._policies: Sequence[_Resource] = ()
        # By identity, which stays theirs for as long as all are kept.
        self._wanting: set[int] = set()

    def check(self, manifests: Manifests, config: MeshConfig | None) -> tuple[Diagnostic, ...]:
        """What `check_mesh` says of them, whatever was checked before."""
        compared_with = (
            config,
            manifests.workloads,
            manifests.namespaces,
            manifests.services,
            manifests.gateways,
            manifests.request_authentications,
        )
        if self._inventory is None or self._reach is None or compared_with != self._compared_with:
            root = (config or MeshConfig()).root_namespace
            self._inventory = Inventory(manifests, root_namespace=root)
            self._reach = Reach(manifests.workloads, manifests.request_authentications, root_namespace=root)
            self._compared_with, self._policies = compared_with, ()
        policies: tuple[_Resource, ...] = (
            *manifests.policies,
            *manifests.request_authentications,
            *manifests.peer_authentications,
        )
        candidates = self._candidates(policies)
        checker = _Checker(manifests, config, self._inventory, self._reach)
        self._wanting = checker.run(candidates)
        self._policies = policies
        return checker.diagnostics

    def _candidates(self, policies: Sequence[_Resource]) -> Sequence[_Resource]:
        """Of `policies` those that were not there before, or in which something was found."""
        if not self._wanting:
            return policies[differing(self._policies, policies)[1]]
        still = set(map(id, self._policies)) - self._wanting
        return [policy for policy in policies if id(policy) not in still]


class _Checker:
    """The checks on one mesh."""

    def __init__(self, manifests: Manifests, config: MeshConfig | None, inventory: Inventory, reach: Reach) -> None:
        self._manifests = manifests
        self._config = config
        self._root = (config or MeshConfig()).root_namespace
        # `cluster.local` stands for this mesh whatever its name is.
        self._trust_domains = frozenset((*(config or MeshConfig()).trust_domains, "cluster.local"))
        self._inventory = inventory
        self._reach = reach
        self._suggestions = 0
        self._found = 0
        # Each file has a bound on its problems, as when it is read.
        self._problems: dict[str, Problems] = defaultdict(Problems)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What was found."""
        return tuple(diagnostic for problems in self._problems.values() for diagnostic in problems.diagnostics)

    def run(self, candidates: Iterable[_Resource]) -> set[int]:
        """Look at policies, and at the rest of the mesh; the identities of those in which something was found."""
        wanting = {id(policy) for policy in candidates if not self._is_clean(policy)}
        self._authorizers()
        return wanting

    def _is_clean(self, policy: _Resource) -> bool:
        found = self._found
        match policy:
            case Policy():
                self._targets(policy)
                self._reached(policy)
                self._provider(policy)
                self._callers(policy)
                self._rules(policy)
            case RequestAuthentication():
                self._targets(policy)
                self._reached(policy)
            case PeerAuthentication():
                self._peers(policy)
        return self._found == found

    def _full(self, file: str) -> bool:
        """Whether more problems of a file would not be kept. What is not said for that was found all the same."""
        full = self._problems[file].full
        self._found += full
        return full

    def _error(self, code: str, message: str, span: Span, remedy: str) -> None:
        self._found += 1
        self._problems[span.file].error(code, message, span, help=remedy)

    def _warning(self, code: str, message: str, span: Span, remedy: str) -> None:
        self._found += 1
        self._problems[span.file].warning(code, message, span, help=remedy)

    def _near(self, word: str, known: Iterable[str]) -> str | None:
        """The one of `known` that was likely meant. Comparing costs more than all the checks, so it is done a few times only."""
        if self._suggestions == _SUGGESTIONS:
            return None
        self._suggestions += 1
        names = sorted(known)
        return nearest(word, names) if len(names) <= _MANY else None

    # What a policy is for ----------------------------------------------------------------------------------------------

    def _targets(self, policy: _Attached) -> None:
        several = ("spec", "targetRefs", 0) in policy.spans
        for index, target in enumerate(policy.target_refs):
            at = _place(policy, "spec", "targetRefs", index) if several else _place(policy, "spec", "targetRef")
            if target.kind == "GatewayClass":
                self._gateway_class(policy, target, at)
            else:
                self._target(policy, target, at)

    def _gateway_class(self, policy: _Attached, target: TargetRef, at: Span) -> None:
        # 10.2: a target that is no gateway. Semantics 1.2 has one class, in one namespace.
        if target.name != WAYPOINT_CLASS or policy.namespace != self._root:
            self._error(
                "inert-target",
                f"for Istio the one GatewayClass to attach to is `{WAYPOINT_CLASS}`, in the namespace {quoted(self._root)}",
                at,
                "name a Gateway, or put the policy there: here it applies to nothing",
            )

    def _target(self, policy: _Attached, target: TargetRef, at: Span) -> None:
        if (known := self._inventory.targets(target.kind)) and (policy.namespace, target.name) not in known:
            # 10.2, 8.8
            near = self._near(target.name, (name for namespace, name in known if namespace == policy.namespace))
            self._warning(
                "missing-target",
                f"no {target.kind} {quoted(f'{policy.namespace}/{target.name}')} in the manifests",
                at,
                f"did you mean `{near}`?" if near else "a policy is in the namespace of its target",
            )
        elif target.kind != "Gateway" and self._reach.exists and not self._reach.has_waypoint:
            # 10.2: sidecars ignore whatever has a target.
            self._warning(
                "no-waypoint",
                f"only a waypoint takes a policy for a {target.kind}, and the manifests have none",
                at,
                "attach it with a `selector` to workloads with sidecars, or add the waypoint",
            )

    def _reached(self, policy: _Attached) -> None:
        if policy.target_refs or not self._reach.exists or next(self._reach.of(policy), None) is not None:
            return
        self._nobody(policy)

    def _nobody(self, policy: _Resource) -> None:
        # IST0127
        if not policy.selector and policy.namespace == self._root:
            return
        where = "the mesh" if policy.namespace == self._root else f"namespace {quoted(policy.namespace)}"
        if policy.selector:
            message, at = f"no workload in {where} has these labels", _place(policy, "spec", "selector")
        else:
            message, at = f"no workload in {where}", _place(policy, "metadata", "name")
        if not self._full(at.file):
            remedy = self._near_label(policy) or "there are workloads elsewhere: look for a misspelt name"
            self._warning("no-workload", message, at, remedy)

    def _near_label(self, policy: _Resource) -> str | None:
        for label, value in (policy.selector or {}).items():
            values = self._reach.values(policy.namespace, label)
            if value not in values and (near := self._near(value, values)) is not None:
                return f"did you mean {quoted(f'{label}: {near}')}?"
        return None

    def _peers(self, policy: PeerAuthentication) -> None:
        if policy.selector and policy.namespace == self._root:
            # 10.2: semantics 5.1
            self._error(
                "selector-in-root",
                f"in the root namespace {quoted(self._root)} a PeerAuthentication with a selector counts for nobody",
                _place(policy, "spec", "selector"),
                "put it into the namespace of its workloads, or remove the selector to mean the whole mesh",
            )
        elif self._reach.exists:
            candidates = self._reach.candidates(policy.namespace, policy.selector or {})
            if not any(selects(policy.selector or {}, workload) for workload in candidates):
                self._nobody(policy)

    # What a policy names -----------------------------------------------------------------------------------------------

    def _provider(self, policy: Policy) -> None:
        if self._config is None or policy.action is not Action.CUSTOM or policy.provider is None:
            return
        names = [provider.name for provider in self._config.extension_providers]
        if policy.provider not in names:
            # 6.3
            near = self._near(policy.provider, names)
            known = (
                f"its authorizers are {', '.join(map(quoted, names[:5]))}"
                if names
                else "it has no `extensionProviders`"
            )
            self._warning(
                "unknown-provider",
                f"the mesh configuration has no external authorizer {quoted(policy.provider)}: Istio denies what these "
                "rules match",
                _place(policy, "spec", "provider", "name"),
                f"did you mean `{near}`?" if near else known,
            )

    def _authorizers(self) -> None:
        for provider in () if self._config is None else self._config.extension_providers:
            if provider.span is not None and self._inventory.lacks_host(provider.service):
                # 8.7
                self._warning(
                    "unknown-service",
                    f"no Service or ServiceEntry in the manifests has the host of {quoted(provider.service)}: Istio denies "
                    "what it should ask this authorizer about",
                    provider.span,
                    "write the host in full, as `name.namespace.svc.cluster.local`, or add the ServiceEntry",
                )

    def _callers(self, policy: Policy) -> None:
        for index, rule in enumerate(policy.rules):
            for number, source in enumerate(rule.sources):
                path = ("spec", "rules", index, "from", number, "source")
                for field in _NAMING:
                    for prefix in ("", "not_"):
                        names = getattr(source, prefix + field)
                        if names:
                            self._namespaces(policy, (*path, field_name(prefix + field)), names, _NAMING[field])
            for number, condition in enumerate(rule.conditions):
                if (read := _NAMING_KEYS.get(condition.key)) is not None:
                    when = ("spec", "rules", index, "when", number)
                    self._namespaces(policy, (*when, "values"), condition.values, read)
                    self._namespaces(policy, (*when, "notValues"), condition.not_values, read)

    def _namespaces(
        self,
        policy: Policy,
        path: tuple[str | int, ...],
        values: tuple[str, ...],
        read: "_Reading",
    ) -> None:
        for index, value in enumerate(values):
            name = read(value, self._trust_domains)
            if name is None or not self._inventory.lacks_namespace(name):
                continue
            at = _place(policy, *path, index)
            if self._full(at.file):
                return
            # IST0101
            near = self._near(name, self._inventory.namespaces)
            self._warning(
                "unknown-namespace",
                f"no namespace in the manifests is {quoted(name)}",
                at,
                f"did you mean `{near}`?" if near else "look for a misspelt name",
            )

    # Rules that match nothing ------------------------------------------------------------------------------------------

    def _rules(self, policy: Policy) -> None:
        reads = [frozenset(_reads(rule)) for rule in policy.rules]
        tokens = [index for index, keys in enumerate(reads) if any(each.key.startswith(_AUTH) for each in keys)]
        if tokens and self._manifests.request_authentications and self._tokenless(policy):
            # 10.2: without a rule for tokens there are never any claims (4.1).
            self._warning(
                "no-tokens",
                "this rule looks at tokens, and no RequestAuthentication verifies any for the workloads of this policy",
                _place(policy, "spec", "rules", tokens[0]),
                "add a RequestAuthentication with `jwtRules` for them",
            )
        if policy.action is not Action.ALLOW or not self._inventory.has_opaque_ports:
            return
        http = [index for index, keys in enumerate(reads) if any(each.http_only for each in keys)]
        if http and self._only_tcp(policy):
            for index in http:
                # 10.2: on TCP an ALLOW rule with a part for HTTP is dropped as a whole (0.5).
                self._warning(
                    "dead-rule",
                    "this rule looks at HTTP, and the services of all its workloads carry something else: it allows nothing",
                    _place(policy, "spec", "rules", index),
                    "leave out what only HTTP has, or name the ports `http-…`, or set their `appProtocol`",
                )

    def _tokenless(self, policy: Policy) -> bool:
        # A waypoint's services have chains of their own, which are not looked at here.
        if any(target.kind != "Gateway" for target in policy.target_refs):
            return False
        workload = None
        for workload in self._reach.of(policy):
            if self._reach.takes_tokens(workload):
                return False
        return workload is not None

    def _only_tcp(self, policy: Policy) -> bool:
        workload = None
        for workload in self._reach.of(policy):
            if not self._inventory.is_opaque(workload):
                return False
        return workload is not None


_Reading = Callable[[str, frozenset[str]], str | None]


def _itself(value: str, _: frozenset[str]) -> str | None:
    return value


def _of_principal(value: str, trust_domains: frozenset[str]) -> str | None:
    """The namespace of this mesh that a principal names; none where it is not spelled out, or another mesh's."""
    match value.split("/"):
        case [trust_domain, "ns", name, *_] if trust_domain in trust_domains and "*" not in name:
            return name
        case _:
            return None


def _of_account(value: str, _: frozenset[str]) -> str | None:
    """The namespace that a service account names, if it is another's than the policy's own."""
    namespace, slash, _account = value.partition("/")
    return namespace if slash else None


_NAMING: Mapping[str, _Reading] = {
    "namespaces": _itself,
    "principals": _of_principal,
    "service_accounts": _of_account,
}
_NAMING_KEYS = {SOURCE_FIELDS[field].key: read for field, read in _NAMING.items()}


def _place(policy: _Resource, *path: str | int) -> Span:
    """Where the value at `path` is written, or what is around it."""
    for length in range(len(path), -1, -1):
        if (found := policy.spans.get(path[:length])) is not None:
            return found
    return Span("", 1, 1, 1, 1)


def _reads(rule: Rule) -> Iterator[Attribute]:
    """What a rule looks at."""
    for source in rule.sources:
        yield from (
            at for field, at in SOURCE_FIELDS.items() if getattr(source, field) or getattr(source, f"not_{field}")
        )
    for operation in rule.operations:
        yield from (
            at
            for field, at in OPERATION_FIELDS.items()
            if getattr(operation, field) or getattr(operation, f"not_{field}")
        )
    for condition in rule.conditions:
        yield resolve(condition.key)
