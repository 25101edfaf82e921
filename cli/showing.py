"""What stands before a workload, as people read it and as data."""

from collections.abc import Iterator
from itertools import groupby
from textwrap import indent
from typing import Any

from authz.model import Action, Policy
from authz.peer_authentication import PortMode
from authz.workload import ProxyKind
from mesh.view import View
from parser.resource_document import Resource
from parser.ward_printer import print_issuer, print_ward

__all__ = ["document_of_policy", "document_of_view", "text_of_view"]

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
    for rule_id, rule, _ in view.tokens:
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
            {"rule": rule_id, "issuer": rule.issuer, "ward": print_issuer(rule)} for rule_id, rule, _ in view.tokens
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
