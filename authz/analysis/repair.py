"""Repair: what a denied request would have to be like to be allowed, with as little changed as a rule asks for."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from authz.analysis.access import Accesses, Guarding
from authz.analysis.circuit import FALSE, TRUE
from authz.analysis.space import Case, Space
from authz.attributes import Attributes
from authz.decision import Match
from authz.keys import Attribute
from authz.matcher import matches
from authz.mesh_config import PathNormalization

__all__ = ["changed_facts", "fact_of", "repaired"]

_IDENTITY = frozenset({"source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain"})


def repaired(
    guarding: Guarding, attributes: Attributes, nearest: Match | None, missing: Iterable[Attribute]
) -> tuple[Attributes, frozenset[str]] | None:
    """The request, changed so that the rule `nearest` allows it; `missing` are the attributes for which it does not yet.

    Where no ALLOW policy says what is allowed, and so there is no such rule, it is changed so that nothing denies it.

    With it come the external authorizers that would have to let it through. Nothing, if no request can be allowed by that rule:
    then whatever it is like, another rule denies it. What is not changed stays as it is, as long as that can be.
    """
    space = Space(attributes.protocol, normalization=PathNormalization.NONE, issuers=guarding.issuers)
    access = Accesses(space).of(guarding)
    rules = [each.literal for each in access.allow if each.match == nearest]
    wanted = (access.allowed, *(rules if access.closed else [TRUE]))
    if len(wanted) < 2 or FALSE in wanted:
        return None
    changed = {fact_of(attribute) for attribute in missing}
    for free in (set(missing), changed):
        case = space.find(*wanted, *_kept(space, attributes, free), simplest=True)
        if case is not None:
            break
    else:
        case, changed = _least_changed(space, attributes, wanted, changed)
        if case is None:
            return None
    return _with(attributes, case, changed), case.allowed_by


def fact_of(attribute: Attribute) -> str:
    """What it reads, by the name of one attribute that reads the same."""
    if attribute.key in _IDENTITY:
        return "source.principal"
    if attribute.key.startswith("request.auth."):
        return "request.auth"
    if attribute.key == "request.headers":
        return {":path": "request.path", ":method": "request.method", ":authority": "request.host"}.get(
            attribute.argument[0], f"request.headers[{attribute.argument[0]}]"
        )
    if attribute.key == "experimental.envoy.filters.":
        return f"experimental.{'.'.join(attribute.argument)}"
    return attribute.key


def _kept(space: Space, attributes: Attributes, free: "set[Attribute] | set[str]") -> Iterator[int]:
    """The literals of what stays as it is: of all predicates but those on `free`, attributes or facts."""
    for predicate, literal in space.vocabulary():
        attribute = predicate.attribute
        if attribute in free or fact_of(attribute) in free:
            continue
        held = any(matches(predicate.matcher, value) for value in attribute.read(attributes))
        yield literal if held else -literal


def _least_changed(
    space: Space, attributes: Attributes, wanted: Sequence[int], changed: set[str]
) -> tuple[Case | None, set[str]]:
    """As little more changed as the solver says is in the way."""
    changed = set(changed)
    by_literal = {literal: fact_of(predicate.attribute) for predicate, literal in space.vocabulary()}
    while (case := space.find(*wanted, *_kept(space, attributes, changed), simplest=True)) is None:
        more = {by_literal.get(abs(literal), by_literal.get(-abs(literal), "")) for literal in space.core()}
        more -= changed | {""}
        if not more:
            return None, changed
        changed.add(min(more))
    return case, changed


_FIELDS = {
    "source.principal": "identities",
    "source.ip": "source_ip",
    "remote.ip": "remote_ip",
    "destination.ip": "destination_ip",
    "destination.port": "destination_port",
    "connection.sni": "sni",
    "request.method": "method",
    "request.path": "path",
    "request.host": "host",
    "request.auth": "claims",
}


def _with(attributes: Attributes, case: Case, changed: set[str]) -> Attributes:
    found = {_FIELDS[fact]: getattr(case.attributes, _FIELDS[fact]) for fact in changed if fact in _FIELDS}
    headers = dict(attributes.headers)
    for fact in changed:
        if fact.startswith("request.headers["):
            name = fact[len("request.headers[") : -1]
            headers.pop(name, None)
            if name in case.attributes.headers:
                headers[name] = case.attributes.headers[name]
    metadata = case.attributes.metadata if any(fact.startswith("experimental.") for fact in changed) else None
    return replace(attributes, **found, headers=headers, metadata=metadata or attributes.metadata)


def changed_facts(before: Attributes, after: Attributes) -> tuple[str, ...]:
    """The facts in which two requests differ, by the names that `fact_of` gives them."""
    found = [fact for fact, field in _FIELDS.items() if getattr(before, field) != getattr(after, field)]
    names = dict.fromkeys((*before.headers, *after.headers))
    found += [f"request.headers[{name}]" for name in names if before.headers.get(name) != after.headers.get(name)]
    return (*found, *(("experimental.envoy.filters",) if before.metadata != after.metadata else ()))
