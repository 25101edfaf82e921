"""View: what stands before a workload, and why the rest does not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from authz.model import Action, Policy, TargetRef
from authz.peer_authentication import MtlsMode, PeerAuthentication, PortMode
from authz.request_authentication import JwtRule, RequestAuthentication
from authz.selection import select, selects
from authz.span import Span
from authz.workload import GATEWAY_LABEL, ProxyKind, ServiceRef, Workload
from mesh.snapshot import Snapshot
from parser.resource_document import Resource

__all__ = ["TokenRule", "View", "view", "views"]


class TokenRule(NamedTuple):
    """A rule for tokens by its id, `namespace/name#index`, and where it is written."""

    id: str
    rule: JwtRule
    place: Span | None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A workload, or a service on its way through the waypoint that the workload is, and what stands before it.

    `policies` come in the order in which proxies ask, `tokens` in the order in which they are tried. `others` are the policies
    that do not apply, with the reason. `unasked` are the external authorizers that CUSTOM policies name and that cannot be
    asked. `modes` has what single ports take under their numbers, and all others under none.
    """

    workload: Workload
    service: ServiceRef | None
    policies: Sequence[Policy]
    tokens: Sequence[TokenRule]
    others: Sequence[tuple[Resource, str]]
    unasked: Sequence[str]
    modes: Mapping[int | None, PortMode]

    @property
    def closed(self) -> bool:
        """Whether what no policy allows is denied."""
        return any(policy.action is Action.ALLOW and not policy.dry_run for policy in self.policies)


def views(snapshot: Snapshot, workload: Workload) -> Iterator[View]:
    """What stands before `workload`; if it is a waypoint, then also before each service for which policies say something else."""
    alone = view(snapshot, workload)
    yield alone
    if workload.proxy is ProxyKind.WAYPOINT:
        for service in _targeted(snapshot):
            before = view(snapshot, workload, service)
            if (before.policies, before.tokens) != (alone.policies, alone.tokens):
                yield before


def _targeted(snapshot: Snapshot) -> list[ServiceRef]:
    """The services that policies name as their targets."""
    found = {
        ServiceRef(namespace=policy.namespace, name=reference.name, external=reference.kind == "ServiceEntry")
        for policy in _attachable(snapshot)
        for reference in policy.target_refs
        if reference.kind in ("Service", "ServiceEntry")
    }
    return sorted(found, key=lambda service: (service.namespace, service.name, service.external))


def _attachable(snapshot: Snapshot) -> Sequence[Policy | RequestAuthentication]:
    return [*snapshot.policies, *snapshot.request_authentications]


# The order in which proxies ask (semantics 0.2).
_STAGES = (Action.CUSTOM, Action.AUDIT, Action.DENY, Action.ALLOW)


def view(snapshot: Snapshot, workload: Workload, service: ServiceRef | None = None) -> View:
    """What stands before `workload`, or before `service` on its way through the waypoint that it is."""
    config = snapshot.config
    guard = snapshot.guard(workload, service)
    chosen = select(
        _attachable(snapshot),
        workload,
        root_namespace=config.root_namespace,
        service=service,
        selectors_on_gateways=config.selectors_on_gateways,
    )
    policies = [policy for policy in chosen if isinstance(policy, Policy)]
    applying = set(map(id, chosen))
    rules = {
        id(rule): TokenRule(f"{policy.id}#{index}", rule, policy.spans.get(("spec", "jwtRules", index)))
        for policy in snapshot.request_authentications
        for index, rule in enumerate(policy.jwt_rules)
    }
    others: list[tuple[Resource, str]] = [
        (policy, _why_not(policy, workload, service, config.root_namespace))
        for policy in _attachable(snapshot)
        if id(policy) not in applying
    ]
    counting = {mode.by for mode in guard.modes.values()}
    others += (
        (peer, _why_not_peer(peer, workload, config.root_namespace))
        for peer in snapshot.peer_authentications
        if peer.id not in counting
    )
    named = {policy.provider or "" for policy in policies if policy.action is Action.CUSTOM}
    return View(
        workload=workload,
        service=service,
        policies=sorted(policies, key=lambda policy: (_STAGES.index(policy.action), policy.id)),
        tokens=[rules[id(rule)] for rule in guard.jwt_rules],
        others=others,
        unasked=sorted(named - guard.authorizers.asked.keys()),
        modes=guard.modes,
    )


# Why a policy does not apply --------------------------------------------------------------------------------------------


def _why_not(
    policy: Policy | RequestAuthentication, workload: Workload, service: ServiceRef | None, root_namespace: str
) -> str:
    """The first thing that keeps `policy` from `workload`, in the order of `authz.selection`."""
    served = () if service is None or workload.proxy is not ProxyKind.WAYPOINT else (service.namespace,)
    if policy.namespace not in (workload.namespace, root_namespace, *served):
        return f"it is for the namespace {policy.namespace}"
    if policy.target_refs:
        targets = " or ".join(map(_target, policy.target_refs))
        if workload.proxy is ProxyKind.SIDECAR or GATEWAY_LABEL not in workload.labels:
            return f"it is for {targets}, and this is no gateway of the Gateway API"
        return f"it is for {targets}"
    if workload.proxy is ProxyKind.WAYPOINT:
        return "it names no target, and a waypoint takes only what does"
    if policy.selector is not None and not selects(policy.selector, workload):
        return _missing(policy.selector, workload)
    return "it names no target, and the mesh is configured so that gateways take only what does"


def _why_not_peer(policy: PeerAuthentication, workload: Workload, root_namespace: str) -> str:
    """What keeps a PeerAuthentication from having a say (semantics 5.1)."""
    if workload.proxy is not ProxyKind.SIDECAR:
        return f"no PeerAuthentication speaks for a {workload.proxy.value}"
    if policy.namespace not in (workload.namespace, root_namespace):
        return f"it is for the namespace {policy.namespace}"
    if policy.selector and policy.namespace == root_namespace:
        return "it has a selector, and in the root namespace such ones count for nobody"
    if policy.selector and not selects(policy.selector, workload):
        return _missing(policy.selector, workload)
    if policy.mode is MtlsMode.UNSET and not policy.port_modes:
        return "it sets no mode"
    return "an older one, or one for less, counts"


def _target(reference: TargetRef) -> str:
    return f"{reference.kind} {reference.name}"


def _missing(selector: Mapping[str, str], workload: Workload) -> str:
    key, value = next((key, value) for key, value in selector.items() if workload.labels.get(key) != value)
    has = f"has {key}={workload.labels[key]}" if key in workload.labels else f"has no label {key}"
    return f"it is for {key}={value}, and this {has}"
