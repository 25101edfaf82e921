"""Rotation, told step by step; `tests/laws/test_rotation.py` has what holds for all orders."""

import pickle
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product

import pytest

from ca import IllegalMoveError, KeyStoreError, NotReadyError, RefusedSettingsError
from ca.authorities import Authorities, Slot, orphaned_keys
from ca.keys import KeyType, MemoryKeyStore
from ca.lifetimes import SKEW, Settings, go_on_at
from ca.phases import MOVES, TRUSTED, Pace, Phase, SlotKind
from ca.rotation import Activate, Facts, Prepare, Reason, Retire, Step, Wait, Waiting, hurried, next_step, perform
from identity import SpiffeId, TrustDomain, verify_x509_svid
from tests.unit.identity.chains import AT, new_key

TD = TrustDomain.parse("td.example")
WEB = SpiffeId.for_workload(TD, namespace="shop", service_account="web")
SETTINGS = Settings()
KEY = new_key("p256").public_key()
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


class World:
    """An authority whose steps are kept, and what it is told."""

    def __init__(self, settings: Settings = SETTINGS) -> None:
        self.settings = settings
        self.keys = MemoryKeyStore()
        self.kept = Authorities(TD)
        self.now = AT
        self.acknowledged: dict[str, int] = {}
        self.last_expiry: dict[str, datetime] = {}

    def next(self) -> Step | Waiting:
        facts = Facts(at=self.now, acknowledged=self.acknowledged, last_expiry=self.last_expiry)
        return next_step(self.kept, facts, self.settings)

    def run(self) -> list[Step]:
        done = []
        while not isinstance(step := self.next(), Waiting):
            done.append(step)
            self.kept = perform(step, self.kept, keys=self.keys, settings=self.settings, at=self.now)
        return done

    def waits(self, kind: SlotKind) -> list[Wait]:
        found = self.next()
        assert isinstance(found, Waiting)
        return [wait for wait in found.waits if wait.kind is kind]

    def active(self, kind: SlotKind) -> Slot:
        slot = self.kept.active(kind)
        assert slot is not None
        return slot

    def rotate(self, kind: SlotKind, *, pace: Pace = Pace.AT_ONCE) -> None:
        self.kept = hurried(self.kept, kind, pace=pace, keys=self.keys, settings=self.settings, at=self.now)


@pytest.fixture
def world() -> World:
    world = World()
    world.run()
    return world


def phases(world: World, kind: SlotKind) -> list[Phase]:
    return [slot.phase for slot in world.kept.slots if slot.kind is kind]


# The beginning.


def test_the_first_of_each_kind_is_made_and_signs_at_once() -> None:
    world = World()
    root, jwt = Prepare(SlotKind.ROOT, Pace.AT_ONCE), Prepare(SlotKind.JWT, Pace.AT_ONCE)
    done = world.run()
    assert [type(step) for step in done] == [Prepare, Activate, Prepare, Activate]
    assert [done[0], done[2]] == [root, jwt]
    assert [phases(world, kind) for kind in SlotKind] == [[Phase.ACTIVE]] * 3
    assert world.kept.sequence == 2


def test_what_is_active_issues_what_the_bundle_verifies(world: World) -> None:
    svid = world.kept.issuer(world.keys, at=AT).issue(WEB, KEY, at=AT)
    bundle = world.kept.bundle
    assert verify_x509_svid(svid.chain, [bundle], at=AT) == WEB
    signer = world.kept.jwt_signer(world.keys, at=AT)
    assert [authority.key_id for authority in bundle.jwt_authorities] == [signer.key_id]
    assert bundle.jwt_authorities[0].public_key == signer.private_key.public_key()
    assert bundle.sequence == 2


def test_nothing_signs_before_anything_was_made() -> None:
    for sign in (Authorities(TD).issuer, Authorities(TD).jwt_signer):
        with pytest.raises(NotReadyError, match="rotate to get one"):
            sign(MemoryKeyStore(), at=AT)


def test_what_has_ended_signs_no_more(world: World) -> None:
    end = world.active(SlotKind.INTERMEDIATE).not_after
    world.kept.issuer(world.keys, at=end - SECOND)
    with pytest.raises(NotReadyError, match="ended at"):
        world.kept.issuer(world.keys, at=end)


