"""What is called proved is attacked, and what is shown is decided again, by the code that answers requests."""

import os
from dataclasses import replace
from random import Random

import pytest

from authz import semantics
from authz.attributes import Attributes
from authz.decision import Verdict
from authz.invariants import Always, Assumed, Baseline, Callers, Invariant, Never, NoNewAccess, Requests, SameAs
from authz.model import Action, Policy, Rule
from authz.span import Span
from mesh.comparing import Change, compare
from mesh.deciding import Offline, decide
from mesh.differences import differences
from mesh.proving.proofs import Status, prove
from mesh.proving.showing import Shown
from mesh.snapshot import Snapshot
from parser.request import parse_request
from tests.laws import world
from tests.laws.proving_world import API, mesh, nearly, random_mesh, random_operation, random_source, requests

HERE = Span("x.authz-proof.yaml", 1, 1, 1, 1)
ATTACKS = int(os.environ.get("MESHWARD_ATTACKS", "100000"))
"""Requests in all; `make attacks` takes more."""

PAIRS = 25
EACH = max(1, ATTACKS // (4 * PAIRS * 4))


def verdict(snapshot: Snapshot, attributes: Attributes, allowed_by: frozenset[str]) -> Verdict:
    """As the server decides, behind the stage of tokens."""
    guard = snapshot.guard(API)
    asked = allowed_by & guard.authorizers.asked.keys()
    if attributes.claims is not None and not guard.jwt_rules:
        attributes = replace(attributes, claims=None)
    return guard.tree.decide(attributes, allowed_by=asked | guard.authorizers.passed(attributes.protocol)).verdict


def no_baselines(name: str) -> Snapshot:
    raise KeyError(name)


def selected(callers: Callers, wanted: Requests, attributes: Attributes, snapshot: Snapshot) -> bool:
    """Whether it is meant, by the reference."""
    rule = Rule(sources=(callers.source,), operations=(wanted.operation,))
    policy = Policy(namespace="shop", name="x", action=Action.ALLOW, rules=(rule,))
    if attributes.claims is not None and not snapshot.guard(API).jwt_rules:
        attributes = replace(attributes, claims=None)
    decision = semantics.decide((policy,), attributes, trust_domains=snapshot.config.trust_domains)
    return decision.verdict is Verdict.ALLOW


@pytest.mark.parametrize("chunk", range(4))
def test_what_is_proved_withstands_generated_requests(chunk: int) -> None:
    attacks = requests(chunk, EACH)
    proved = broken = 0
    for seed in range(chunk * PAIRS, chunk * PAIRS + PAIRS):
        random = Random(seed)
        trust_domains = random.choice(world.TRUST_DOMAINS)
        snapshot = random_mesh(random, trust_domains)
        claims: list[Invariant] = []
        for kind in (Never, Always) * 3:
            callers = Callers(source=random_source(random))
            wanted = Requests(operation=random_operation(random))
            claims.append(kind(id=str(len(claims)), span=HERE, callers=callers, requests=wanted, may_be_empty=True))
        for proof in prove(snapshot, claims, assumed=Assumed(), baselines=no_baselines):
            claim = proof.invariant
            assert isinstance(claim, (Never, Always))
            if proof.status is not Status.PROVED:
                broken += 1
                continue
            proved += 1
            wrong = Verdict.ALLOW if isinstance(claim, Never) else Verdict.DENY
            for number, attributes in enumerate(attacks):
                allowed_by = frozenset(world.PROVIDERS[: number % 4])
                if verdict(snapshot, attributes, allowed_by) is wrong:
                    assert not selected(claim.callers, claim.requests, attributes, snapshot), (seed, attributes)
    assert proved * EACH >= ATTACKS / 8, proved
    assert broken > 10


@pytest.mark.parametrize("chunk", range(4))
def test_a_difference_is_found_wherever_two_versions_decide_differently(chunk: int) -> None:
    attacks = requests(100 + chunk, EACH)
    seen = same = 0
    for seed in range(chunk * PAIRS, chunk * PAIRS + PAIRS):
        random = Random(seed)
        trust_domains = random.choice(world.TRUST_DOMAINS)
        old = random_mesh(random, trust_domains)
        new = mesh(nearly(random, old), tokens=bool(old.request_authentications), trust_domains=trust_domains)
        comparison = compare(old, new, assumed=Assumed())
        found = {(difference.change, difference.protocol) for difference in comparison.differences}
        baseline = Baseline(name="old", span=HERE)
        claims = (
            SameAs(id="same", span=HERE, baseline=baseline),
            NoNewAccess(id="tighter", span=HERE, baseline=baseline),
        )
        statuses = [each.status for each in prove(new, claims, assumed=Assumed(), baselines={"old": old}.__getitem__)]
        same += not found
        assert statuses[0] is (Status.BROKEN if found else Status.PROVED)
        widened = any(change is Change.NEWLY_ALLOWED for change, _ in found)
        assert statuses[1] is (Status.BROKEN if widened else Status.PROVED)
        for number, attributes in enumerate(attacks):
            allowed_by = frozenset(world.PROVIDERS[: number % 4])
            was, now = (verdict(each, attributes, allowed_by) for each in (old, new))
            if was is not now:
                seen += 1
                change = Change.NEWLY_ALLOWED if now is Verdict.ALLOW else Change.NEWLY_DENIED
                assert (change, attributes.protocol) in found, (seed, attributes)
    assert seen > 50
    assert same > 3


def decided(shown: Shown, snapshot: Snapshot) -> str:
    """What the document that is shown comes to, as `meshward check` decides it."""
    document = parse_request(dict(shown.document))
    decision = decide(snapshot, document, Offline(at=0, allowed_by=frozenset(shown.allowed_by)))
    return decision.verdict.value


@pytest.mark.parametrize("chunk", range(4))
def test_a_request_that_is_shown_is_decided_as_it_says(chunk: int) -> None:
    shown = 0
    for seed in range(1000 + chunk * PAIRS, 1000 + chunk * PAIRS + PAIRS):
        random = Random(seed)
        trust_domains = random.choice(world.TRUST_DOMAINS)
        old = random_mesh(random, trust_domains)
        new = mesh(nearly(random, old), tokens=bool(old.request_authentications), trust_domains=trust_domains)
        for changed in differences(old, new, assumed=Assumed()).changed:
            for region in changed.regions:
                if "metadata" in region.shown.summary:
                    continue
                shown += 1
                assert region.shown.before is not None
                was, now = region.shown.before.words, region.shown.decided.words
                assert decided(region.shown, old) == was.split(" ")[0].rstrip(":"), (seed, region)
                assert decided(region.shown, new) == now.split(" ")[0].rstrip(":"), (seed, region)
                assert was[:4] != now[:4]
    assert shown > 5


def renamed(policies: tuple[Policy, ...]) -> tuple[Policy, ...]:
    return tuple(replace(policy, name=f"z-{policy.name}") for policy in reversed(policies))


def test_policies_that_only_move_are_no_change() -> None:
    for seed in range(40):
        random = Random(seed)
        old = random_mesh(random, ("cluster.local",))
        policies = tuple(policy for policy in old.policies if policy.action is not Action.CUSTOM)
        before, after = mesh(policies), mesh(renamed(policies))
        assert not compare(before, after, assumed=Assumed()).differences, seed
