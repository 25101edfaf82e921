"""The second translation: the RBAC filters that istiod would write for a workload, from the model and nothing else of ours.

It follows the same specification as `authz.values`, `authz.keys` and `authz.semantics`, and shares not one line with them:
what both get wrong, they get wrong apart. Filters are written for HTTP and for TCP, CUSTOM as for a provider that cannot be
used. Sections are those of the semantics.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from authz.attributes import Protocol
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from demo.sidecar import Json

__all__ = ["Filters", "filters"]

_ACTIONS = {Action.AUDIT: "LOG", Action.DENY: "DENY", Action.ALLOW: "ALLOW", Action.CUSTOM: "DENY"}
_DRY_RUN = {Action.DENY: "istio_dry_run_deny_", Action.ALLOW: "istio_dry_run_allow_"}
_NEVER: Json = {"permissions": [{"not_rule": {"any": True}}], "principals": [{"not_id": {"any": True}}]}
_JWT = "envoy.filters.http.jwt_authn"
_SPIFFE = "spiffe://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """RBAC configurations in the order in which they run: one a CUSTOM provider, then at most one of each other action."""

    custom: tuple[Json, ...]
    audit: Json | None
    deny: Json | None
    allow: Json | None


def filters(policies: Sequence[Policy], *, protocol: Protocol, trust_domains: tuple[str, ...]) -> Filters:
    """What istiod writes for a workload to which `policies` apply; `trust_domains` are the mesh's own, then its aliases."""

    def of(action: Action) -> Json | None:
        return _filter([policy for policy in policies if policy.action is action], protocol, trust_domains)

    custom = [policy for policy in policies if policy.action is Action.CUSTOM]
    providers = sorted({policy.provider or "" for policy in custom})
    by_provider = ([policy for policy in custom if (policy.provider or "") == provider] for provider in providers)
    denials = (_filter(own, protocol, trust_domains) for own in by_provider)
    return Filters(
        custom=tuple(denial for denial in denials if denial is not None),
        audit=of(Action.AUDIT),
        deny=of(Action.DENY),
        allow=of(Action.ALLOW),
    )


def _filter(policies: Sequence[Policy], protocol: Protocol, trust_domains: tuple[str, ...]) -> Json | None:
    """One filter for policies of one action (0.3): the enforced ones, and the dry runs in their shadow (1.5)."""
    if not policies:
        return None
    action = policies[0].action
    enforced = [policy for policy in policies if not policy.dry_run]
    shadow = [policy for policy in policies if policy.dry_run]
    found: Json = {}
    if enforced:
        found["rules"] = _rules(action, enforced, protocol, trust_domains)
    if shadow:
        found["shadow_rules"] = _rules(action, shadow, protocol, trust_domains)
        found["shadow_rules_stat_prefix"] = _DRY_RUN[action]
    return found


def _rules(action: Action, policies: Iterable[Policy], protocol: Protocol, trust_domains: tuple[str, ...]) -> Json:
    written: dict[str, Json] = {}
    for policy in policies:
        chain = _Chain(protocol, action, policy.namespace, trust_domains)
        for index, rule in enumerate(policy.rules):
            if (one := _rule(rule, chain)) is not None:
                written[_id(policy, index)] = one
        if not policy.rules:
            written[_id(policy, 0)] = _NEVER
    return {"action": _ACTIONS[action], "policies": written}


def _id(policy: Policy, index: int) -> str:
    """0.6."""
    own = f"ns[{policy.namespace}]-policy[{policy.name}]-rule[{index}]"
    if policy.action is not Action.CUSTOM:
        return own
    provider = f"{policy.provider}-" if policy.provider else ""
    return f"istio-ext-authz-{provider}{own}-deny-due-to-bad-CUSTOM-action"


# One rule (0.4, 0.5) --------------------------------------------------------------------------------------------------


class _Half(NamedTuple):
    """Permissions and principals: the same algebra under different names."""

    conjunction: str
    disjunction: str
    members: str
    negation: str

    def all_of(self, members: list[Json]) -> Json:
        return {self.conjunction: {self.members: members or [{"any": True}]}}

    def any_of(self, members: list[Json]) -> Json:
        return {self.disjunction: {self.members: members}}

    def none_of(self, members: list[Json]) -> Json:
        return {self.negation: self.any_of(members)}


_PERMISSION = _Half("and_rules", "or_rules", "rules", "not_rule")
_PRINCIPAL = _Half("and_ids", "or_ids", "ids", "not_id")


