"""Engines that decide in this process: meshward, and two that Python programs use. Each is asked as its own manual asks it at its fastest."""

from collections.abc import Callable
from typing import Any

import casbin  # type: ignore[import-untyped]  # it ships no types
import cedarpy
from casbin.model.model_fast import FastModel  # type: ignore[import-untyped]  # likewise

from authz.decision import Verdict
from authz.tree import compile_policies
from benchmarks.apart.sets import Asked, Wanted, attributes, policies, wanted

__all__ = ["ENGINES", "Engine"]

Ready = Any
"""A request in the engine's own form. Making it is not timed, for any of them."""

Engine = tuple[Callable[[Asked], Ready], Callable[[Ready], bool]]
"""How a request is put, and how it is decided."""

_CASBIN = """
[request_definition]
r = path, caller, method
[policy_definition]
p = path, caller, method
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = {matcher}
"""
_CASBIN_PATH = {
    "exact path": "r.path == p.path",
    "path prefix": "starts(r.path, p.path)",
    "path suffix": "ends(r.path, p.path)",
    "mixed": "r.caller == p.caller && r.method == p.method && matches(r.path, p.path)",
}


def _meshward(name: str, size: int) -> Engine:
    decide = compile_policies(policies(name, size), trust_domains=("cluster.local",)).decide
    return attributes, lambda request: decide(request).verdict is Verdict.ALLOW


def _cedar(name: str, size: int) -> Engine:
    """Policies and entities are parsed beforehand; its Python interface takes the request as a dictionary."""
    parsed = cedarpy.PolicySet.from_str("\n".join(_permit(wanted(name, number)) for number in range(size)))
    nobody = cedarpy.Entities.from_json_str("[]")

    def put(request: Asked) -> Ready:
        return {
            "principal": {"type": "Caller", "id": request.caller},
            "action": {"type": "Action", "id": request.method},
            "resource": {"type": "Service", "id": "api"},
            "context": {"path": request.path},
        }

    return put, lambda request: bool(cedarpy.is_authorized(request, parsed, nobody).allowed)


def _permit(rule: Wanted) -> str:
    caller = "principal" if rule.caller is None else f'principal == Caller::"{rule.caller}"'
    method = "action" if rule.method is None else f'action == Action::"{rule.method}"'
    return f'permit({caller}, {method}, resource) when {{ context.path {"like" if "*" in rule.path else "=="} "{rule.path}" }};'


def _casbin(name: str, size: int) -> Engine:
    """Its enforcer with an index, by the one field of the set that an index over equal text can use, where there is one."""
    # The index looks under the same place of a rule as of the request, which is why both have the same fields.
    model = _CASBIN.format(matcher=_CASBIN_PATH[name])
    index = {"exact path": [0, 1], "mixed": [1, 2]}.get(name)
    rules = casbin.Model() if index is None else FastModel(index)
    rules.load_model_from_text(model)
    enforcer = casbin.FastEnforcer(rules, cache_key_order=index)
    enforcer.add_function("starts", str.startswith)
    enforcer.add_function("ends", str.endswith)
    enforcer.add_function("matches", _matches)
    wants = (wanted(name, number) for number in range(size))
    # At once: one by one, its index counts all that it has each time.
    enforcer.add_policies(
        [
            [want.path if name == "mixed" else want.path.strip("*"), want.caller or "", want.method or ""]
            for want in wants
        ]
    )

    def put(request: Asked) -> Ready:
        # Its index is over two fields, no fewer: in a set that asks for paths alone, all others are empty.
        return tuple(request) if name == "mixed" else (request.path, "", "")

    return put, lambda request: bool(enforcer.enforce(*request))


def _matches(path: str, pattern: str) -> bool:
    if pattern.startswith("*"):
        return path.endswith(pattern[1:])
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


ENGINES: dict[str, Callable[[str, int], Engine]] = {"meshward": _meshward, "cedarpy": _cedar, "casbin": _casbin}
