"""Rules of every kind of condition, and requests that meet them: what the benchmarks of decisions are made of.

A request is built from a rule's number and a source of randomness, so that no two of a run share a path, a name or an
address that a rule does not demand: a decision that only remembered values would not profit.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from authz.attributes import Attributes
from authz.model import Action, Condition, Operation, Policy, Rule, Source

__all__ = ["KINDS", "MIXED", "Kind", "mixed_policies", "mixed_request", "policies_of", "request_of", "stranger"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of condition: the rule of a number, and the facts that meet it."""

    name: str
    rule: Callable[[int], Rule]
    facts: Callable[[int, random.Random], Mapping[str, Any]]


def _paths(value: Callable[[int], str]) -> Callable[[int], Rule]:
    return lambda number: Rule(operations=(Operation(paths=(value(number),)),))


def _when(key: str, value: Callable[[int], str]) -> Callable[[int], Rule]:
    return lambda number: Rule(conditions=(Condition(key=key, values=(value(number),)),))


def _noise(source: random.Random) -> str:
    return f"{source.getrandbits(40):010x}"


def _identity(namespace: str, account: str) -> tuple[str, ...]:
    return (f"spiffe://cluster.local/ns/{namespace}/sa/{account}",)


def _v4(number: int, low: int) -> IPv4Address:
    return IPv4Address((10 << 24) + (number << 8) + low)


def _v6(number: int, low: int) -> IPv6Address:
    return IPv6Address((0x20010DB8 << 96) + (number << 64) + low)


