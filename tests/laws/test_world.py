"""The world that the laws are tried in: dull generators would make every law true."""

from collections import Counter
from random import Random

from authz import semantics
from authz.attributes import Protocol
from authz.matcher import matches
from authz.predicates import PredicateTable
from tests.laws.world import TRUST_DOMAINS, random_attributes, random_policies

SETS, REQUESTS = 400, 10


def test_every_way_to_be_decided_is_met_often() -> None:
    met: Counter[tuple[str, str]] = Counter()
    for seed in range(SETS):
        random = Random(seed)
        policies = random_policies(random)
        for _ in range(REQUESTS):
            decision = semantics.decide(policies, random_attributes(random), trust_domains=TRUST_DOMAINS[0])
            met[decision.stage.value, decision.verdict.value] += 1
    for outcome in (("deny", "DENY"), ("allow", "ALLOW"), ("allow", "DENY"), ("none", "ALLOW")):
        assert met[outcome] / (SETS * REQUESTS) > 0.1, met
    assert met["custom", "DENY"] / (SETS * REQUESTS) > 0.02, met


def test_predicates_meet_values_that_match_that_do_not_that_are_absent_and_that_repeat() -> None:
    met: Counter[str] = Counter()
    for seed in range(SETS):
        random = Random(seed)
        table = PredicateTable(trust_domains=TRUST_DOMAINS[0])
        for policy in random_policies(random):
            table.lower(policy, Protocol.HTTP)
        attributes = [random_attributes(random) for _ in range(REQUESTS)]
        for predicate in table:
            for request in attributes:
                values = predicate.attribute.read(request)
                hits = sum(matches(predicate.matcher, value) for value in values)
                met["absent"] += not values
                met["match"] += bool(hits)
                met["miss"] += bool(values) and not hits
                met["repeated, some match"] += 0 < hits < len(values)
    total = met["absent"] + met["match"] + met["miss"]
    assert all(met[kind] / total > 0.2 for kind in ("absent", "match", "miss")), met
    assert met["repeated, some match"] / total > 0.02, met
