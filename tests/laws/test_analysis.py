"""What the analysis says about all requests at once is what the reference says about each of them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from random import Random

import pytest

from authz import semantics
from authz.analysis.access import Accesses, Guarding
from authz.analysis.regions import Region, merged, regions
from authz.analysis.repair import repaired
from authz.analysis.space import Case, Space
from authz.attributes import Attributes, Protocol
from authz.decision import Match, Verdict
from authz.extension_provider import ExtensionProvider, GrpcProvider
from authz.external import Authorizers
from authz.invariants import Spelling
from authz.matcher import matches
from authz.mesh_config import PathNormalization
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.peer_authentication import MtlsMode, PortMode
from tests.laws import world

ISSUERS = ("https://idp", "https://idp/")
PERMISSIVE: dict[int | None, PortMode] = {None: PortMode(MtlsMode.PERMISSIVE, "")}


def guarding(policies: tuple[Policy, ...], trust_domains: tuple[str, ...]) -> Guarding:
    names = {policy.provider for policy in policies if policy.action is Action.CUSTOM and policy.provider}
    asked: dict[str, ExtensionProvider] = {
        name: GrpcProvider(name=name, service=f"{name}.example", port=9000) for name in names
    }
    return Guarding(
        policies,
        {} if trust_domains == ("t",) else dict.fromkeys(ISSUERS, ()),
        Authorizers(asked),
        PERMISSIVE,
        trust_domains,
    )


def space_of(protocol: Protocol, issuers: tuple[str, ...] = ISSUERS) -> Space:
    return Space(protocol, normalization=PathNormalization.NONE, issuers=issuers)


def there_can_be(attributes: Attributes) -> bool:
    """Whether it is one of the requests that the space is of."""
    claims = attributes.claims
    http = attributes.protocol is Protocol.HTTP
    return (
        len(attributes.identities) < 2
        and all(re.fullmatch(r"spiffe://[a-z.-]+(/ns/[a-z]+/sa/[a-z0-9]+)?", each) for each in attributes.identities)
        and attributes.destination_port != 0
        and attributes.destination_port is not None
        and (not http or None not in (attributes.method, attributes.path, attributes.host, attributes.scheme))
        and (not http or (attributes.path or "").startswith("/"))
        and (not http or bool(attributes.method and attributes.host))
        and (
            claims is None or (claims.get("iss") in ISSUERS and ("sub" not in claims or isinstance(claims["sub"], str)))
        )
        and (http or claims is None)
    )


@pytest.mark.parametrize("chunk", range(8))
def test_what_can_be_is_found_and_what_cannot_never_is(chunk: int) -> None:
    found = 0
    for seed in range(chunk * 12, chunk * 12 + 12):
        random = Random(seed)
        trust_domains = random.choice(world.TRUST_DOMAINS)
        policies = world.random_policies(random)
        for protocol in Protocol:
            space = space_of(protocol)
            access = Accesses(space).of(guarding(policies, trust_domains))
            cases: dict[Verdict, Case | None] = {}
            for verdict, literal in ((Verdict.ALLOW, access.allowed), (Verdict.DENY, -access.allowed)):
                case = cases[verdict] = space.find(literal, simplest=seed % 2 == 0)
                if case is not None:
                    found += 1
                    decision = semantics.decide(
                        policies, case.attributes, trust_domains=trust_domains, allowed_by=case.allowed_by
                    )
                    assert decision.verdict is verdict, (seed, policies, case)
            for _ in range(100):
                attributes = world.random_attributes(random)
                if attributes.protocol is protocol and there_can_be(attributes):
                    allowed_by = world.random_providers(random)
                    decision = semantics.decide(
                        policies, attributes, trust_domains=trust_domains, allowed_by=allowed_by
                    )
                    assert cases[decision.verdict] is not None, (seed, policies, attributes, allowed_by)
    assert found > 20


# A world so small that every request of it can be tried -------------------------------------------------------------------

NAMES = ("a", "b", "aa", "ab", "ba")
SMALL_IDENTITIES = ((), *((f"spiffe://t/ns/{ns}/sa/{sa}",) for ns, sa in product(NAMES, ("a", "b"))))
SMALL_PATHS = tuple("/" + "".join(letters) for n in range(4) for letters in product("ab/", repeat=n))
SMALL_METHODS = ("G", "P")


SMALL_HEADERS: tuple[dict[str, tuple[str, ...]], ...] = ({}, {"x": ("a",)}, {"x": ("b", "ab")})


def every_request() -> list[Attributes]:
    return [
        Attributes(
            identities=identities,
            method=method,
            path=path,
            host="h",
            scheme="http",
            destination_port=port,
            headers=headers,
        )
        for identities, method, path, port, headers in product(
            SMALL_IDENTITIES, SMALL_METHODS, SMALL_PATHS, (1, 2), SMALL_HEADERS
        )
    ]


PATTERNS = ("a*", "*a", "b*", "*b", "a", "b", "*", "ab", "ab*", "*ab")
SMALL_PATH_VALUES = (
    "/a*",
    "/b*",
    "*a",
    "*b",
    "/",
    "/a",
    "/ab",
    "*",
    "/{*}",
    "/{*}/a",
    "/a/{**}",
    "/{**}",
    "/a/{*}/b",
    "*/b",
    "/a/*",
)


def small_rule(random: Random) -> Rule:
    def values(pool: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(random.sample(pool, k=min(len(pool), random.choice((0, 0, 1, 2)))))

    source = Source(
        namespaces=values((*NAMES[:2], *PATTERNS[:4])),
        not_namespaces=values(PATTERNS),
        principals=values(("t/ns/a/sa/a", "*/sa/b", "t/ns/a*", "*", "t/ns/b/sa/*")),
    )
    operation = Operation(
        paths=values(SMALL_PATH_VALUES),
        not_paths=values(SMALL_PATH_VALUES),
        methods=values(("G", "P")),
        ports=values(("1",)),
    )
    condition = Condition(key="request.headers[x]", values=values(PATTERNS), not_values=values(PATTERNS))
    return Rule(
        sources=(source,) if random.random() < 0.7 else (),
        operations=(operation,) if random.random() < 0.8 else (),
        conditions=(condition,) if random.random() < 0.3 else (),
    )


def small_policies(random: Random) -> tuple[Policy, ...]:
    return tuple(
        Policy(
            namespace="a",
            name=name,
            action=action,
            rules=tuple(small_rule(random) for _ in range(random.choice((1, 2)))),
        )
        for name, action in zip("xyz", random.choices((Action.ALLOW, Action.DENY), weights=(2, 1), k=3), strict=True)
    )


Versions = tuple[tuple[Policy, ...], tuple[Policy, ...]]


def rule_matches(policies: tuple[Policy, ...], match: Match, attributes: Attributes) -> bool:
    policy = next(policy for policy in policies if policy.id == match.policy)
    alone = replace(policy, action=Action.ALLOW, rules=(policy.rules[match.rule],))
    return semantics.decide((alone,), attributes, trust_domains=("t",)).verdict is Verdict.ALLOW


def in_region(region: Region, attributes: Attributes, versions: Versions) -> bool:
    there, elsewhere = versions
    return (
        all(
            (
                not asked.wanted
                or any(matches(p.matcher, v) for p in asked.wanted for v in asked.attribute.read(attributes))
            )
            and not any(matches(p.matcher, v) for p in asked.unwanted for v in asked.attribute.read(attributes))
            for asked in region.asked
        )
        and not any(rule_matches(there, match, attributes) for match in region.unless_there)
        and not any(rule_matches(elsewhere, match, attributes) for match in region.unless_elsewhere)
        and (
            not region.as_allowed or semantics.decide(there, attributes, trust_domains=("t",)).verdict is Verdict.ALLOW
        )
    )


@pytest.mark.parametrize("chunk", range(4))
def test_regions_are_where_two_versions_differ_and_nowhere_else(chunk: int) -> None:
    requests = every_request()
    differing = 0
    for seed in range(chunk * 5, chunk * 5 + 5):
        random = Random(seed)
        old, new = small_policies(random), small_policies(random)
        space = Space(Protocol.HTTP, normalization=PathNormalization.NONE, issuers=())
        accesses = Accesses(space)
        before, after = (accesses.of(guarding(policies, ("t",))) for policies in (old, new))
        found = merged(regions(space, after, before))
        for attributes in random.sample(requests, k=800):
            was, now = (semantics.decide(policies, attributes, trust_domains=("t",)).verdict for policies in (old, new))
            differs = was is Verdict.DENY and now is Verdict.ALLOW
            differing += differs
            inside = any(in_region(region, attributes, (new, old)) for region in found)
            assert inside is differs, (seed, attributes)
        for region in found:
            assert in_region(region, region.case.attributes, (new, old))
    assert differing


@pytest.mark.parametrize("chunk", range(4))
def test_a_denied_request_that_is_repaired_is_allowed(chunk: int) -> None:
    repairs = hopeless = 0
    for seed in range(chunk * 25, chunk * 25 + 25):
        random = Random(seed)
        trust_domains = random.choice(world.TRUST_DOMAINS)
        policies = world.random_policies(random)
        before = guarding(policies, trust_domains)
        for _ in range(4):
            attributes = world.random_attributes(random)
            decision = semantics.decide(policies, attributes, trust_domains=trust_domains)
            enforced = [p for p in policies if p.action is Action.ALLOW and not p.dry_run]
            if decision.verdict is Verdict.ALLOW or not enforced:
                continue
            for policy in enforced:
                for index in range(len(policy.rules)):
                    found = repaired(before, attributes, Match(policy.id, index), ())
                    if found is None:
                        hopeless += 1
                        continue
                    repairs += 1
                    mended, passing = found
                    again = semantics.decide(policies, mended, trust_domains=trust_domains, allowed_by=passing)
                    assert again.verdict is Verdict.ALLOW, (seed, attributes, mended)
    assert repairs > hopeless / 4


def spelt_otherwise(attributes: Attributes, spelling: Spelling) -> Iterator[Attributes]:
    match spelling:
        case Spelling.PATH_NORMALIZATION:
            parts = (attributes.path or "").split("/")[1:]
            for slashes in product(("/", "//", "%2F"), repeat=len(parts)):
                if slashes[0] != "%2F":
                    path = "".join(slash + part for slash, part in zip(slashes, parts, strict=True))
                    yield replace(attributes, path=path)
        case Spelling.METHOD_CASE:
            yield replace(attributes, method=(attributes.method or "").lower())
        case _:
            for more in ("a", "b", "ab", "x"):
                yield replace(attributes, headers={name: (*lines, more) for name, lines in attributes.headers.items()})


@pytest.mark.parametrize("spelling", [each for each in Spelling if each is not Spelling.HOST_CASE])
def test_what_passes_when_it_is_spelt_otherwise_is_found(spelling: Spelling) -> None:
    requests = [each for each in every_request() if "//" not in (each.path or "")]
    unstable = stable = 0
    for seed in range(14):
        random = Random(seed)
        policies = small_policies(random)
        before = guarding(policies, ("t",))
        space = Space(Protocol.HTTP, normalization=PathNormalization.BASE, issuers=())
        access = Accesses(space).of(before)
        otherwise = Accesses(space, space.respelt(spelling)).of(before)
        case = space.find(-access.allowed, otherwise.allowed)
        if case is not None:
            unstable += 1
            assert case.respelt is not None
            verdicts = [
                semantics.decide(policies, each, trust_domains=("t",)).verdict
                for each in (case.attributes, case.respelt)
            ]
            assert verdicts == [Verdict.DENY, Verdict.ALLOW], (seed, case)
            continue
        stable += 1
        for attributes in random.sample(requests, k=150):
            if semantics.decide(policies, attributes, trust_domains=("t",)).verdict is Verdict.DENY:
                for each in spelt_otherwise(attributes, spelling):
                    decision = semantics.decide(policies, each, trust_domains=("t",))
                    assert decision.verdict is Verdict.DENY, (seed, attributes, each)
    assert unstable
    assert stable
