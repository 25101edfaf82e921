"""What lint proves of rules is so in worlds so small that every request can be tried, and nothing that is so is missed."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from itertools import product
from random import Random

from authz.attributes import Attributes, Protocol
from authz.decision import Verdict
from authz.findings.codes import (
    ALLOWS_EVERYONE,
    CONTRADICTION,
    DENIES_EVERYTHING,
    DUPLICATE_RULE,
    SHADOWED_RULE,
    WIDE_ALLOW,
)
from authz.findings.finding import Finding
from authz.model import Action, Operation, Policy, Rule, Source
from authz.semantics import decide
from mesh.findings.proved import with_proofs
from mesh.findings.surroundings import Surroundings
from parser.manifests import parse_manifests

WEB, OPS = "cluster.local/ns/shop/sa/web", "cluster.local/ns/ops/sa/x"
ALL_NETWORKS = ("0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/0", "::/0", "::/1", "8000::/1")
HALVES = ("0.0.0.0/1", "0.0.0.0/2", "64.0.0.0/2")
PATHS = ("/a", "/*", "/b*", "*")
METHODS = ("GET", "PUT")
EVERYWHERE = [ip_address(text) for text in ("10.0.0.1", "100.0.0.1", "200.0.0.1", "::1", "9000::1")]
REQUESTS = [
    Attributes(
        protocol=Protocol.HTTP,
        identities=() if who is None else (f"spiffe://{who}",),
        source_ip=address,
        remote_ip=address,
        destination_ip=address,
        destination_port=80,
        method=method,
        path=path,
        host="h",
        scheme="http",
    )
    for who, address, method, path in product(
        (WEB, OPS, "t.example/ns/z/sa/z", None), EVERYWHERE, (*METHODS, "TRACE"), ("/a", "/b1", "/c")
    )
]

CONNECTIONS = [
    replace(each, protocol=Protocol.TCP, method=None, path=None, host=None, scheme=None)
    for each in REQUESTS
    if (each.method, each.path) == ("GET", "/a")
]


def random_rule(random: Random, networks: tuple[str, ...]) -> Rule:
    def some(values: tuple[str, ...], most: int = 3) -> tuple[str, ...]:
        return tuple(random.sample(values, random.randint(0, min(most, len(values))))) if random.random() < 0.5 else ()

    sources = [
        Source(
            ip_blocks=some(networks, 4),
            not_ip_blocks=some(networks[:1]),
            not_principals=some((WEB,)),
            namespaces=some(("ops",)),
        )
        for _ in range(random.randint(0, 2))
    ]
    operations = [
        Operation(paths=some(PATHS), methods=some(METHODS), not_methods=some(METHODS), not_paths=some(PATHS[:1]))
        for _ in range(random.randint(0, 3))
    ]
    return Rule(
        sources=tuple(each for each in sources if each != Source()),
        operations=tuple(each for each in operations if each != Operation()),
    )


def matched(rule: Rule, requests: list[Attributes]) -> frozenset[int]:
    """Which of the requests an ALLOW rule matches, by the reference."""
    policy = Policy(namespace="shop", name="p", rules=(rule,))
    return frozenset(
        number
        for number, request in enumerate(requests)
        if decide((policy,), request, trust_domains=("cluster.local",)).verdict is Verdict.ALLOW
    )


def proved(*policies: Policy) -> list[Finding]:
    manifests = parse_manifests([])
    object.__setattr__(manifests, "policies", policies)
    return list(with_proofs(Surroundings(manifests, None), []))


def rules(count: int, networks: tuple[str, ...]) -> Iterator[Rule]:
    random = Random(5)
    for _ in range(count):
        yield random_rule(random, networks)


def test_a_rule_is_said_to_match_everything_if_it_does_and_only_then() -> None:
    everybody = frozenset(range(len(REQUESTS)))
    over_ipv4 = frozenset(n for n in everybody if REQUESTS[n].source_ip and REQUESTS[n].source_ip.version == 4)  # type: ignore[union-attr]  # it has one
    identified = frozenset(n for n in everybody if REQUESTS[n].identities)
    said = {True: 0, False: 0}
    for rule in rules(80, ALL_NETWORKS):
        meant = matched(rule, REQUESTS)
        for action, code in ((Action.DENY, DENIES_EVERYTHING), (Action.ALLOW, ALLOWS_EVERYONE)):
            found = proved(Policy(namespace="shop", name="p", action=action, rules=(rule,)))
            expected = over_ipv4 <= meant
            assert (code in [each.code for each in found]) is expected, rule
            if action is Action.ALLOW:
                assert (WIDE_ALLOW in [each.code for each in found]) is (identified <= meant and not expected), rule
            if expected:
                (finding,) = (each for each in found if each.code is code)
                assert ("over IPv4" in finding.message) is (not everybody <= meant), (rule, finding.message)
            said[expected] += 1
    assert min(said.values()) > 10


def test_two_rules_are_said_to_be_the_same_if_they_are_and_only_then() -> None:
    seen = dict.fromkeys((DUPLICATE_RULE, SHADOWED_RULE), 0)
    random = Random(11)
    some = list(rules(24, HALVES))
    for one in some:
        for other in random.sample(some, 8):
            mine, its = (matched(each, [*REQUESTS, *CONNECTIONS]) for each in (one, other))
            found = proved(Policy(namespace="shop", name="p", rules=(one, other)))
            codes = {each.code for each in found} & {DUPLICATE_RULE, SHADOWED_RULE, CONTRADICTION}
            if not mine or not its:
                assert CONTRADICTION in codes
                continue
            expected = DUPLICATE_RULE if mine == its else SHADOWED_RULE if mine < its or its < mine else None
            assert codes == ({expected} if expected else set()), (one, other)
            if expected:
                seen[expected] += 1
    assert min(seen.values()) > 2