def test_a_key_that_is_lost_is_named(world: World) -> None:
    with pytest.raises(KeyStoreError, match="intermediate-"):
        world.kept.issuer(MemoryKeyStore(), at=AT)


@pytest.mark.parametrize("intermediate", KeyType)
@pytest.mark.parametrize("root", [KeyType.P256, KeyType.P384, KeyType.RSA_2048])
def test_authorities_of_all_key_types_issue_what_verifies(root: KeyType, intermediate: KeyType) -> None:
    world = World(Settings(root_key=root, intermediate_key=intermediate, jwt_key=root))
    world.run()
    svid = world.kept.issuer(world.keys, at=AT).issue(WEB, KEY, at=AT)
    assert verify_x509_svid(svid.chain, [world.kept.bundle], at=AT) == WEB


# A root is rolled.


def test_who_takes_nothing_is_waited_for_until_the_last_twelfth_of_a_life_and_left_behind_then(world: World) -> None:
    world.acknowledged = {"api": 2, "web": 3}
    world.rotate(SlotKind.ROOT)
    (prepared,) = world.kept.of(SlotKind.ROOT, Phase.PREPARED)
    last_call = go_on_at(world.active(SlotKind.ROOT).not_before, world.active(SlotKind.ROOT).not_after)
    world.now = last_call - SECOND
    assert SlotKind.ROOT not in {step.kind for step in world.run() if isinstance(step, Prepare)}
    assert world.kept.slot(prepared.id).phase is Phase.PREPARED
    world.now = last_call
    assert Activate(prepared.id, left_behind=("api",)) in world.run()


def test_nobody_is_waited_for_when_an_operator_says_so(world: World) -> None:
    world.acknowledged = {"api": 2}
    world.rotate(SlotKind.ROOT)
    (prepared,) = world.kept.of(SlotKind.ROOT, Phase.PREPARED)
    assert world.waits(SlotKind.ROOT)[0].reason is Reason.CONSUMERS
    world.rotate(SlotKind.ROOT, pace=Pace.REGARDLESS)
    assert [slot.id for slot in world.kept.of(SlotKind.ROOT, Phase.PREPARED)] == [prepared.id]
    # Those who only come to look are given their time.
    assert world.waits(SlotKind.ROOT)[0].reason is Reason.NOTICE
    world.now += SETTINGS.notice
    assert world.run() == [Activate(prepared.id, left_behind=("api",))]


@pytest.mark.parametrize("kind", [SlotKind.ROOT, SlotKind.INTERMEDIATE, SlotKind.JWT])
def test_where_a_thief_signs_nobody_holds_it_up_for_longer_than_the_notice(world: World, kind: SlotKind) -> None:
    world.acknowledged = {"api": 2}
    world.kept = world.kept.tainted(world.active(kind).id, at=world.now)
    world.run()
    world.now += SETTINGS.notice - SECOND
    assert not any(isinstance(step, Activate) and step.left_behind for step in world.run())
    world.now += SECOND
    assert [step.left_behind for step in world.run() if isinstance(step, Activate)] == [("api",)]


def test_a_root_is_rolled_only_as_everybody_follows(world: World) -> None:
    old = world.active(SlotKind.ROOT)
    old_intermediate = world.active(SlotKind.INTERMEDIATE)
    world.acknowledged = {"api": 2, "web": 2}
    before = world.kept.issuer(world.keys, at=AT).issue(WEB, KEY, at=AT)
    world.last_expiry = {old_intermediate.id: AT + HOUR}

    world.rotate(SlotKind.ROOT)
    assert world.run() == []
    assert world.kept.sequence == 3
    (wait,) = [wait for wait in world.waits(SlotKind.ROOT) if wait.reason is Reason.CONSUMERS]
    last_call = go_on_at(old.not_before, old.not_after)
    assert (wait.consumers, wait.until, wait.deadline) == (("api", "web"), last_call, old.not_after)

    world.acknowledged = {"api": 3, "web": 2}
    assert world.waits(SlotKind.ROOT)[0].consumers == ("web",)
    world.acknowledged = {"api": 3, "web": 3}
    assert world.waits(SlotKind.ROOT)[0].reason is Reason.NOTICE
    assert world.waits(SlotKind.ROOT)[0].until == AT + SETTINGS.notice
    assert world.active(SlotKind.ROOT) == old

    world.now += SETTINGS.notice
    assert [type(step) for step in world.run()] == [Activate]
    assert phases(world, SlotKind.ROOT) == [Phase.SUPERSEDED, Phase.ACTIVE]
    assert phases(world, SlotKind.INTERMEDIATE) == [Phase.SUPERSEDED, Phase.ACTIVE]
    after = world.kept.issuer(world.keys, at=world.now).issue(WEB, KEY, at=world.now)
    for svid in (before, after):
        verify_x509_svid(svid.chain, [world.kept.bundle], at=world.now)

    (leaves,) = [wait for wait in world.waits(SlotKind.ROOT) if wait.reason is Reason.LEAVES]
    assert leaves.until == AT + HOUR + SKEW + SECOND
    world.now = leaves.until - SECOND
    assert world.run() == []
    world.now += SECOND
    assert world.run() == [Retire(old.id)]
    assert phases(world, SlotKind.INTERMEDIATE) == [Phase.RETIRED, Phase.ACTIVE]
    assert world.kept.bundle.x509_authorities == (world.active(SlotKind.ROOT).certificate,)
    assert world.kept.sequence == 4


