"""Cases at random: policies that the parser takes, and requests that Envoy mostly does, made for each other.

The pools are those of the laws, with what only a real proxy can be asked beside them. A question is half drawn at random and
half aimed at a rule of its case, so that rules are met, and nearly met.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from ipaddress import ip_address, ip_network
from random import Random
from typing import TypeVar

import orjson

from authz.model import Action, Condition, Operation, Policy, Rule, Source
from parser.manifests import parse_manifests
from tests.differential.cases import CHANNELS, Caller, Case, Connection, Http, HttpVersion, Question, Tcp
from tests.laws import world

__all__ = [
    "accepted",
    "pick",
    "random_case",
    "random_condition",
    "random_connection",
    "random_policy",
    "random_questions",
    "random_rule",
]

T = TypeVar("T")

_REMOTE_NETWORKS = world.NETWORKS
# What a client on this machine can really come from.
_PEERS = ("127.1.2.3", "127.1.2.2", "127.0.0.1", "127.1.2.1", "127.2.0.1", "::1")
_PEER_NETWORKS = (*(value.replace("10.", "127.", 1) for value in world.NETWORKS), "::1", "127.0.0.1")
_HEADER_KEYS = (
    *world.HEADER_KEYS,
    "request.headers[:authority]",
    "request.headers[:scheme]",
    "request.headers[user-agent]",
    "request.headers[cookie]",
    "request.headers[x-forwarded-for]",
    "request.headers[x-forwarded-proto]",
    "request.headers[content-type]",
    "request.headers[x-absent]",
)
_HEADER_NAMES = (*world.HEADER_NAMES, "user-agent", "cookie", "X-Role", "x-forwarded-proto", "x-other")
_HEADERS = (*world.HEADERS, "caf\xe9", "caf\xc3\xa9", "\xff", "a b", "*", "admin ", "http", "https")
_HEADER_VALUES = (*world.HEADER_VALUES, "café", "caf*", "http", "https", "*,user", "a=1; b=2", "application/grpc*")
_CONTENT_TYPES = ("application/grpc", "application/grpc+proto", "application/grpc-web", "text/plain")
_FORWARDED_FOR = (
    "10.1.2.3",
    "192.0.2.1, 10.1.2.2",
    "10.1.2.3, 2001:db8::1",
    "10.1.2.3,nonsense",
    "10.1.2.3,",
    " 10.1.2.1 ",
    "10.1.2.3:80",
    "[2001:db8::1]",
    "[2001:db8::1]:80",
    "::ffff:10.1.2.3",
    "fe80::1%lo",
    "010.1.2.3",
    "10.1.2",
    "0x0a.1.2.3",
    "10.1.2.3\t",
    "",
)
_TARGETS = (
    *(path for path in world.PATHS if path.isascii() and path.startswith("/")),
    "/items;v=1",
    "/items/..;/admin",
    "/%61dmin",
    "/items%2f1",
    "/items/%2Fadmin",
    "/items%5cadmin",
    "/items\\..\\admin",
    "/./items/../admin",
    "/admin/.",
    "/a/1%20/b",
    "/a/[1]/b",
    '/a/"1"/b',
    "/a/~1!$&'()+,;:@=/b",
    "/a/%41/b",
    "/a/*/b",
    "/a//1//b",
    "/items?",
    "/items??x",
    "/items%3fx",
    "/items%23x",
    "/items/" + "x" * 3000,
    "//",
    "http://api.example.com/admin",
    "http://other:8080/items?x",
)
# What Envoy turns away by itself, at least over HTTP/1.1 or with some normalization.
_BAD_TARGETS = ("*", "?", "/a/\xc3\xa9/b", "/items/\xff", "/items/%00")
_BAD_HOSTS = ("k.example.com\xff", "/")
_BAD_METHODS = ("get", "GETX")
_BAD_SHARE = 0.02
_HOSTS = (
    *(host for host in world.HOSTS if host.isascii()),
    "api.example.com:80",
    "api.example.com:",
    "[::1]:8080",
    "a.Example.COM",
    "api.example.com,other",
)
_METHODS = ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH", "TRACE")
_METHOD_VALUES = (*world.METHOD_VALUES, "HEAD", "P*", "OPTIONS")
_SNI = ("api.example.com", "API.example.com", "outbound_.80_._.api.shop.svc", "b.example.com", None)
_PORTS = (8080, 80, 0, 65535)
_METADATA: Sequence[object] = (*world.METADATA, "f", {"a": "find"}, True, ["[find]"], "")

_NAMESPACES = (*world.NAMESPACES, "Zoë", "Z*", "a,b", "a\\,b", "*title=*")

_CALLERS = (
    Caller(uris=("spiffe://cluster.local/ns/shop/sa/web",)),
    Caller(uris=("spiffe://td.example/ns/shop/sa/web",)),
    Caller(uris=("spiffe://old.example/ns/ops/sa/admin",)),
    *(Caller(uris=(identity,)) for identity in world.IDENTITIES if identity and "=" not in identity),
    Caller(dns=("partner.example.com",)),
    Caller(dns=("partner.example.com", "spiffe://cluster.local/ns/shop/sa/web")),
    Caller(subject=(("O", "ns/shop/"), ("CN", "partner"))),
    Caller(subject=(("CN", "spiffe://cluster.local/ns/shop/sa/web"),)),
    Caller(subject=(("CN", 'a,b+c=d"e\\f<g>h;#i '), ("O", " ns/shop/"))),
    Caller(subject=(("CN", "Zoë/ns/shop/"), ("emailAddress", "a@b"), ("DC", "x"), ("serialNumber", "/ns/ops/"))),
    Caller(uris=("spiffe://cluster.local/ns/shop/sa/web",), subject=(("CN", "/ns/ops/"),)),
    Caller(subject=(("CN", "x/ns/Zoë/y"), ("OU", "x/ns/a,b/y"), ("title", "t"))),
    Caller(uris=("spiffe://eu-legacy/ns/shop/sa/batch", "spiffe://cluster.local/ns/shop/sa/web")),
    Caller(uris=("spiffe://web", "spiffe://td.example/ns/ops/sa/admin"), dns=("/ns/shop/",)),
    Caller(uris=("spiffe://old.example/ns/shop/sa/web",)),
    Caller(uris=("spiffe://cluster.local/ns/shop/sa/web.b",)),
    Caller(uris=("spiffe://cluster.local/ns/shop/sa/wxb",)),
    Caller(uris=("spiffe://tdxexample/ns/shxp/sa/web",)),
    Caller(uris=("spiffe://cluster.local/ns/ops/sa/web/ns/shop/sa/web",)),
    Caller(uris=("spiffe://clusterxlocal/ns/shxp/sa/wxb",)),
    Caller(uris=("spiffe://my-cluster.local/ns/shop/sa/web", "SPIFFE://cluster.local/ns/shop/sa/web")),
    Caller(),
)

_SOURCE_FIELDS = {
    "principals": world.PRINCIPALS,
    "request_principals": world.REQUEST_PRINCIPALS,
    "namespaces": _NAMESPACES,
    "service_accounts": world.SERVICE_ACCOUNTS,
    "trust_domains": world.TRUST_DOMAIN_VALUES,
    "ip_blocks": _PEER_NETWORKS,
    "remote_ip_blocks": _REMOTE_NETWORKS,
}
_OPERATION_FIELDS = {
    "hosts": world.HOST_VALUES,
    "methods": _METHOD_VALUES,
    "paths": world.PATH_VALUES,
    "ports": world.PORTS_TEXT,
}
_CONDITIONS = {
    "source.principal": world.PRINCIPALS,
    "source.namespace": _NAMESPACES,
    "source.serviceAccount": world.SERVICE_ACCOUNTS,
    "source.trustDomain": world.TRUST_DOMAIN_VALUES,
    "source.ip": _PEER_NETWORKS,
    "remote.ip": _REMOTE_NETWORKS,
    "destination.ip": world.NETWORKS,
    "destination.port": world.PORTS_TEXT,
    "connection.sni": (*world.SNI_VALUES, "API.example.com"),
    "request.auth.principal": world.REQUEST_PRINCIPALS,
    **dict.fromkeys(_HEADER_KEYS, _HEADER_VALUES),
    **dict.fromkeys(world.CLAIM_KEYS, world.CLAIM_VALUES),
    **dict.fromkeys(
        ("request.auth.claims[scope]", "request.auth.claims[realm]", "request.auth.claims[n]"), world.CLAIM_VALUES
    ),
    "request.headers[authorization]": ("*", "Bearer*", "Basic*"),
    **dict.fromkeys(world.METADATA_KEYS, world.METADATA_VALUES),
}
_IDENTITIES = ("principals", "namespaces", "service_accounts", "trust_domains")
_NOT_FOR_CUSTOM = ("source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain")
_NOT_BESIDE_ACCOUNTS = ("principals", "namespaces")

_CONNECTIONS = 4
_TCP_SHARE = 0.14


def random_case(random: Random, questions: int) -> Case:
    """Up to four policies, and so many questions about them."""
    names = random.sample(("a", "b", "b-2", "c", "c.d"), k=random.choice((1, 1, 2, 3, 4)))
    policies = tuple(random_policy(random, name) for name in names)
    return Case(policies=policies, questions=random_questions(random, policies, questions))


def random_questions(random: Random, policies: Sequence[Policy], number: int) -> tuple[Question, ...]:
    """So many questions, over a few connections, made for `policies`."""
    connections = [random_connection(random, policies) for _ in range(_CONNECTIONS)]
    return tuple(random_question(random, policies, connections) for _ in range(number))


# Policies -------------------------------------------------------------------------------------------------------------


def accepted(case: Case) -> bool:
    """Whether the parser takes its policies as they stand."""
    documents = b"\n---\n".join(map(orjson.dumps, case.documents()))
    return not parse_manifests([("policies.yaml", documents)]).errors


@cache
def _usable(field: str, pool: tuple[str, ...]) -> tuple[str, ...]:
    """What of `pool` may be written for a field or key."""

    def policy(value: str) -> Policy:
        if field in _SOURCE_FIELDS:
            rule = Rule(sources=(Source(**{field: (value,)}),))
        elif field in _OPERATION_FIELDS:
            rule = Rule(operations=(Operation(**{field: (value,)}),))
        else:
            rule = Rule(conditions=(Condition(key=field, values=(value,)),))
        return Policy(namespace="shop", name="a", rules=(rule,))

    return tuple(value for value in pool if accepted(Case(policies=(policy(value),), questions=())))


def pick(random: Random, pool: Sequence[T]) -> T:
    """Half of the time one of the first three, which in every pool are ordinary and made for each other."""
    return random.choice(pool[:3] if random.random() < 0.5 else pool)


def _pick_of(random: Random, good: Sequence[T], bad: Sequence[T]) -> T:
    return random.choice(bad) if random.random() < _BAD_SHARE else pick(random, good)


def _values(random: Random, field: str, pool: tuple[str, ...]) -> tuple[str, ...]:
    usable = _usable(field, pool)
    return tuple(pick(random, usable) for _ in range(random.choice((1, 1, 2)))) if usable else ()


def _random_fields(
    random: Random, pools: Mapping[str, tuple[str, ...]], *, without: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    names = [name for name in pools if name not in without]
    fields: dict[str, tuple[str, ...]] = {}
    for name in random.sample(names, k=random.choice((1, 1, 1, 2))):
        if name in _NOT_BESIDE_ACCOUNTS and any("service_accounts" in other for other in fields):
            continue
        if name == "service_accounts" and any(other.endswith(_NOT_BESIDE_ACCOUNTS) for other in fields):
            continue
        fields |= _one_field(random, name, pools[name])
    return fields


def _one_field(random: Random, name: str, pool: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """What is wanted of it, what is not, or both."""
    fields: dict[str, tuple[str, ...]] = {}
    side = random.choice(("wanted", "wanted", "wanted", "unwanted", "both"))
    if side != "unwanted":
        fields[name] = _values(random, name, pool)
    if side != "wanted":
        fields[f"not_{name}"] = _values(random, name, pool)
    return fields


def random_condition(random: Random, action: Action, keys: Sequence[str]) -> Condition:
    """On one of `keys` that a policy with this action may look at."""
    keys = _for_action(action, keys)
    names = sorted({key.partition("[")[0] for key in keys})
    # Headers say most of what requests say.
    name = random.choice([*names, *(name for name in names for _ in range(3) if name == "request.headers")])
    return _condition(random, random.choice([key for key in keys if key.partition("[")[0] == name]))


def _for_action(action: Action, keys: Sequence[str]) -> list[str]:
    keys = [key for key in keys if _usable(key, tuple(_CONDITIONS[key]))]
    if action is not Action.CUSTOM:
        return keys
    return [key for key in keys if not key.startswith("request.auth.") and key not in _NOT_FOR_CUSTOM]


def _condition(random: Random, key: str) -> Condition:
    pool = tuple(_CONDITIONS[key])
    side = random.choice(("wanted", "wanted", "unwanted", "both"))
    return Condition(
        key=key,
        values=_values(random, key, pool) if side != "unwanted" else (),
        not_values=_values(random, key, pool) if side != "wanted" else (),
    )


# Among several parts there is mostly one that does not match, and then none of them decides.
_ALONE_SHARE = 0.55
# What most requests here have not, or not as anybody asks for it.
_SELDOM_MET = ("request.auth.", "source.", "experimental.")
# And of these, where there are no tokens, only a denial of connections is met: there it says nothing of tokens and so matches.
_MET_BY_DENIALS = ("request.auth.",) * 7


def random_rule(random: Random, action: Action) -> Rule:
    """On anything: often on one field or key alone, so that each decides in every run."""
    if random.random() < _ALONE_SHARE:
        return _rule_of_one_part(random, action)
    without = _not_in_sources(action)
    return Rule(
        sources=tuple(
            Source(**_random_fields(random, _SOURCE_FIELDS, without=without))
            for _ in range(random.choice((0, 0, 1, 1, 2)))
        ),
        operations=tuple(
            Operation(**_random_fields(random, _OPERATION_FIELDS)) for _ in range(random.choice((0, 0, 1, 1, 2)))
        ),
        conditions=tuple(
            random_condition(random, action, tuple(_CONDITIONS)) for _ in range(random.choice((0, 0, 1, 1, 2)))
        ),
    )


def _rule_of_one_part(random: Random, action: Action) -> Rule:
    """On one field or key."""
    keys = _for_action(action, tuple(_CONDITIONS))
    sources = [name for name in _SOURCE_FIELDS if name not in _not_in_sources(action)]
    names = sorted({key.partition("[")[0] for key in keys})
    seldom = _SELDOM_MET + (_MET_BY_DENIALS if action is Action.DENY else ())
    names += [name for prefix in seldom for name in names if name.startswith(prefix)]
    name = random.choice([*sources, *_OPERATION_FIELDS, *names])
    if name in _SOURCE_FIELDS:
        return Rule(sources=(Source(**_one_field(random, name, _SOURCE_FIELDS[name])),))
    if name in _OPERATION_FIELDS:
        return Rule(operations=(Operation(**_one_field(random, name, _OPERATION_FIELDS[name])),))
    return Rule(conditions=(_condition(random, random.choice([key for key in keys if key.partition("[")[0] == name])),))


def _not_in_sources(action: Action) -> tuple[str, ...]:
    return (*_IDENTITIES, "request_principals") if action is Action.CUSTOM else ()


def random_policy(random: Random, name: str, rule: Callable[[Random, Action], Rule] = random_rule) -> Policy:
    """Of any action, with rules as `rule` makes them."""
    action = random.choice((Action.ALLOW,) * 7 + (Action.DENY,) * 5 + (Action.AUDIT,) * 2 + (Action.CUSTOM,))
    fewest = 0 if action is Action.ALLOW else 1
    return Policy(
        namespace=random.choice(("shop", "shop", "istio-system")),
        name=name,
        action=action,
        rules=tuple(rule(random, action) for _ in range(random.choice((fewest, 1, 1, 2, 3, 12)))),
        dry_run=action in (Action.ALLOW, Action.DENY) and random.random() < 0.25,
        provider=random.choice(world.PROVIDERS) if action is Action.CUSTOM else None,
    )


# Connections and requests ---------------------------------------------------------------------------------------------


def random_connection(random: Random, policies: Sequence[Policy]) -> Connection:
    """One that `policies` may have something to say about."""
    peer = pick(random, _PEERS)
    destination = pick(random, world.ADDRESSES)
    # meshward takes what the PROXY protocol says for the address of the peer, so where a policy looks at that, it is.
    if any(_looks_at_peer(rule) for policy in policies for rule in policy.rules):
        source = None
        family = ip_address(peer).version
    else:
        source = pick(random, world.ADDRESSES)
        family = ip_address(source).version
    if ip_address(destination).version != family:
        destination = "10.1.2.3" if family == 4 else random.choice(("2001:db8::1", "::1", "::ffff:10.1.2.3"))
    caller = _random_caller(random, policies)
    return Connection(
        caller=caller,
        sni=None if caller is None else pick(random, _SNI),
        peer=peer,
        source=source,
        destination=destination,
        port=pick(random, _PORTS),
    )


def _random_caller(random: Random, policies: Sequence[Policy]) -> Caller | None:
    """Nobody, anybody, or somebody whom an identity in the policies may mean, read carelessly."""
    values = [
        value
        for policy in policies
        for rule in policy.rules
        for part in [*map(_in_source, rule.sources), *map(_in_condition, rule.conditions)]
        for value in part
    ]
    if random.random() < 0.2:
        return None
    meant = _alike(random.choice(values)) if values and random.random() < 0.6 else ()
    return random.choice(meant or _CALLERS)


def _in_source(source: Source) -> Sequence[str]:
    return [value for name in _IDENTITIES for side in ("", "not_") for value in getattr(source, side + name)]


def _in_condition(condition: Condition) -> Sequence[str]:
    return (*condition.values, *condition.not_values) if condition.key in _NOT_FOR_CUSTOM else ()


@cache
def _alike(value: str) -> tuple[Caller, ...]:
    """The callers with a name that has all the pieces of `value`, a dot for any character, whatever their trust domain."""
    domain, *rest = re.split(r"[/*]+", value)
    pieces = [re.compile(re.escape(piece).replace(r"\.", ".")) for piece in rest or [domain] if piece]
    return tuple(
        caller
        for caller in _CALLERS
        if any(
            all(piece.search(name) for piece in pieces)
            for name in (*caller.uris, *caller.dns, ",".join(value for _, value in caller.subject))
        )
    )


def _looks_at_peer(rule: Rule) -> bool:
    return any(source.ip_blocks or source.not_ip_blocks for source in rule.sources) or any(
        condition.key == "source.ip" for condition in rule.conditions
    )


def random_question(random: Random, policies: Sequence[Policy], connections: Sequence[Connection]) -> Question:
    """Over one of `connections`, aimed at `policies` as often as not."""
    connection = random.choice(connections)
    if random.random() < _TCP_SHARE:
        texts = [value for value in _METADATA if isinstance(value, str) and value]
        return Tcp(
            connection=connection,
            metadata={channel: str(pick(random, texts)) for channel in CHANNELS if random.random() < 0.7},
        )
    question = Http(
        connection=connection,
        # Not one and then the other over the same: what takes longest is to connect.
        version=HttpVersion.HTTP_2 if connection is connections[0] else HttpVersion.HTTP_1,
        method=_pick_of(random, _METHODS, _BAD_METHODS),
        target=_pick_of(random, _TARGETS, _BAD_TARGETS),
        host=_pick_of(random, _HOSTS, _BAD_HOSTS),
        headers=tuple(_random_headers(random)),
        metadata={channel: pick(random, _METADATA) for channel in CHANNELS if random.random() < 0.7},
    )
    rules = [rule for policy in policies for rule in policy.rules]
    return _aimed(random, question, random.choice(rules)) if rules and random.random() < 0.6 else question


def _random_headers(random: Random) -> list[tuple[str, str]]:
    lines = [
        (name, pick(random, _HEADERS))
        for name in _HEADER_NAMES
        if random.random() < 0.5
        for _ in range(random.choice((1, 1, 2, 3)))
    ]
    if random.random() < 0.4:
        lines += [("x-forwarded-for", pick(random, _FORWARDED_FOR)) for _ in range(random.choice((1, 1, 2)))]
    if random.random() < 0.1:
        lines.append(("content-type", random.choice(_CONTENT_TYPES)))
    random.shuffle(lines)
    return lines


def _aimed(random: Random, question: Http, rule: Rule) -> Http:
    """The question with what the rule asks for, as far as a request can say it; now and then not quite."""

    def one_of(values: tuple[str, ...]) -> str | None:
        return _fitting(random, random.choice(values)) if values and random.random() < 0.9 else None

    for operation in random.sample(rule.operations, k=min(1, len(rule.operations))):
        question = replace(
            question,
            method=_fitting_method(random, operation.methods) or question.method,
            target=_with_query(random, one_of(operation.paths)) or question.target,
            host=one_of(operation.hosts) or question.host,
        )
    for source in random.sample(rule.sources, k=min(1, len(rule.sources))):
        if source.remote_ip_blocks and (address := _inside(random.choice(source.remote_ip_blocks))):
            question = replace(question, headers=(*question.headers, ("x-forwarded-for", address)))
    for condition in rule.conditions:
        name = condition.key.removeprefix("request.headers[").removesuffix("]")
        if name != condition.key and name[0] != ":" and (value := one_of(condition.values)) is not None:
            # Alone, or as one line of several.
            lines = [line for line in question.headers if line[0].lower() != name.lower()]
            lines += [(name, other) for other in random.choices(_HEADERS, k=random.choice((0, 0, 1, 2)))]
            lines.insert(random.randint(0, len(lines)), (name, value))
            question = replace(question, headers=tuple(lines))
    return question


def _fitting(random: Random, value: str) -> str:
    """A text, in bytes, that the value of a policy matches."""
    text = value.replace("{**}", random.choice(("", "1", "1/2"))).replace("{*}", random.choice(("1", "x.y", "%41")))
    if text == value:
        some = random.choice(("", "x", "1/x"))
        text = some + value[1:] if value[0] == "*" else value.removesuffix("*") + some * (value[-1] == "*")
    return text.encode().decode("latin-1")


def _with_query(random: Random, path: str | None) -> str | None:
    return path + random.choice(("", "", "?page=2", "?x=/admin")) if path else None


def _fitting_method(random: Random, values: tuple[str, ...]) -> str | None:
    fitting = [
        method
        for method in _METHODS
        for value in values
        if value in ("*", method)
        or (method.startswith(value.removesuffix("*")) and method.endswith(value.removeprefix("*")))
    ]
    return random.choice(fitting) if fitting else None


def _inside(network: str) -> str | None:
    try:
        return str(ip_network(network, strict=False)[0])
    except ValueError:
        return None
