"""Laws of findings: what is said to make no difference makes none, for whatever request, and what covers covers.

Nothing is said about values with a line break in them, which no request over HTTP has.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from itertools import product
from random import Random

import pytest
from hypothesis import assume, given, settings

from authz.attributes import Attributes, Issued, ListItem, Protocol, Value
from authz.errors import AuthzError
from authz.findings.codes import DEAD_VALUE, DUPLICATE_RULE, REDUNDANT_VALUE, SHADOWED_RULE, UNREACHABLE_RULE
from authz.findings.containment import covers, disjoint
from authz.findings.contradiction import find_contradictions
from authz.findings.finding import Drop, Finding
from authz.findings.reading import read_rules
from authz.findings.redundancy import find_redundant_rules
from authz.findings.values import find_odd_values
from authz.findings.wider import WiderIndex
from authz.matcher import (
    Exact,
    Exists,
    Matcher,
    Namespace,
    Prefix,
    Present,
    ServiceAccount,
    SpiffeSuffix,
    Suffix,
    Template,
    TrustDomainPattern,
    matches,
)
from authz.mesh_config import MeshConfig
from authz.model import Policy, Rule
from authz.semantics import decide, triggered
from authz.span import Path
from authz.values import cidr
from tests.laws.world import random_attributes, random_policies
from tests.unit.authz.strategies import SCOPE, matchers, values

CONFIG = MeshConfig(trust_domain="td.example", trust_domain_aliases=("old.example",))
SETS = 120
REQUESTS = 25
MOST = 25
law = settings(max_examples=300)


def text_of(value: Value) -> str:
    match value:
        case Issued(issuer, subject):
            return issuer + subject
        case ListItem(text):
            return text
        case _:
            return str(value)


# Matchers ---------------------------------------------------------------------------------------------------------------


@law
@given(matchers, matchers, values)
def test_what_covers_matches_all_that_is_covered(wide: Matcher, narrow: Matcher, value: Value) -> None:
    assume("\n" not in text_of(value))
    if covers(wide, narrow) and matches(narrow, value):
        assert matches(wide, value)


@law
@given(matchers, matchers, values)
def test_of_what_is_apart_nothing_matches_both(one: Matcher, other: Matcher, value: Value) -> None:
    if disjoint(one, other):
        assert not (matches(one, value) and matches(other, value))


def small() -> dict[str, tuple[list[Matcher], list[Value]]]:
    """Matchers and values of each kind, few and near each other: all of them are tried together."""
    words = ["".join(letters) for length in range(4) for letters in product("/a", repeat=length)]
    texts: list[Matcher] = [Present(), Exists()]
    texts += [kind(word) for kind in (Exact, Prefix, Suffix) for word in words]
    names = ["".join(letters) for length in range(3) for letters in product("ab", repeat=length)]
    callers: list[Matcher] = [Present(), *(kind(f"spiffe://{name}/ns/a") for kind in (Exact, Prefix) for name in names)]
    callers += [
        Exact(f"spiffe://{td}/ns/{ns}/sa/{sa}") for td in ("a", "ab") for ns in ("a", "ab") for sa in ("a", "b")
    ]
    callers += [Namespace(pieces) for pieces in [(name,) for name in names if name] + list(product(names, repeat=2))]
    callers += [kind(one, other) for kind in (ServiceAccount, TrustDomainPattern) for one in ("a", "ab") for other in ("a", "b")]  # fmt: skip
    callers += [SpiffeSuffix(end) for end in ("", "a", "/sa/a", "/ns/a/sa/a", "a/ns/ab/sa/b")] + [Prefix("spiffe://")]
    identities = [f"spiffe://{td}/ns/{ns}/sa/{sa}" for td in names for ns in names for sa in ("a", "b", "ab")]
    segments = ["/a", "/b", "/{*}", "/{**}"]
    shapes = ["".join(parts) + end for length in (1, 2, 3) for parts in product(segments, repeat=length) for end in ("", "/")]  # fmt: skip
    templates: list[Matcher] = [
        Template(each) for each in shapes if "{" in each and "{" not in each.partition("{**}")[2]
    ]
    templates += [kind(word) for kind in (Exact, Prefix, Suffix) for word in ("/a", "/a/", "/a/b", "/b", "/a/a/b")]
    paths = ["".join(parts) for length in range(5) for parts in product(("/", "/a", "/b"), repeat=length)]
    nets: list[Matcher] = [cidr(text, SCOPE)[0] for text in ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "11.0.0.0/8", "::/0", "2001:db8::/32")]  # fmt: skip
    addresses = [ip_address(text) for text in ("10.0.0.1", "10.1.2.3", "11.0.0.1", "192.0.2.1", "2001:db8::1", "::1")]
    return {
        "text": (texts, list(words)),
        "caller": (callers, list(identities)),
        "path": (templates, list(paths)),
        "address": (nets, list(addresses)),
    }


@pytest.mark.parametrize("kind", sorted(small()))
def test_among_a_few_matchers_every_answer_is_right(kind: str) -> None:
    pool, candidates = small()[kind]
    matched = [{number for number, value in enumerate(candidates) if matches(each, value)} for each in pool]
    seen = Counter[str]()
    for (wide, by_wide), (narrow, by_narrow) in product(zip(pool, matched, strict=True), repeat=2):
        if covers(wide, narrow):
            seen["covers"] += wide != narrow
            assert by_narrow <= by_wide, (wide, narrow)
            index: WiderIndex[str] = WiderIndex()
            index.add(None, wide, "wide")
            assert list(index.asking_for_more(None, narrow)), (wide, narrow)
        if disjoint(wide, narrow):
            seen["disjoint"] += 1
            assert not by_narrow & by_wide, (wide, narrow)
    assert min(seen.values()) > 5


@law
@given(matchers, matchers)
def test_what_covers_is_found_by_what_is_covered(wide: Matcher, narrow: Matcher) -> None:
    if covers(wide, narrow):
        index: WiderIndex[str] = WiderIndex()
        index.add(None, wide, "wide")
        assert list(index.asking_for_more(None, narrow))


# Rules ------------------------------------------------------------------------------------------------------------------


def told(policies: tuple[Policy, ...], attributes: Attributes) -> object:
    decision = decide(policies, attributes, trust_domains=CONFIG.trust_domains)
    asked = triggered(policies, attributes, trust_domains=CONFIG.trust_domains)
    shadows = [shadow and shadow.verdict for shadow in (decision.shadow_deny, decision.shadow_allow)]
    return decision.verdict, decision.audit, shadows, [each.provider for each in asked]


def requests(random: Random) -> Iterator[Attributes]:
    for _ in range(REQUESTS):
        found = random_attributes(random)
        if "\\n" not in repr(found):
            # One identity, as certificates of a mesh have.
            yield replace(found, identities=found.identities[:1])


def without_rule(policies: tuple[Policy, ...], policy: Policy, index: int) -> tuple[Policy, ...]:
    rules = (*policy.rules[:index], *policy.rules[index + 1 :])
    return tuple(replace(each, rules=rules) if each is policy else each for each in policies)


def narrowed(random: Random, rule: Rule, other: Rule) -> Rule:
    """The rule with something besides, or with less to choose from."""
    sources = rule.sources and rule.sources[: random.randint(1, len(rule.sources))]
    return replace(rule, sources=sources or other.sources, conditions=(*other.conditions, *rule.conditions))


def with_narrower_ones(random: Random, policies: tuple[Policy, ...]) -> tuple[Policy, ...]:
    rules = [rule for policy in policies for rule in policy.rules]
    return tuple(
        replace(
            policy,
            selector=None,
            target_refs=(),
            namespace="shop",
            rules=(
                *(narrowed(random, random.choice(rules), random.choice(rules)) for _ in policy.rules[:2]),
                *policy.rules,
            ),
        )
        for policy in policies
    )


def test_without_a_rule_that_another_one_leaves_nothing_to_do_all_is_decided_as_before() -> None:
    found: Counter[str] = Counter()
    for seed in range(SETS):
        random = Random(seed)
        policies = with_narrower_ones(random, random_policies(random))
        asked = [(attributes, told(policies, attributes)) for attributes in requests(random)]
        for finding in find_redundant_rules(policies, CONFIG):
            found[finding.code.name] += 1
            # Of what there is so much of, some is enough.
            if found[finding.code.name] > MOST:
                continue
            assert isinstance(finding.policy, Policy)
            index = finding.path[-1]
            assert isinstance(index, int)
            fewer = without_rule(policies, finding.policy, index)
            for attributes, before in asked:
                assert told(fewer, attributes) == before, (seed, finding.message, policies)
    # The law has something to say.
    assert min(found[code.name] for code in (SHADOWED_RULE, DUPLICATE_RULE, UNREACHABLE_RULE)) > 2, found


# Values -----------------------------------------------------------------------------------------------------------------

_SNAKE = {"from": "sources", "to": "operations", "when": "conditions", "notValues": "not_values"}


def without_value(policy: Policy, path: Path) -> Policy:
    """The policy without the value at a path of its document."""
    match path:
        case ("spec", "rules", int(rule), str(half), int(part), *_, str(name), int(index)):
            field = _SNAKE.get(name) or "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
            parts = list(getattr(policy.rules[rule], _SNAKE[half]))
            kept = list(getattr(parts[part], field))
            del kept[index]
            parts[part] = replace(parts[part], **{field: tuple(kept)})
            rules = list(policy.rules)
            rules[rule] = replace(rules[rule], **{_SNAKE[half]: tuple(parts)})
            return replace(policy, rules=tuple(rules))
        case _:
            raise AssertionError(path)


def findings(policy: Policy) -> Iterator[Finding]:
    for rule in read_rules(policy, CONFIG.trust_domains):
        yield from find_contradictions(rule)
        yield from find_odd_values(rule, CONFIG)


def test_without_a_value_that_a_fix_drops_all_is_decided_as_before() -> None:
    found: Counter[str] = Counter()
    for seed in range(SETS):
        random = Random(seed)
        policies = random_policies(random)
        asked = list(requests(random))
        for policy in policies:
            try:
                dropping = [finding for finding in findings(policy) if finding.fix]
            except AuthzError:
                continue  # with an error in it nothing is found
            for finding in dropping:
                (change,) = finding.fix
                assert isinstance(change, Drop)
                found[finding.code.name] += 1
                fewer = without_value(policy, change.path)
                for attributes in asked:
                    was, now = (told((each,), attributes) for each in (policy, fewer))
                    assert was == now, (seed, finding.message)
    assert min(found[code.name] for code in (DEAD_VALUE, REDUNDANT_VALUE)) > 5, found


def test_what_is_said_never_to_match_never_does() -> None:
    count = 0
    for seed in range(SETS):
        random = Random(seed)
        for policy in random_policies(random):
            try:
                read = read_rules(policy, CONFIG.trust_domains)
            except AuthzError:
                continue
            for rule in read:
                # A condition that cannot hold keeps the whole rule from matching, and so does the one source there is.
                clashes = [each for each in find_contradictions(rule) if each.code.name == "contradiction"]
                whole = [each for each in clashes if each.path[3] == "when" or len(_half(rule.policy, each.path)) == 1]
                for finding in whole:
                    count += 1
                    alone = replace(policy, rules=(policy.rules[rule.index],), dry_run=False)
                    for attributes in requests(random):
                        if attributes.protocol is Protocol.HTTP:
                            assert decide((alone,), attributes, trust_domains=CONFIG.trust_domains).match is None, (
                                seed,
                                finding.message,
                            )
    assert count > 5


def _half(policy: Policy, path: Path) -> tuple[object, ...]:
    rule, half = path[2], path[3]
    assert isinstance(rule, int)
    found: tuple[object, ...] = getattr(policy.rules[rule], _SNAKE[str(half)])
    return found