def test_rotating_twice_makes_one_successor(world: World) -> None:
    world.rotate(SlotKind.ROOT)
    world.rotate(SlotKind.ROOT)
    assert phases(world, SlotKind.ROOT) == [Phase.ACTIVE, Phase.PREPARED]


def test_what_nobody_asked_for_waits_for_its_time(world: World) -> None:
    root = world.active(SlotKind.ROOT)
    half, sixth = (root.not_after - (root.not_after - root.not_before) / part for part in (2, 6))
    world.now = half - SECOND
    world.run()
    assert len(phases(world, SlotKind.ROOT)) == 1
    world.now = half
    assert Prepare(SlotKind.ROOT, Pace.SCHEDULED) in world.run()
    world.acknowledged = {"web": world.kept.sequence}
    world.now = sixth - SECOND
    world.run()
    assert world.active(SlotKind.ROOT) == root
    world.now = sixth
    world.run()
    assert phases(world, SlotKind.ROOT)[:2] != [Phase.ACTIVE, Phase.PREPARED]


def test_what_was_to_come_later_comes_now_if_it_is_asked_for(world: World) -> None:
    root = world.active(SlotKind.ROOT)
    world.now = root.not_after - (root.not_after - root.not_before) / 2
    world.run()
    world.now += SETTINGS.notice
    world.run()
    assert world.active(SlotKind.ROOT) == root
    world.rotate(SlotKind.ROOT)
    world.run()
    assert world.active(SlotKind.ROOT) != root


def test_no_intermediate_is_made_without_a_root_to_sign_it(world: World) -> None:
    world.kept = world.kept.tainted(world.active(SlotKind.ROOT).id, at=AT)
    with pytest.raises(NotReadyError, match="no root is active"):
        world.rotate(SlotKind.INTERMEDIATE)


def test_an_intermediate_is_replaced_without_anybody_having_to_hear_of_it(world: World) -> None:
    world.acknowledged = {"web": 0}
    first = world.active(SlotKind.INTERMEDIATE)
    world.rotate(SlotKind.INTERMEDIATE)
    assert [type(step) for step in world.run()] == [Activate]
    second = world.active(SlotKind.INTERMEDIATE)
    assert (first.issuer, first.id == second.id) == (second.issuer, False)
    assert world.kept.sequence == 2


def test_many_intermediates_follow_each_other_under_one_root(world: World) -> None:
    root = world.active(SlotKind.ROOT)
    for _ in range(60):
        world.now += DAY
        world.run()
    intermediates = world.kept.below(root)
    assert len(intermediates) > 8
    assert sum(slot.phase is Phase.ACTIVE for slot in intermediates) == 1
    assert all(slot.not_after <= root.not_after for slot in intermediates)
    world.kept.issuer(world.keys, at=world.now).issue(WEB, KEY, at=world.now, ttl=SETTINGS.max_ttl)