class _InexpressibleError(Exception):
    """The value has no place in this filter chain."""


class _UnknownKeyError(Exception):
    """No generator has this key: the rule is skipped, whatever its action."""


@dataclass(frozen=True, slots=True)
class _Chain:
    """Where a rule is written for, and by whom."""

    protocol: Protocol
    action: Action
    namespace: str
    trust_domains: tuple[str, ...]


_Write = Callable[[str, _Chain], list[Json]]


@dataclass(frozen=True, slots=True)
class _Generator:
    """What one field or key writes for a value: in which half, and what, as alternatives."""

    half: _Half
    write: _Write
    http_only: bool = False

    def constraint(self, values: tuple[str, ...], not_values: tuple[str, ...], chain: _Chain) -> list[Json]:
        wanted, unwanted = self._list(values, chain), self._list(not_values, chain)
        return [
            *([self.half.any_of(wanted)] if wanted else []),
            *([self.half.none_of(unwanted)] if unwanted else []),
        ]

    def _list(self, values: tuple[str, ...], chain: _Chain) -> list[Json]:
        written: list[Json] = []
        write = _nothing if self.http_only and chain.protocol is Protocol.TCP else self.write
        for value in values:
            try:
                written += write(value, chain)
            except _InexpressibleError:
                # An ALLOW rule goes as a whole, so it allows less; any other loses the value, so it matches more.
                if chain.action is Action.ALLOW:
                    raise
        return written


def _rule(rule: Rule, chain: _Chain) -> Json | None:
    try:
        conditions = [(_generator(condition), condition) for condition in rule.conditions]

        def when(half: _Half) -> list[Json]:
            return [
                part
                for generator, condition in conditions
                if generator.half is half
                for part in generator.constraint(condition.values, condition.not_values, chain)
            ]

        permissions, principals = when(_PERMISSION), when(_PRINCIPAL)
        operations = [_PERMISSION.all_of(_fields(each, _OPERATION, chain) + permissions) for each in rule.operations]
        sources = [_PRINCIPAL.all_of(_fields(each, _SOURCE, chain) + principals) for each in rule.sources]
    except (_InexpressibleError, _UnknownKeyError):
        return None
    return {
        "permissions": operations or [_PERMISSION.all_of(permissions)],
        "principals": sources or [_PRINCIPAL.all_of(principals)],
    }


def _fields(part: Source | Operation, generators: Mapping[str, _Generator], chain: _Chain) -> list[Json]:
    return [
        constraint
        for name, generator in generators.items()
        for constraint in generator.constraint(getattr(part, name), getattr(part, f"not_{name}"), chain)
    ]


# Values (2.1 to 2.7) --------------------------------------------------------------------------------------------------

_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_NOT_EMPTY: Json = {"safe_regex": {"regex": ".+"}}