KINDS: tuple[Kind, ...] = (
    Kind("exact path", _paths("/v1/items{}".format), lambda n, s: {"path": f"/v1/items{n}?page={_noise(s)}"}),
    Kind("path prefix", _paths("/v1/things{}/*".format), lambda n, s: {"path": f"/v1/things{n}/{_noise(s)}"}),
    Kind("path suffix", _paths("*/export{}".format), lambda n, s: {"path": f"/{_noise(s)}/export{n}"}),
    Kind(
        "path template",
        _paths("/v1/{{*}}/orders{}/{{**}}".format),
        lambda n, s: {"path": f"/v1/{_noise(s)}/orders{n}/{_noise(s)}/x"},
    ),
    Kind(
        "host",
        lambda n: Rule(operations=(Operation(hosts=(f"h{n}.example.com",)),)),
        lambda n, _: {"host": f"H{n}.example.com"},
    ),
    Kind(
        "host suffix",
        lambda n: Rule(operations=(Operation(hosts=(f"*.t{n}.example.com",)),)),
        lambda n, s: {"host": f"{_noise(s)}.t{n}.example.com"},
    ),
    Kind(
        "range",
        lambda n: Rule(sources=(Source(ip_blocks=(f"10.{n >> 8}.{n & 255}.0/24",)),)),
        lambda n, s: {"source_ip": _v4(n, s.randrange(256))},
    ),
    Kind(
        "range of IPv6",
        lambda n: Rule(sources=(Source(remote_ip_blocks=(f"2001:db8:0:{n:x}::/64",)),)),
        lambda n, s: {"remote_ip": _v6(n, s.getrandbits(60))},
    ),
    Kind(
        "port",
        lambda n: Rule(operations=(Operation(ports=(str(n),)),)),
        lambda n, _: {"destination_port": n},
    ),
    Kind(
        "header",
        _when("request.headers[x-tenant]", "tenant{}".format),
        lambda n, s: {"headers": {"x-tenant": (f"tenant{n}",), "x-request-id": (_noise(s),)}},
    ),
    Kind(
        "header by name",
        lambda n: Rule(conditions=(Condition(key=f"request.headers[x-feature-{n}]", values=("on",)),)),
        lambda n, s: {"headers": {f"x-feature-{n}": ("on",), "x-request-id": (_noise(s),)}},
    ),
    Kind(
        "claim",
        _when("request.auth.claims[groups]", "group{}".format),
        lambda n, s: {"claims": {"iss": "https://idp", "sub": _noise(s), "groups": [_noise(s), f"group{n}"]}},
    ),
    Kind(
        "request principal",
        lambda n: Rule(sources=(Source(request_principals=(f"https://idp/user{n}",)),)),
        lambda n, s: {"claims": {"iss": "https://idp", "sub": f"user{n}", "jti": _noise(s)}},
    ),
    Kind(
        "request principal prefix",
        lambda n: Rule(sources=(Source(request_principals=(f"https://idp/team{n}-*",)),)),
        lambda n, s: {"claims": {"iss": "https://idp", "sub": f"team{n}-{_noise(s)}"}},
    ),
    Kind(
        "principal",
        lambda n: Rule(sources=(Source(principals=(f"cluster.local/ns/shop/sa/a{n}",)),)),
        lambda n, _: {"identities": _identity("shop", f"a{n}")},
    ),
    Kind(
        "principal suffix",
        lambda n: Rule(sources=(Source(principals=(f"*/sa/a{n}",)),)),
        lambda n, s: {"identities": _identity(_noise(s), f"a{n}")},
    ),
    Kind(
        "namespace",
        lambda n: Rule(sources=(Source(namespaces=(f"n{n}",)),)),
        lambda n, s: {"identities": _identity(f"n{n}", _noise(s))},
    ),
    Kind(
        "namespace prefix",
        lambda n: Rule(sources=(Source(namespaces=(f"n{n}-*",)),)),
        lambda n, s: {"identities": _identity(f"n{n}-{_noise(s)}", "x")},
    ),
    Kind(
        "service account",
        lambda n: Rule(sources=(Source(service_accounts=(f"shop/a{n}",)),)),
        lambda n, _: {"identities": _identity("shop", f"a{n}")},
    ),
    Kind(
        "trust domain",
        lambda n: Rule(sources=(Source(trust_domains=(f"td{n}.example",)),)),
        lambda n, s: {"identities": (f"spiffe://td{n}.example/ns/{_noise(s)}/sa/x",)},
    ),
    Kind(
        "trust domain pattern",
        lambda n: Rule(sources=(Source(trust_domains=(f"td{n}-*",)),)),
        lambda n, s: {"identities": (f"spiffe://td{n}-{_noise(s)}/ns/x/sa/x",)},
    ),
    Kind("server name", _when("connection.sni", "s{}.example.com".format), lambda n, _: {"sni": f"s{n}.example.com"}),
    Kind(
        "metadata",
        _when("experimental.envoy.filters.a[k]", "[v{}]".format),
        lambda n, s: {"metadata": {"envoy.filters.a": {"k": [_noise(s), f"v{n}"]}}},
    ),
    Kind(
        "no path",
        lambda n: Rule(operations=(Operation(not_paths=(f"/v1/items{n}",)),)),
        lambda n, s: {"path": f"/v1/items{n}?page={_noise(s)}"},
    ),
    Kind(
        "no namespace",
        lambda n: Rule(sources=(Source(not_namespaces=(f"n{n}",)),)),
        lambda n, s: {"identities": _identity(f"n{n}", _noise(s))},
    ),
    Kind(
        "caller and path",
        lambda n: Rule(
            sources=(Source(namespaces=(f"n{n % 100}",)),),
            operations=(Operation(paths=(f"/v1/p{n // 100}/*",)),),
        ),
        lambda n, s: {"identities": _identity(f"n{n % 100}", _noise(s)), "path": f"/v1/p{n // 100}/{_noise(s)}"},
    ),
)

MIXED: tuple[Kind, ...] = tuple(
    kind
    for kind in KINDS
    if kind.name
    in ("exact path", "path prefix", "path suffix", "path template", "host", "range", "header", "claim", "no path")
)
"""The kinds that a mixed set has in turn."""