def test_left_alone_for_years_it_always_issues_leaves_of_full_length(world: World) -> None:
    for _ in range(800):
        world.now += DAY
        world.acknowledged = {"web": world.kept.sequence}
        world.run()
        issuer = world.kept.issuer(world.keys, at=world.now)
        chain = (issuer.intermediate.certificate, issuer.root)
        assert min(each.not_valid_after_utc for each in chain) - world.now >= SETTINGS.max_ttl
    assert len(world.kept.bundle.x509_authorities) <= 2


def test_an_authority_that_slept_through_its_end_starts_again_and_keeps_its_sequence(world: World) -> None:
    world.now += timedelta(days=3 * 365)
    sequence = world.kept.sequence
    world.run()
    with pytest.raises(NotReadyError):
        world.kept.issuer(world.keys, at=world.now)
    world.now += SETTINGS.notice
    world.run()
    world.kept.issuer(world.keys, at=world.now).issue(WEB, KEY, at=world.now)
    assert world.kept.sequence > sequence


# Compromise.


def test_a_tainted_root_signs_nothing_and_is_replaced_as_soon_as_everybody_can_follow(world: World) -> None:
    old, intermediate = world.active(SlotKind.ROOT), world.active(SlotKind.INTERMEDIATE)
    world.last_expiry = {intermediate.id: AT + HOUR}
    world.kept = world.kept.tainted(old.id, at=AT)
    assert world.kept.to_reissue == {old.id, intermediate.id}
    with pytest.raises(NotReadyError):
        world.kept.issuer(world.keys, at=AT)
    assert world.run() == [Prepare(SlotKind.ROOT, Pace.AT_ONCE)]
    assert Reason.SUCCESSOR in {wait.reason for wait in world.waits(SlotKind.ROOT)}
    world.now += SETTINGS.notice
    assert [type(step) for step in world.run()] == [Activate]
    assert old.certificate in world.kept.bundle.x509_authorities
    # What was signed is replaced, long before it ends.
    world.last_expiry = {}
    world.now += SKEW + SECOND
    assert Retire(old.id) in world.run()
    assert old.certificate not in world.kept.bundle.x509_authorities


def test_rotating_first_and_tainting_afterwards_never_stops_signing(world: World) -> None:
    old = world.active(SlotKind.ROOT)
    world.rotate(SlotKind.ROOT)
    world.now += SETTINGS.notice
    world.run()
    world.kept = world.kept.tainted(old.id, at=world.now)
    world.kept.issuer(world.keys, at=world.now).issue(WEB, KEY, at=world.now)
    assert old.id in world.kept.to_reissue


def test_a_tainted_intermediate_is_shut_out_by_rolling_its_root(world: World) -> None:
    tainted = world.active(SlotKind.INTERMEDIATE)
    world.kept = world.kept.tainted(tainted.id, at=AT)
    done = world.run()
    assert Prepare(SlotKind.ROOT, Pace.AT_ONCE) in done
    assert Prepare(SlotKind.INTERMEDIATE, Pace.AT_ONCE) in done
    # Another one signs at once, under the same root, for everybody holds that.
    assert world.active(SlotKind.INTERMEDIATE).issuer == tainted.issuer
    world.now += SETTINGS.notice
    world.run()
    assert world.active(SlotKind.ROOT).id != tainted.issuer
    world.now += SKEW + SECOND
    world.run()
    assert world.kept.slot(tainted.issuer or "").phase is Phase.RETIRED


def test_nothing_is_tainted_twice_or_after_its_end(world: World) -> None:
    root = world.active(SlotKind.ROOT)
    world.kept = world.kept.tainted(root.id, at=AT)
    with pytest.raises(IllegalMoveError, match=rf"{root.id} is tainted and cannot become tainted"):
        world.kept.tainted(root.id, at=AT)
    with pytest.raises(LookupError, match=r"td\.example"):
        world.kept.tainted("00", at=AT)


# Phases.


@pytest.mark.parametrize(("before", "after"), list(product(Phase, Phase)))
def test_a_slot_moves_only_as_the_table_says(world: World, before: Phase, after: Phase) -> None:
    slot = replace(world.active(SlotKind.ROOT), phase=before)
    if after in MOVES[before]:
        assert slot.moved(after, at=AT).phase is after
    else:
        with pytest.raises(IllegalMoveError):
            slot.moved(after, at=AT)


