"""What policy tests decide is what `meshward check` decides, and what they say is covered is what was there to be seen."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authz.attributes import Attributes
from authz.decision import Decision, Match, Stage
from authz.explain import ClauseReport, RuleReport, explain
from authz.mesh_config import MeshConfig
from authz.mesh_given import MeshGiven
from authz.model import Action, Policy
from authz.span import Path as Place
from authz.span import Span, Written
from authz.workload import Workload
from mesh.deciding import decide_as_sent
from mesh.snapshot import Snapshot
from mesh.testing import coverage as covering
from mesh.testing.coverage import Covering
from mesh.testing.results import Wanted, run_suite
from mesh.testing.running import Case, Running
from mesh.testing.suites import Loading, Suite
from mesh.testing.suites import Place as At
from parser.policy_tests import Caller, PolicyTest, PolicyTests, Request
from parser.request import RequestDocument
from tests.laws.world import TRUST_DOMAINS, random_attributes, random_policies, random_providers

SHOP = Path(__file__).parents[2] / "policies" / "shop"
NOWHERE = Span("t", 1, 1, 1, 1)
WORKLOAD = Workload(namespace="shop", name="api", labels={"app": "api"})


# Deciding -------------------------------------------------------------------------------------------------------------


@cache
def shop() -> Suite:
    file = SHOP / "shop.authz-test.yaml"
    return Loading().load(str(file), file.read_bytes(), directory=SHOP)


paths = st.lists(
    st.sampled_from(["/", "//", "/items", "/admin", "internal", "..", ".", "%2e", "%2f", "%61", ";x", "?a=b", "#", "%00", " ", "7"]),
    min_size=1,
    max_size=6,
).map("".join)  # fmt: skip
requests = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST", "DELETE", "get"]),
    path=paths,
    host=st.sampled_from([None, "api.shop", "API.shop:8080"]),
    headers=st.sampled_from([{}, {"x-role": ("buyer",)}, {"x-forwarded-for": ("203.0.113.9, 10.2.0.5",)}]),
    port=st.sampled_from([None, 8080, 9090]),
)


@given(requests)
@example(Request(method="GET", path="/items//internal"))
@example(Request(method="GET", path="/items/%00"))
def test_a_case_is_decided_as_check_decides_its_request(request: Request) -> None:
    suite = shop()
    callers = tuple(suite.tests.callers)
    test = PolicyTest(
        name="t", to=Written("shop/api", NOWHERE), span=NOWHERE, requests=(request,), callers=callers, allow=frozenset()
    )
    running = Running(replace(suite, tests=replace(suite.tests, tests=(test,), complete=())), at=0)
    cases = list(running.cases())
    assert [case.caller.name for case in cases] == list(callers)
    for case in cases:
        sent = RequestDocument(destination=case.place.destination, attributes=as_sent(case))
        assert running.outcome(case).decision == decide_as_sent(suite.snapshot, sent, case.offline)


def as_sent(case: Case) -> Attributes:
    caller, request = case.caller, case.request
    identity = caller.spiffe
    if caller.service_account is not None:
        identity = "spiffe://cluster.local/ns/{}/sa/{}".format(*caller.service_account)
    return Attributes(
        identities=() if identity is None else (identity,),
        source_ip=caller.address,
        remote_ip=caller.address,
        destination_port=request.port,
        method=request.method,
        path=request.path,
        host=request.host,
        headers=request.headers,
    )


def test_what_is_looked_at_besides_changes_no_outcome() -> None:
    plain, watched = (run_suite(shop(), at=0, wanted=frozenset(wanted)) for wanted in ([Wanted.NAMES], Wanted))
    assert (plain.passed, plain.failed, plain.mutants) == (watched.passed, watched.failed, watched.mutants)


# Covering -------------------------------------------------------------------------------------------------------------


def suite_of(policies: tuple[Policy, ...], trust_domains: tuple[str, ...]) -> Suite:
    here = tuple(replace(policy, namespace="shop", selector=None, target_refs=()) for policy in policies)
    distinct = tuple({policy.id: policy for policy in here}.values())
    config = MeshConfig(trust_domain=trust_domains[0], trust_domain_aliases=trust_domains[1:])
    test = PolicyTest(name="t", to=Written("shop/api", NOWHERE), span=NOWHERE)
    tests = PolicyTests(file="t", policies=(), mesh=MeshGiven(), workloads={}, callers={}, now=None, tests=(test,))
    snapshot = Snapshot(policies=distinct, workloads=(WORKLOAD,), config=config, revision="r")
    return Suite(tests=tests, snapshot=snapshot, places={"shop/api": At(WORKLOAD)}, directory=SHOP)


def case_of(suite: Suite) -> Case:
    (test,) = suite.tests.tests
    ready = replace(test, requests=(Request(method="GET", path="/"),), callers=("c",), allow=frozenset())
    known = replace(suite.tests, tests=(ready,), callers={"c": Caller(name="c")})
    running = Running(replace(suite, tests=known), at=0)
    return next(running.cases())


def check_coverage(seed: int, *, asked: int = 8) -> None:
    """Whether what is said to be covered is what explaining every request finds. A planted fault must make this fail."""
    random = Random(seed)
    suite = suite_of(random_policies(random), random.choice(TRUST_DOMAINS))
    place, domains = suite.places["shop/api"], suite.snapshot.config.trust_domains
    policies, tree, case = suite.applying(place), suite.snapshot.tree(WORKLOAD), case_of(suite)
    watching = Covering(suite)
    seen: dict[tuple[str, Place, bool], set[bool]] = defaultdict(set)
    audited: set[Match] = set()
    for _ in range(asked):
        attributes, allowed_by = random_attributes(random), random_providers(random)
        decision = watching.watch(tree, attributes, allowed_by=allowed_by)
        watching.note(case, decision)
        explanation = explain(policies, attributes, trust_domains=domains, allowed_by=allowed_by)
        for stage in explanation.stages:
            for report in stage.policies:
                for rule in report.rules:
                    if (
                        report.policy.action is Action.AUDIT
                        and not report.policy.dry_run
                        and rule.held
                        and decision.audit
                    ):
                        audited.add(rule.match)
                    if rule.dropped is None and comes_to(report.policy, decision):
                        for clause in clauses(rule):
                            seen[report.policy.id, clause.path, clause.negated].add(clause.held)
    coverage = watching.coverage()
    found = [(clause.policy, clause.held, clause.failed) for clause in coverage.clauses]
    everything = explain(policies, Attributes(), trust_domains=domains)
    expected = [
        (report.policy.id, *(held in seen[report.policy.id, clause.path, clause.negated] for held in (True, False)))
        for stage in everything.stages
        for report in stage.policies
        for rule in report.rules
        for clause in clauses(rule)
    ]
    assert sorted(found) == sorted(expected)
    decided = {Match(rule.policy, rule.rule) for rule in coverage.rules if rule.decided}
    assert audited <= decided


def comes_to(policy: Policy, decision: Decision) -> bool:
    """As the filters stand: CUSTOM, then AUDIT and DENY, then ALLOW, each with its dry runs."""
    filters = [{Action.CUSTOM}, {Action.AUDIT, Action.DENY}, {Action.ALLOW}]
    last = {Stage.CUSTOM: 1, Stage.DENY: 2}.get(decision.stage, 3)
    return any(policy.action in each for each in filters[:last])


def clauses(rule: RuleReport) -> Iterator[ClauseReport]:
    for part in (*rule.sources, *rule.operations):
        yield from part.clauses
    yield from rule.conditions


@settings(max_examples=50)
@given(st.integers(min_value=0))
@example(151)
@example(2261)
@example(21)
def test_what_is_covered_is_what_explaining_every_case_would_find(seed: int) -> None:
    check_coverage(seed)


class Everything(set[Any]):
    """Takes all that there is for seen, once it has seen something."""

    def __ge__(self, other: object) -> bool:
        return bool(self)


@pytest.mark.parametrize("fault", ["value", "stage"])
def test_a_case_that_is_wrongly_taken_for_one_like_another_is_noticed(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "stage":
        monkeypatch.setattr(covering, "_reached", lambda *_: True)
    else:
        right = Covering._at

        def at(self: Covering, to: str, place: At) -> covering._AtPlace:
            found = right(self, to, place)
            if not isinstance(found.sights, Everything):
                found.sights = Everything()
            return found

        monkeypatch.setattr(Covering, "_at", at)
    with pytest.raises(AssertionError):  # noqa: PT012  # one of many
        for seed in range(300):
            check_coverage(seed)