_METHODS = ("GET", "POST", "PUT", "DELETE")


def stranger(source: random.Random) -> Attributes:
    """A request that has every fact, and meets no rule that asks for anything."""
    noise = _noise(source)
    return Attributes(
        identities=_identity(f"else-{noise}", f"x{noise}"),
        source_ip=IPv4Address((192 << 24) + source.getrandbits(24)),
        remote_ip=IPv6Address((0xFD << 120) + source.getrandbits(60)),
        destination_ip=IPv4Address((172 << 24) + source.getrandbits(20)),
        destination_port=65535,
        sni=f"{noise}.example.net",
        method=source.choice(_METHODS),
        path=f"/v2/{noise}/x?page={noise}",
        host=f"{noise}.example.net:8080",
        scheme="http",
        headers={"x-request-id": (noise,), "accept": ("*/*",), "x-tenant": (f"t-{noise}",), "x-tier": ("free",)},
        claims={"iss": "https://idp", "sub": f"u-{noise}", "groups": [f"g-{noise}"], "aud": ["shop"]},
        metadata={"envoy.filters.a": {"k": noise}},
    )


def policies_of(kind: Kind, size: int) -> tuple[Policy, ...]:
    """`size` rules of one kind, in policies of a hundred."""
    return tuple(
        Policy(namespace="shop", name=f"p{start:06}", rules=tuple(map(kind.rule, range(start, min(start + 100, size)))))
        for start in range(0, size, 100)
    )


def request_of(kind: Kind, number: int, source: random.Random) -> Attributes:
    """A request that meets the rule of `number`, and nothing else that a rule of any kind demands."""
    return replace(stranger(source), **kind.facts(number, source))


def mixed_policies(size: int) -> tuple[Policy, ...]:
    """`size` rules of nine kinds in turn, most with a caller, a method, a tier or an exception. Every tenth policy denies."""
    return tuple(
        Policy(
            namespace="shop",
            name=f"p{start:06}",
            action=Action.DENY if start // 100 % 10 == 9 else Action.ALLOW,
            rules=tuple(map(_mixed_rule, range(start, min(start + 100, size)))),
        )
        for start in range(0, size, 100)
    )


def _mixed_rule(number: int) -> Rule:
    rule = MIXED[number % len(MIXED)].rule(number)
    asks = number // len(MIXED)
    source = rule.sources[0] if rule.sources else Source()
    operation = rule.operations[0] if rule.operations else Operation()
    conditions = rule.conditions
    if MIXED[number % len(MIXED)].name == "no path":  # alone it would match whatever comes
        source = replace(source, namespaces=(f"team{number}",))
    elif asks % 2:
        source = replace(source, principals=(f"cluster.local/ns/shop/sa/caller{asks % 97}",))
    if asks % 3 == 0:
        operation = replace(operation, methods=("GET", "POST"))
    if asks % 5 == 0:
        conditions += (Condition(key="request.headers[x-tier]", values=(f"tier{asks % 7}", "gold")),)
    if asks % 7 == 0:
        operation = replace(operation, not_hosts=("*.internal",))
    if asks % 11 == 0:
        source = replace(source, not_namespaces=("quarantine", f"locked{asks}"))
    return Rule(sources=(source,), operations=(operation,), conditions=conditions)


def mixed_request(number: int, source: random.Random) -> Attributes:
    """A request that meets the rule of `number` in a mixed set."""
    kind = MIXED[number % len(MIXED)]
    asks = number // len(MIXED)
    request = request_of(kind, number, source)
    identity = _identity("shop", f"caller{asks % 97}")
    if kind.name == "no path":
        identity = _identity(f"team{number}", "x")
        request = replace(request, path=f"/v1/other/{_noise(source)}")
    headers = {**request.headers, "x-tier": ("gold",)}
    return replace(request, identities=identity, method=source.choice(("GET", "POST")), headers=headers)
