"""What stands before a workload, as people read it and as data."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from textwrap import indent
from typing import Any

from authz.model import Action, Policy, TargetRef
from authz.peer_authentication import MtlsMode, PeerAuthentication, PortMode
from authz.request_authentication import JwtRule, RequestAuthentication
from authz.selection import select, selects
from authz.workload import GATEWAY_LABEL, ProxyKind, ServiceRef, Workload
from mesh.snapshot import Snapshot
from parser.resource_document import Resource
from parser.ward_printer import print_issuer, print_ward

__all__ = ["View", "document_of_policy", "document_of_view", "text_of_view", "views"]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A workload, or a service on its way through the waypoint that the workload is, and what stands before it.

    `policies` come in the order in which proxies ask, `tokens` with the rule that each is of in the order in which they are
    tried. `others` are the policies that do not apply, with the reason. `unasked` are the external authorizers that CUSTOM
    policies name and that cannot be asked. `modes` has what single ports take under their numbers, and all others under none.
    """

    workload: Workload
    service: ServiceRef | None
    policies: Sequence[Policy]
    tokens: Sequence[tuple[str, JwtRule]]
    others: Sequence[tuple[Resource, str]]
    unasked: Sequence[str]
    modes: Mapping[int | None, PortMode]

    @property
    def closed(self) -> bool:
        """Whether what no policy allows is denied."""
        return any(policy.action is Action.ALLOW and not policy.dry_run for policy in self.policies)


def views(snapshot: Snapshot, workload: Workload) -> Iterator[View]:
    """What stands before `workload`; if it is a waypoint, then also before each service for which policies say something else."""
    alone = _view(snapshot, workload, None)
    yield alone
    if workload.proxy is ProxyKind.WAYPOINT:
        for service in _targeted(snapshot):
            view = _view(snapshot, workload, service)
            if (view.policies, view.tokens) != (alone.policies, alone.tokens):
                yield view


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


def _view(snapshot: Snapshot, workload: Workload, service: ServiceRef | None) -> View:
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
        id(rule): f"{policy.id}#{index}"
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
        tokens=[(rules[id(rule)], rule) for rule in guard.jwt_rules],
        others=others,
        unasked=sorted(named - guard.authorizers.asked.keys()),
        modes=guard.modes,
    )


# Why a policy does not apply --------------------------------------------------------------------------------------------


def _why_not(
    policy: Policy | RequestAuthentication, workload: Workload, service: ServiceRef | None, root_namespace: str
) -> str:
    """The first thing that keeps `policy` from `workload`, in the order of `authz.selection`."""
    served = () if service is None else (service.namespace,)
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


# As text ----------------------------------------------------------------------------------------------------------------


def text_of_view(view: View, *, others: bool) -> str:
    """The view for people; `others` is whether to name what does not apply."""
    return "".join(f"{line}\n" for line in _lines(view, others=others))


def _lines(view: View, *, others: bool) -> Iterator[str]:
    through = "" if view.service is None else f", for the service {view.service.namespace}/{view.service.name}"
    yield f"{view.workload.id} ({view.workload.proxy.value}{through})"
    yield f"  mtls: {_mtls(view)}"
    yield from _token_lines(view)
    yield from _policy_lines(view)
    if view.unasked:
        names = ", ".join(name or "none" for name in view.unasked)
        yield f"  the mesh cannot ask {names}: what is to be asked of it is denied"
    yield (
        "  all else is denied, for a policy says what is allowed"
        if view.closed
        else "  all else is allowed, for no policy says what is"
    )
    if others:
        for policy, reason in view.others:
            kind = "" if isinstance(policy, Policy) else f"{type(policy).__name__} "
            yield f"  not {kind}{policy.id}: {reason}"
    elif view.others:
        count = len(view.others)
        yield f"  {count} {'policy does' if count == 1 else 'policies do'} not apply, --all says why"


def _policy_lines(view: View) -> Iterator[str]:
    """The policies that apply, by what they do."""
    denied = False
    for action, policies in groupby(view.policies, key=lambda policy: policy.action):
        yield f"  {_HEADINGS[action]}{', unless denied above' if denied and action is Action.ALLOW else ''}:"
        for policy in policies:
            yield ""
            yield indent(print_ward(policy).rstrip("\n"), "    ")
        yield ""
        denied = denied or action in (Action.CUSTOM, Action.DENY)


_HEADINGS = {
    Action.CUSTOM: "asked of an external authorizer, which may deny",
    Action.AUDIT: "marked for the log",
    Action.DENY: "denied",
    Action.ALLOW: "allowed",
}


def _mtls(view: View) -> str:
    match view.workload.proxy:
        case ProxyKind.SIDECAR:
            default = view.modes[None]
            ports = [
                f"port {port} {_mode(mode)}"
                for port, mode in view.modes.items()
                if port is not None and mode != default
            ]
            return "; ".join([_mode(default), *ports])
        case ProxyKind.GATEWAY:
            return "as its listeners say"
        case ProxyKind.WAYPOINT:
            return "always"


def _mode(mode: PortMode) -> str:
    return f"{mode.mode.value} by {mode.by or 'default'}"


def _token_lines(view: View) -> Iterator[str]:
    if not view.tokens:
        yield "  tokens: none are looked at"
        return
    yield "  tokens: tried in this order; who shows none goes on without"
    for rule_id, rule in view.tokens:
        first, *rest = print_issuer(rule).rstrip("\n").split("\n")
        yield f"    {first}  # {rule_id}"
        yield from (f"    {line}" for line in rest)


# As data ----------------------------------------------------------------------------------------------------------------


def document_of_policy(policy: Resource) -> dict[str, Any]:
    """A policy of any kind as plain data."""
    kind = "AuthorizationPolicy" if isinstance(policy, Policy) else type(policy).__name__
    return {"kind": kind, "policy": policy.id, "ward": print_ward(policy)}


def document_of_view(view: View) -> dict[str, Any]:
    """The view as plain data."""
    service = view.service
    return {
        "workload": view.workload.id,
        "proxy": view.workload.proxy.value,
        "service": None if service is None else f"{service.namespace}/{service.name}",
        "mtls": _modes(view) if view.workload.proxy is ProxyKind.SIDECAR else None,
        "tokens": [
            {"rule": rule_id, "issuer": rule.issuer, "ward": print_issuer(rule)} for rule_id, rule in view.tokens
        ],
        "policies": [
            {"action": policy.action.value, "dry_run": policy.dry_run, **document_of_policy(policy)}
            for policy in view.policies
        ],
        "cannot_be_asked": list(view.unasked),
        "otherwise": "DENY" if view.closed else "ALLOW",
        "others": [{**document_of_policy(policy), "because": reason} for policy, reason in view.others],
    }


def _modes(view: View) -> dict[str, Any]:
    default = view.modes[None]
    return {
        "mode": default.mode.value,
        "by": default.by or None,
        "ports": {
            str(port): {"mode": mode.mode.value, "by": mode.by or None}
            for port, mode in view.modes.items()
            if port is not None and mode != default
        },
    }