def test_nothing_goes_back_and_nothing_that_signed_is_dropped_at_once() -> None:
    order = list(Phase)
    assert all(order.index(after) > order.index(before) for before, moves in MOVES.items() for after in moves)
    assert Phase.RETIRED not in MOVES[Phase.ACTIVE]
    assert MOVES[Phase.RETIRED] == frozenset()
    assert Phase.RETIRED not in TRUSTED


# Crashes, clocks and keys.


def test_a_crash_before_a_step_is_kept_leaves_a_key_behind_and_nothing_else(world: World) -> None:
    step = Prepare(SlotKind.ROOT, Pace.AT_ONCE)
    lost = perform(step, world.kept, keys=world.keys, settings=SETTINGS, at=AT)
    orphans = orphaned_keys(world.kept, {*world.keys.names(), "somebody-elses", "root-0"})
    assert orphans == {slot.key_name for slot in lost.slots} - {slot.key_name for slot in world.kept.slots}
    assert len(orphans) == 1
    assert orphaned_keys(lost, world.keys.names()) == frozenset()


def test_the_key_of_what_is_retired_is_forgotten(world: World) -> None:
    old = world.active(SlotKind.JWT)
    world.rotate(SlotKind.JWT)
    world.now += SETTINGS.notice
    world.run()
    assert orphaned_keys(world.kept, world.keys.names()) == frozenset()
    world.now += SKEW + SECOND
    world.run()
    assert orphaned_keys(world.kept, world.keys.names()) == {old.key_name}


def test_a_clock_that_goes_back_stops_everything_until_it_is_right(world: World) -> None:
    world.now = AT + DAY
    world.rotate(SlotKind.JWT)
    world.now -= SKEW
    world.next()
    world.kept.issuer(world.keys, at=world.now)
    world.now -= SECOND
    for use in (
        world.next,
        lambda: world.kept.issuer(world.keys, at=world.now),
        lambda: world.kept.jwt_signer(world.keys, at=world.now),
        lambda: world.rotate(SlotKind.ROOT),
        lambda: world.kept.tainted(world.active(SlotKind.ROOT).id, at=world.now),
    ):
        with pytest.raises(NotReadyError, match="set it right, or wait"):
            use()


def test_waiting_says_when_to_ask_again(world: World) -> None:
    found = world.next()
    assert isinstance(found, Waiting)
    assert found.until == min(wait.until for wait in found.waits if wait.until is not None)
    assert {wait.kind for wait in found.waits} == set(SlotKind)
    assert Waiting(()).until is None


def test_private_keys_are_not_shown_and_not_pickled(world: World) -> None:
    signer = world.kept.jwt_signer(world.keys, at=AT)
    assert "private" not in repr(signer).lower()
    with pytest.raises(TypeError):
        pickle.dumps(signer)
    # What is kept has none.
    pickle.dumps(world.kept)


# Settings.


@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ("max_ttl", {"max_ttl": HOUR, "intermediate_lifetime": 6 * HOUR - SECOND}),
        ("intermediate_lifetime", {"intermediate_lifetime": 7 * DAY, "root_lifetime": 42 * DAY - SECOND}),
        ("max_jwt_ttl", {"max_jwt_ttl": HOUR, "jwt_lifetime": 6 * HOUR - SECOND}),
        ("max_ttl", {"max_ttl": timedelta(0)}),
        ("max_ttl", {"max_ttl": timedelta(minutes=5) - SECOND}),
        ("max_ttl", {"max_ttl": DAY + SECOND}),
        ("max_jwt_ttl", {"max_jwt_ttl": -HOUR}),
        ("notice", {"notice": -SECOND}),
        ("notice", {"notice": 3 * DAY}),
        ("root_key", {"root_key": KeyType.ED25519}),
        ("jwt_key", {"jwt_key": KeyType.ED25519}),
    ],
)
def test_settings_by_which_something_would_outlive_what_it_rests_on_are_refused(
    setting: str, changes: dict[str, object]
) -> None:
    with pytest.raises(RefusedSettingsError, match=f"setting `{setting}` refused") as caught:
        replace(SETTINGS, **changes)  # type: ignore[arg-type]  # a table of several fields
    assert caught.value.setting == setting


def test_a_sixth_of_the_life_above_is_allowed() -> None:
    Settings(max_ttl=HOUR, intermediate_lifetime=6 * HOUR, root_lifetime=36 * HOUR)
