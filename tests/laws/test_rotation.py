"""The law of rotation: whatever happens in whatever order, nobody is ever refused who should not be.

Steps, crashes, lagging replicas, consumers that come, go and sleep, compromise, and clocks that jump.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import Phase as Run
from hypothesis import settings as run_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ca import MIN_TTL, Authority, NotReadyError, RefusedLifetimeError
from ca.authorities import Authorities, orphaned_keys
from ca.keys import MemoryKeyStore
from ca.lifetimes import SKEW, Settings
from ca.phases import Phase, SlotKind
from ca.rotation import Activate, Facts, Retire, Step, Waiting, hurried, next_step, perform
from identity import Bundle, SpiffeId, SvidVerificationError, TrustDomain, X509Svid, verify_x509_svid
from tests.unit.identity.chains import AT, new_key

TD = TrustDomain.parse("td.example")
KEY = new_key("p256").public_key()
SETTINGS = Settings(
    root_lifetime=timedelta(hours=36),
    intermediate_lifetime=timedelta(hours=6),
    jwt_lifetime=timedelta(hours=6),
    max_ttl=timedelta(hours=1),
    max_jwt_ttl=timedelta(hours=1),
    notice=timedelta(minutes=10),
)
NAMES = ("api", "web", "db")
JUMPS = (1, 30, 61, 300, 900, 3600, 3 * 3600, 10 * 3600, 40 * 3600)
TTLS = st.sampled_from([MIN_TTL, timedelta(minutes=20), timedelta(hours=1)])


@dataclass(frozen=True)
class Issued:
    """A leaf (with its chain) or a token (without), as the inventory has it, and the bundle that there was."""

    holder: str
    issuer: str
    not_after: datetime
    sequence: int
    svid: X509Svid | None


@dataclass
class Consumer:
    bundle: Bundle
    leaf: Issued | None = None

    @property
    def sequence(self) -> int:
        return self.bundle.sequence or 0


class Mesh(RuleBasedStateMachine):
    """One authority and those who live on it."""

    decide: Callable[[Authorities, Facts, Settings], Step | Waiting] = staticmethod(next_step)

    def __init__(self) -> None:
        super().__init__()
        self.now = AT
        self.keys = MemoryKeyStore()
        self.kept = Authorities(TD)
        self.consumers: dict[str, Consumer] = {}
        self.inventory: list[Issued] = []
        self.lagging: tuple[Authority, datetime, str, int] | None = None
        self.verified: set[tuple[int, int]] = set()

    @initialize()
    def start(self) -> None:
        for _ in range(10):
            self.step(crash=False)

    def facts(self) -> Facts:
        tainted = self.kept.to_reissue
        last_expiry: dict[str, datetime] = {}
        for each in self.inventory:
            if each.issuer in tainted and self.is_replaced(each):
                continue
            last_expiry[each.issuer] = max(each.not_after, last_expiry.get(each.issuer, each.not_after))
        acknowledged = {name: consumer.sequence for name, consumer in self.consumers.items()}
        return Facts(at=self.now, acknowledged=acknowledged, last_expiry=last_expiry)

    def is_replaced(self, issued: Issued) -> bool:
        if issued.svid is None:
            return True  # whoever asked for a token asks again
        consumer = self.consumers.get(issued.holder)
        return consumer is None or consumer.leaf != issued

    @rule(crash=st.booleans())
    def step(self, *, crash: bool) -> None:
        facts = self.facts()
        try:
            found = self.decide(self.kept, facts, SETTINGS)
        except NotReadyError:
            return
        assert self.decide(self.kept, facts, SETTINGS) == found
        if isinstance(found, Waiting):
            assert found.until is None or found.until > self.kept.require_clock(self.now)
            return
        if isinstance(found, Activate):
            self.leave_behind(found)
        after = perform(found, self.kept, keys=self.keys, settings=SETTINGS, at=self.now)
        if not crash:
            self.keep(after)

    def leave_behind(self, step: Activate) -> None:
        """Who is left behind is refused, and refuses: but it was waited for, and nobody else is."""
        active = self.kept.active(self.kept.slot(step.slot).kind)
        for name in step.left_behind:
            assert self.consumers[name].sequence < self.kept.slot(step.slot).published
            if active is not None and not gone(self.kept):
                assert self.now >= active.not_after - (active.not_after - active.not_before) / 12
            del self.consumers[name]

    @rule()
    def several_steps(self) -> None:
        for _ in range(6):
            self.step(crash=False)

    def keep(self, after: Authorities) -> None:
        before, self.kept = self.kept, after
        changed = contents(before) != contents(after)
        assert after.sequence == before.sequence + changed
        signing = before.active(SlotKind.INTERMEDIATE)
        if signing is not None and after.active(SlotKind.INTERMEDIATE) != signing:
            root = before.slot(signing.issuer or "")
            signer = replace(before).issuer(self.keys, at=self.now) if self.now < signing.not_after else None
            if signer is not None and root.phase is Phase.ACTIVE:
                self.lagging = (signer, self.now, signing.id, before.sequence)

    @rule(name=st.sampled_from(NAMES))
    def hear(self, name: str) -> None:
        leaf = self.consumers[name].leaf if name in self.consumers else None
        self.consumers[name] = Consumer(self.kept.bundle, leaf)

    @rule()
    def all_hear(self) -> None:
        for name in self.consumers:
            self.hear(name)

    @rule(name=st.sampled_from(NAMES))
    def leave(self, name: str) -> None:
        self.consumers.pop(name, None)

    @rule(name=st.sampled_from(NAMES), ttl=TTLS)
    def ask(self, name: str, ttl: timedelta) -> None:
        if name not in self.consumers:
            self.hear(name)
        try:
            issuer = self.kept.issuer(self.keys, at=self.now)
            self.issue(issuer, name, ttl, self.kept.sequence)
        except (NotReadyError, RefusedLifetimeError):
            return

    @precondition(lambda self: self.lagging is not None)
    @rule(name=st.sampled_from(NAMES), ttl=TTLS)
    def ask_a_replica_that_lags(self, name: str, ttl: timedelta) -> None:
        assert self.lagging is not None
        issuer, since, _, sequence = self.lagging
        if name not in self.consumers or not timedelta(0) <= self.now - since < SKEW:
            return
        if self.consumers[name].sequence < sequence:
            return
        try:
            self.issue(issuer, name, ttl, sequence)
        except RefusedLifetimeError:
            return

    def issue(self, issuer: Authority, name: str, ttl: timedelta, sequence: int) -> None:
        svid = issuer.issue(SpiffeId.parse(f"spiffe://td.example/{name}"), KEY, at=self.now, ttl=ttl)
        issued = Issued(
            name, issuer.intermediate.subject_key.digest.hex(), svid.leaf.not_valid_after_utc, sequence, svid
        )
        self.inventory.append(issued)
        self.consumers[name].leaf = issued

    @rule(ttl=TTLS)
    def mint(self, ttl: timedelta) -> None:
        try:
            signer = self.kept.jwt_signer(self.keys, at=self.now)
        except NotReadyError:
            return
        until = min(self.now + ttl, signer.not_after)
        self.inventory.append(Issued("", signer.key_id, until, self.kept.sequence, None))

    @rule(kind=st.sampled_from(SlotKind))
    def rotate(self, kind: SlotKind) -> None:
        try:
            self.keep(hurried(self.kept, kind, keys=self.keys, settings=SETTINGS, at=self.now))
        except (NotReadyError, RefusedLifetimeError):
            return

    @rule(kind=st.sampled_from(SlotKind), late=st.sampled_from(NAMES), asking=st.booleans(), ttl=TTLS)
    def a_roll(self, kind: SlotKind, late: str, ttl: timedelta, *, asking: bool) -> None:
        self.rotate(kind)
        for quarter in range(6):
            for name in NAMES:
                if name != late or quarter > 2:
                    self.hear(name)
                if asking:
                    self.ask(name, ttl)
                    self.mint(ttl)
            self.several_steps()
            if self.lagging is not None:
                self.ask_a_replica_that_lags(late, ttl)
            self.nobody_who_is_good_is_refused()
            self.two_consumers_verify_each_other()
            self.now += timedelta(minutes=15)

    @rule(early=st.sampled_from([0, 1, 30]))
    def wait_until_something_happens(self, early: int) -> None:
        try:
            found = self.decide(self.kept, self.facts(), SETTINGS)
        except NotReadyError:
            return
        if isinstance(found, Waiting) and found.until is not None:
            self.now = max(self.now, found.until - timedelta(seconds=early))
            self.several_steps()

    # A third of what hypothesis tries would be this otherwise, and few a life would be long.
    @precondition(lambda self: len(self.kept.slots) % 3 == 0)
    @rule(kind=st.sampled_from(SlotKind), phase=st.sampled_from([Phase.PREPARED, Phase.ACTIVE, Phase.SUPERSEDED]))
    def compromise(self, kind: SlotKind, phase: Phase) -> None:
        for slot in self.kept.of(kind, phase)[:1]:
            try:
                self.keep(self.kept.tainted(slot.id, at=self.now))
            except NotReadyError:
                return

    @rule()
    def clean_up(self) -> None:
        for name in orphaned_keys(self.kept, self.keys.names()):
            self.keys.forget(name)

    @rule(seconds=st.sampled_from(JUMPS))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(seconds=st.sampled_from([1, 59, 61, 3600]))
    def clock_goes_back_and_is_set_right(self, seconds: int) -> None:
        now = self.now
        self.now -= timedelta(seconds=seconds)
        self.step(crash=False)
        self.ask(NAMES[0], MIN_TTL)
        self.now = now

    @invariant()
    def nobody_who_is_good_is_refused(self) -> None:
        for issued in self.inventory:
            # A peer whose clock lags still meets what has ended by ours.
            if issued.not_after < self.now - SKEW:
                continue
            if issued.issuer in self.kept.to_reissue | gone(self.kept) and self.is_replaced(issued):
                continue
            for consumer in self.consumers.values():
                if consumer.sequence >= issued.sequence:
                    self.require_verifies(issued, consumer.bundle)

    @invariant()
    def two_consumers_verify_each_other(self) -> None:
        for one in self.consumers.values():
            if one.leaf is not None and one.leaf.not_after >= self.now - SKEW:
                for other in self.consumers.values():
                    self.require_verifies(one.leaf, other.bundle)

    @invariant()
    def what_signs_can_sign(self) -> None:
        for kind in SlotKind:
            assert len(self.kept.of(kind, Phase.ACTIVE)) <= 1
            for slot in self.kept.of(kind, Phase.PREPARED, Phase.ACTIVE):
                self.keys.load(slot.key_name)

    def require_verifies(self, issued: Issued, bundle: Bundle) -> None:
        if issued.svid is None:
            assert issued.issuer in {authority.key_id for authority in bundle.jwt_authorities}
            return
        done = (issued.svid.leaf.serial_number, bundle.sequence or 0)
        if done not in self.verified:
            # By its start, for the bundle is what is in question; the profile keeps a leaf inside the life of those above it.
            at = issued.svid.leaf.not_valid_before_utc + timedelta(seconds=60)
            verify_x509_svid(issued.svid.chain, [bundle], at=at)
            self.verified.add(done)


def contents(authorities: Authorities) -> tuple[Any, ...]:
    return authorities.bundle.x509_authorities, authorities.bundle.jwt_authorities


def gone(authorities: Authorities) -> frozenset[str]:
    return frozenset(slot.id for slot in authorities.slots if slot.tainted is not None)


QUICK = run_settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
Mesh.TestCase.settings = QUICK
TestNobodyIsRefused = Mesh.TestCase


# The same, with a fault: the law sees it.


def without_waiting_for_consumers(authorities: Authorities, facts: Facts, settings: Settings) -> Step | Waiting:
    return next_step(authorities, replace(facts, acknowledged={}), settings)


def without_waiting_for_leaves(authorities: Authorities, facts: Facts, settings: Settings) -> Step | Waiting:
    return next_step(authorities, replace(facts, last_expiry={}), settings)


def at_once(authorities: Authorities, facts: Facts, settings: Settings) -> Step | Waiting:
    """Replace and retire in one go, as whoever restarts an authority with new files does."""
    found = next_step(authorities, facts, settings)
    if isinstance(found, Waiting):
        for slot in authorities.of(SlotKind.ROOT, Phase.SUPERSEDED):
            return Retire(slot.id)
    return found


@pytest.mark.parametrize("fault", [without_waiting_for_consumers, without_waiting_for_leaves, at_once])
def test_a_planted_fault_is_seen(fault: Callable[[Authorities, Facts, Settings], Step | Waiting]) -> None:
    class Faulty(Mesh):
        decide = staticmethod(fault)

    thorough = run_settings(
        QUICK, max_examples=2000, derandomize=True, database=None, phases=[Run.generate], report_multiple_bugs=False
    )
    with pytest.raises((AssertionError, SvidVerificationError)):
        run_state_machine_as_test(Faulty, settings=thorough)