def _quoted(literal: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", literal)


def _regex(expression: str) -> Json:
    return {"safe_regex": {"regex": expression}}


def _text(value: str) -> Json:
    if value == "*":
        return _NOT_EMPTY
    if value[:1] == "*":
        return {"suffix": value[1:]}
    if value[-1:] == "*":
        return {"prefix": value[:-1]}
    return {"exact": value}


def _header(name: str, *, any_case: bool = False) -> _Write:
    def write(value: str, _: _Chain) -> list[Json]:
        if value == "*":
            return [{"header": {"name": name, "present_match": True}}]
        return [{"header": {"name": name, "string_match": {**_text(value), "ignore_case": any_case}}}]

    return write


def _path(value: str, _: _Chain) -> list[Json]:
    if "{*}" in value or "{**}" in value:
        template = value.replace("{*}", "*").replace("{**}", "**")
        kind = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"
        config: Json = {"@type": kind, "path_template": template}
        return [{"uri_template": {"name": "uri-template", "typed_config": config}}]
    return [{"url_path": {"path": _text(value)}}]


def _range(key: str) -> _Write:
    def write(value: str, _: _Chain) -> list[Json]:
        address, slash, length = value.partition("/")
        try:
            bits = ipaddress.ip_address(address).max_prefixlen
            size = int(length) if slash else bits
        except ValueError as error:
            raise _InexpressibleError from error
        if size > bits or "%" in address:
            raise _InexpressibleError
        return [{key: {"address_prefix": address, "prefix_len": size}}]

    return write


def _port(value: str, _: _Chain) -> list[Json]:
    if not value.isdecimal() or int(value) > 65535:
        raise _InexpressibleError
    return [{"destination_port": int(value)}]


def _sni(value: str, _: _Chain) -> list[Json]:
    return [{"requested_server_name": _text(value)}]


def _peer(match: Json) -> Json:
    return {"authenticated": {"principal_name": match}}


def _principal(value: str, chain: _Chain) -> list[Json]:
    return [_peer(_prefixed(name)) for name in _in_every_domain(value, chain.trust_domains)]


def _prefixed(value: str) -> Json:
    if value == "*":
        return _NOT_EMPTY
    if value[:1] == "*":
        return _regex(f"{_SPIFFE}.*{_quoted(value[1:])}")
    if value[-1:] == "*":
        return {"prefix": _SPIFFE + value[:-1]}
    return {"exact": _SPIFFE + value}


def _in_every_domain(value: str, trust_domains: tuple[str, ...]) -> list[str]:
    """2.5."""
    domain, *path = value.split("/")
    if len(path) != 4 or domain == "*":
        return [value]
    known = any(other in (domain, "*") or _covers(other, domain) or _covers(domain, other) for other in trust_domains)
    if not known and domain != "cluster.local":
        return [value]
    found: list[str] = []
    for other in trust_domains:
        kept = domain[:1] == "*" and other.endswith(domain[1:])
        name = value if kept else "/".join([other, *path])
        if name not in found:
            found.append(name)
    return found


def _covers(pattern: str, domain: str) -> bool:
    if pattern[:1] == "*" and domain.endswith(pattern[1:]):
        return True
    return pattern[-1:] == "*" and domain.startswith(pattern[:-1])


def _namespace(value: str, _: _Chain) -> list[Json]:
    middle = ".*".join(map(_quoted, value.split("*")))
    return [_peer(_regex(f".*/ns/{middle}/.*"))]


def _service_account(value: str, chain: _Chain) -> list[Json]:
    namespace, slash, name = value.rpartition("/")
    owner = namespace if slash else chain.namespace
    return [_peer(_regex(f"{_SPIFFE}.+/ns/{_quoted(owner)}/(.+/|)sa/{_quoted(name)}(/.+)?"))]


def _trust_domain(value: str, chain: _Chain) -> list[Json]:
    names = list(dict.fromkeys(chain.trust_domains)) if value in chain.trust_domains else [value]
    return [_peer(_one_trust_domain(name)) for name in names]


def _one_trust_domain(name: str) -> Json:
    if name == "*":
        return {"prefix": _SPIFFE}
    if "*" not in name:
        return {"prefix": f"{_SPIFFE}{name}/"}
    before, _, after = name.partition("*")
    return _regex(f"{_SPIFFE}{_quoted(before)}[^/]*{_quoted(after)}/.*")


def _metadata(namespace: str, path: Sequence[str], value: Json) -> Json:
    matcher: Json = {"filter": namespace, "path": [{"key": key} for key in path], "value": value}
    return {"sourced_metadata": {"metadata_matcher": matcher}}


def _in_list(value: Json) -> Json:
    return {"list_match": {"one_of": value}}


def _request_principal(value: str, _: _Chain) -> list[Json]:
    """2.6, by the rows of its table."""
    left, slash, right = value.rpartition("/")
    if value == "*":
        issuer, subject = _NOT_EMPTY, _NOT_EMPTY
    elif value[0] == "*" and slash:
        issuer, subject = _NOT_EMPTY if left == "*" else {"suffix": left[1:]}, {"exact": right}
    elif value[0] == "*":
        issuer, subject = _NOT_EMPTY, {"suffix": value[1:]}
    elif value[-1] == "*" and slash:
        issuer, subject = {"exact": left}, _NOT_EMPTY if right == "*" else {"prefix": right[:-1]}
    elif value[-1] == "*":
        issuer, subject = {"prefix": value[:-1]}, _NOT_EMPTY
    elif slash:
        issuer, subject = {"exact": left}, {"exact": right}
    else:
        issuer, subject = {"exact": value}, {"exact": ""}
    both = [
        _metadata(_JWT, ("payload", "iss"), {"string_match": issuer}),
        _metadata(_JWT, ("payload", "sub"), {"string_match": subject}),
    ]
    return [_PRINCIPAL.all_of(both)]


def _claim(path: Sequence[str]) -> _Write:
    def write(value: str, _: _Chain) -> list[Json]:
        match: Json = {"string_match": _text(value)}
        ways: list[Json] = [_in_list(match), match]
        return [_metadata(_JWT, ("payload", *path), {"or_match": {"value_matchers": ways}})]

    return write


def _filter_state(namespace: str, key: str) -> _Write:
    def write(value: str, _: _Chain) -> list[Json]:
        if value[0] == "[" and value[-1] == "]":
            return [_metadata(namespace, (key,), _in_list({"string_match": _text(value.strip("[]"))}))]
        return [_metadata(namespace, (key,), {"string_match": _text(value)})]

    return write


def _nothing(_: str, __: _Chain) -> list[Json]:
    raise _InexpressibleError


# Fields and keys ------------------------------------------------------------------------------------------------------

_DIRECT = _Generator(_PRINCIPAL, _range("direct_remote_ip"))
_REMOTE = _Generator(_PRINCIPAL, _range("remote_ip"))
_IDENTITY = _Generator(_PRINCIPAL, _principal)
_NAMESPACE = _Generator(_PRINCIPAL, _namespace)
_SERVICE_ACCOUNT = _Generator(_PRINCIPAL, _service_account)
_TRUST_DOMAIN = _Generator(_PRINCIPAL, _trust_domain)
_REQUEST_PRINCIPAL = _Generator(_PRINCIPAL, _request_principal, http_only=True)
_PORT = _Generator(_PERMISSION, _port)

_SOURCE: Mapping[str, _Generator] = {
    "principals": _IDENTITY,
    "request_principals": _REQUEST_PRINCIPAL,
    "namespaces": _NAMESPACE,
    "service_accounts": _SERVICE_ACCOUNT,
    "trust_domains": _TRUST_DOMAIN,
    "ip_blocks": _DIRECT,
    "remote_ip_blocks": _REMOTE,
}
_OPERATION: Mapping[str, _Generator] = {
    "hosts": _Generator(_PERMISSION, _header(":authority", any_case=True), http_only=True),
    "methods": _Generator(_PERMISSION, _header(":method"), http_only=True),
    "paths": _Generator(_PERMISSION, _path, http_only=True),
    "ports": _PORT,
}
_WHEN: Mapping[str, _Generator] = {
    "source.ip": _DIRECT,
    "remote.ip": _REMOTE,
    "source.principal": _IDENTITY,
    "source.namespace": _NAMESPACE,
    "source.serviceAccount": _SERVICE_ACCOUNT,
    "source.trustDomain": _TRUST_DOMAIN,
    "request.auth.principal": _REQUEST_PRINCIPAL,
    "request.auth.audiences": _Generator(_PRINCIPAL, _claim(("aud",)), http_only=True),
    "request.auth.presenter": _Generator(_PRINCIPAL, _claim(("azp",)), http_only=True),
    "destination.ip": _Generator(_PERMISSION, _range("destination_ip")),
    "destination.port": _PORT,
    "connection.sni": _Generator(_PERMISSION, _sni),
}
_HEADERS, _CLAIMS, _FILTERS = "request.headers", "request.auth.claims", "experimental.envoy.filters."


def _generator(condition: Condition) -> _Generator:
    key = condition.key
    if (found := _WHEN.get(key)) is not None:
        return found
    if key.startswith(_HEADERS):
        inside = _bracketed(key[len(_HEADERS) :])
        write = _nothing if inside is None else _header(inside)
        return _Generator(_PRINCIPAL, write, http_only=True)
    if key.startswith(_CLAIMS):
        inside = _bracketed(key[len(_CLAIMS) :])
        write = _nothing if inside is None else _claim(_names(inside))
        return _Generator(_PRINCIPAL, write, http_only=True)
    if key.startswith(_FILTERS):
        namespace, bracket, rest = key.removeprefix("experimental.").partition("[")
        write = _filter_state(namespace, rest.removesuffix("]")) if bracket else _nothing
        return _Generator(_PERMISSION, write)
    raise _UnknownKeyError


def _bracketed(text: str) -> str | None:
    return text[1:-1] if len(text) > 2 and text[0] == "[" and text[-1] == "]" else None


def _names(inside: str) -> list[str]:
    """`a][b` are two names, one in the other; what is not cleanly bracketed is one (2.7)."""
    names = inside.split("][")
    return [inside] if any("[" in name or "]" in name for name in names) else names
