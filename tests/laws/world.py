"""Policies and requests that meet: both are drawn from one small world, so that a rule matches about as often as it nearly does.

Every pool holds values, patterns for them, and near misses: a prefix beside what it is a prefix of, the same name in another
case, the same header twice, an identity in another trust domain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address
from random import Random
from typing import TypeVar

from authz.attributes import Address, Attributes, Protocol
from authz.model import Action, Condition, Operation, Policy, Rule, Source

T = TypeVar("T")

TRUST_DOMAINS = (("cluster.local",), ("td.example", "old.example"), ("td.example", "*-legacy", "cluster.local"))

IDENTITIES = (
    "spiffe://cluster.local/ns/shop/sa/web",
    "spiffe://cluster.local/ns/shop/sa/web2",
    "spiffe://td.example/ns/shop/sa/web",
    "spiffe://old.example/ns/ops/sa/admin",
    "spiffe://eu-legacy/ns/shop/sa/batch",
    "spiffe://cluster.local/ns/ns/sa/sa",
    "spiffe://cluster.local/region/eu/ns/shop/sa/web/instance/1",
    "spiffe://cluster.local/ns/shop/team/a/sa/web",
    "spiffe://web",
    "spiffe:///ns/shop/sa/web",
    "partner.example.com",
    "CN=partner,O=ns/shop/",
    "/ns/shop/",
    "spiffe://cluster.local/ns/shop/sa/web\n",
    "",
)
PRINCIPALS = (
    "*",
    "cluster.local/ns/shop/sa/web",
    "cluster.local/ns/shop/sa/*",
    "cluster.local/ns/shop/*",
    "*/sa/web",
    "*/ns/shop/sa/web",
    "*-legacy/ns/shop/sa/batch",
    "td.example/ns/shop/sa/web",
    "old.example/ns/ops/sa/admin",
    "spiffe://cluster.local/ns/shop/sa/web",
    "*b",
    "*//web",
    "**",
    "web",
)
NAMESPACES = ("shop", "ops", "sho*", "*op", "*", "s*p", "ns", "shop/sa", "a", "sh.p", "shop/sa/web/instance")
SERVICE_ACCOUNTS = ("web", "shop/web", "ops/admin", "shop/w.b", "ns/sa", "shop/web2", "shop/a/b")
TRUST_DOMAIN_VALUES = ("cluster.local", "td.example", "*", "*-legacy", "cluster*", "*.example", "clusterxlocal")
ADDRESSES = (
    "10.1.2.3",
    "10.1.2.2",
    "10.1.2.1",
    "10.2.0.1",
    "11.0.0.1",
    "192.0.2.1",
    "::1",
    "2001:db8::1",
    "::ffff:10.1.2.3",
    "127.0.0.1",
)
NETWORKS = (
    "10.1.2.3",
    "10.1.2.3/8",
    "10.1.0.0/16",
    "0.0.0.0/0",
    "::/0",
    "2001:db8::/32",
    "::ffff:10.1.2.3",
    "10.1.2.2/31",
    "10.1.2.300",
    "10.0.0.0/255.0.0.0",
)
PORTS_TEXT = ("80", "8080", "0", "65535", "65536", "http", "080")
HOSTS = ("api.example.com", "API.Example.com:8080", "example.com", "", "\u212a.example.com", "api.example.com.")
HOST_VALUES = ("api.example.com", "*.EXAMPLE.com", "api.example.com:*", "*", "k.example.com", "*:8080", "API*")
METHODS = ("GET", "POST", "get", "GETX", "")
METHOD_VALUES = ("GET", "POST", "G*", "*T", "*", "get")
PATHS = (
    "/items",
    "/items/",
    "/items/1",
    "/items/1?page=2",
    "/items/1#top",
    "/items?x=/admin",
    "/admin",
    "/admin/x",
    "//admin",
    "/Admin",
    "/a/1/b",
    "/a/1/2/b",
    "/a//b",
    "/a*b/x",
    "/",
    "",
    "*",
    "?",
    "/items/\udcff",
)
PATH_VALUES = (
    "/items",
    "/items/*",
    "/items*",
    "*/1",
    "*",
    "/admin*",
    "/a/{*}/b",
    "/a/{**}",
    "/a/{**}/b",
    "/{*}",
    "a/{*}",
    "/a/{**}/{*}",
    "/a*b/x",
    "*a*",
    "/items/1?page=2",
)
HEADER_NAMES = ("x-role", "x-team")
HEADER_KEYS = (
    "request.headers[x-role]",
    "request.headers[X-Role]",
    "request.headers[x-team]",
    "request.headers[:path]",
    "request.headers[:method]",
    "request.headers[host]",
    "request.headersx[x-role]",
)
HEADERS = ("admin", "user", "admin,user", "", "adm", "superadmin", "Admin")
HEADER_VALUES = ("admin", "*min", "adm*", "*", "user", "admin,user", "/items*", "GET", "api.example.com")
CLAIM_KEYS = (
    "request.auth.claims[groups]",
    "request.auth.claims[realm][roles]",
    "request.auth.claims[groups[x]]",
    "request.auth.audiences",
    "request.auth.presenter",
)
CLAIMS: tuple[object, ...] = (
    "admin",
    ["admin", "user"],
    ["user", 7, None],
    [],
    "",
    7,
    True,
    {"roles": ["admin"]},
    "adm\nin",
    None,
)
CLAIM_VALUES = ("admin", "adm*", "*min", "*", "user", "7", "True")
ISSUERS: tuple[object, ...] = ("https://idp", "https://idp/", "", 7, None, ["https://idp"])
SUBJECTS: tuple[object, ...] = ("alice", "", "team/alice", "*", None, 7)
REQUEST_PRINCIPALS = (
    "*",
    "https://idp/alice",
    "https://idp/*",
    "https://idp/al*",
    "*/alice",
    "*/*",
    "*idp/alice",
    "*ice",
    "https://*",
    "https://idp",
    "https://idp//alice",
    "https://idp/team/alice",
)
METADATA_KEYS = (
    "experimental.envoy.filters.network.mongo[db]",
    "experimental.envoy.filters.a[[x]]",
    "experimental.envoy.filters.[x]",
)
METADATA: tuple[object, ...] = ("find", ["find", "insert", 3], [], "[find]", 3, None)
METADATA_VALUES = ("find", "[find]", "[fi*]", "*", "[*]", "*nd", "[]")
SNI = ("api.example.com", "API.Example.com", "outbound_.80_._.api.shop.svc", "", None)
SNI_VALUES = ("api.example.com", "*.example.com", "outbound*", "*")
PROVIDERS = ("opa", "opa-ns", "ext")

_SOURCE_FIELDS = {
    "principals": PRINCIPALS,
    "request_principals": REQUEST_PRINCIPALS,
    "namespaces": NAMESPACES,
    "service_accounts": SERVICE_ACCOUNTS,
    "trust_domains": TRUST_DOMAIN_VALUES,
    "ip_blocks": NETWORKS,
    "remote_ip_blocks": NETWORKS,
}
_OPERATION_FIELDS = {"hosts": HOST_VALUES, "methods": METHOD_VALUES, "paths": PATH_VALUES, "ports": PORTS_TEXT}
_CONDITIONS = {
    "source.principal": PRINCIPALS,
    "source.namespace": NAMESPACES,
    "source.serviceAccount": SERVICE_ACCOUNTS,
    "source.trustDomain": TRUST_DOMAIN_VALUES,
    "source.ip": NETWORKS,
    "remote.ip": NETWORKS,
    "destination.ip": NETWORKS,
    "destination.port": PORTS_TEXT,
    "connection.sni": SNI_VALUES,
    "request.auth.principal": REQUEST_PRINCIPALS,
    **dict.fromkeys(HEADER_KEYS, HEADER_VALUES),
    **dict.fromkeys(CLAIM_KEYS, CLAIM_VALUES),
    **dict.fromkeys(METADATA_KEYS, METADATA_VALUES),
    "request.path": PATH_VALUES,  # a field, but no `when` key
    "source.princpal": PRINCIPALS,
}
_KEYS = sorted(_CONDITIONS)


# Plain randomness, not a strategy for every value: a draw of Hypothesis costs a hundred times as much, and what finds
# faults here is the number of rules that meet the number of requests. Hypothesis draws the seeds and the sizes.


def _chance(random: Random, probability: float) -> bool:
    return random.random() < probability


def _pick(random: Random, pool: Sequence[T]) -> T:
    """Half of the time one of the first three, which in every pool are ordinary and made for each other."""
    return random.choice(pool[:3] if _chance(random, 0.5) else pool)


def _values(random: Random, pool: Sequence[str], *, at_least: int = 0) -> tuple[str, ...]:
    return tuple(_pick(random, pool) for _ in range(random.choice((at_least, 1, 1, 2))))


def _random_fields(random: Random, pools: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """None, one or two fields, each wanted, unwanted or both."""
    fields: dict[str, tuple[str, ...]] = {}
    for name in random.sample(sorted(pools), k=random.choice((0, 1, 1, 1, 2))):
        side = random.choice(("wanted", "wanted", "unwanted", "both"))
        if side != "unwanted":
            fields[name] = _values(random, pools[name], at_least=1)
        if side != "wanted":
            fields[f"not_{name}"] = _values(random, pools[name], at_least=1)
    return fields


def _random_condition(random: Random) -> Condition:
    key = random.choice(_KEYS)
    pool = _CONDITIONS[key]
    return Condition(
        key=key, values=_values(random, pool), not_values=_values(random, pool) if _chance(random, 0.3) else ()
    )


def random_rule(random: Random) -> Rule:
    """Often with one source or one operation, sometimes with several of both."""
    conditions = [_random_condition(random) for _ in range(random.choice((0, 0, 1, 2)))]
    if conditions and _chance(random, 0.3):
        conditions.append(replace(_random_condition(random), key=conditions[0].key))
    return Rule(
        sources=tuple(Source(**_random_fields(random, _SOURCE_FIELDS)) for _ in range(random.choice((0, 1, 1, 3)))),
        operations=tuple(
            Operation(**_random_fields(random, _OPERATION_FIELDS)) for _ in range(random.choice((0, 1, 1, 3)))
        ),
        conditions=tuple(conditions),
    )


def random_policy(random: Random, name: str) -> Policy:
    """Any action, now and then a dry run."""
    return Policy(
        namespace=random.choice(("shop", "istio-system")),
        name=name,
        action=random.choice((Action.ALLOW,) * 6 + (Action.DENY,) * 4 + (Action.AUDIT, Action.CUSTOM)),
        rules=tuple(random_rule(random) for _ in range(random.choice((0, 1, 1, 2, 3)))),
        dry_run=_chance(random, 0.2),
        provider=random.choice((None, *PROVIDERS)),
    )


def random_policies(random: Random) -> tuple[Policy, ...]:
    """Up to five policies, whose names sort otherwise than they were made."""
    names = random.sample(("a", "b", "b-2", "B", "c"), k=random.choice((1, 1, 2, 3, 5)))
    return tuple(random_policy(random, name) for name in names)


def random_providers(random: Random) -> frozenset[str]:
    """External authorizers that let a request through: none, some or all of those that policies name."""
    return frozenset(name for name in PROVIDERS if _chance(random, 0.5))


def random_attributes(random: Random) -> Attributes:
    """One request of this world, each attribute absent one time in five."""

    def absent_or(values: Sequence[str]) -> str | None:
        return None if _chance(random, 0.2) else _pick(random, values)

    def address() -> Address | None:
        text = absent_or(ADDRESSES)
        return None if text is None else ip_address(text)

    def lines() -> tuple[str, ...]:
        return tuple(_pick(random, HEADERS) for _ in range(random.choice((1, 1, 2, 3))))

    return Attributes(
        protocol=Protocol.TCP if _chance(random, 0.2) else Protocol.HTTP,
        identities=tuple(_pick(random, IDENTITIES) for _ in range(random.choice((0, 1, 1, 1, 2)))),
        source_ip=address(),
        remote_ip=address(),
        destination_ip=address(),
        destination_port=random.choice((None, 80, 8080, 0, 65535)),
        sni=random.choice(SNI),
        method=absent_or(METHODS),
        path=absent_or(PATHS),
        host=absent_or(HOSTS),
        scheme=absent_or(("http", "https")),
        headers={name: lines() for name in HEADER_NAMES if _chance(random, 0.7)},
        claims=None if _chance(random, 0.3) else _random_claims(random),
        metadata=None if _chance(random, 0.3) else _random_metadata(random),
    )


def _random_claims(random: Random) -> dict[str, object]:
    pools: dict[str, Sequence[object]] = {
        "iss": ISSUERS,
        "sub": SUBJECTS,
        **dict.fromkeys(("aud", "azp", "groups", "groups[x]", "realm"), CLAIMS),
    }
    return {name: _pick(random, pool) for name, pool in pools.items() if _chance(random, 0.8)}


def _random_metadata(random: Random) -> dict[str, dict[str, object]]:
    return {
        "envoy.filters.network.mongo": {"db": _pick(random, METADATA)},
        "envoy.filters.a": {"[x]": _pick(random, METADATA)},
    }
