"""Rotation: replacing what signs, one safe step after the other.

    prepare  -> a new authority is published, and signs nothing
    activate -> once everybody holds it, or was waited for long enough, it signs, and the old one does not
    retire   -> once the last that the old one signed has expired, nobody trusts it any more

Each step makes a new `Authorities`, which the caller keeps before it does the next. After a crash the same question gives the same
answer, and a key that was made for nothing is all that may be left over.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca.authorities import Authorities, Slot
from ca.errors import NotReadyError
from ca.keys import KeyStore, SigningKey
from ca.lifetimes import SKEW, Settings, activate_at, go_on_at, prepare_at
from ca.phases import MOVES, Pace, Phase, SlotKind
from ca.profile import MIN_TTL
from ca.signer import Signer

__all__ = [
    "Activate",
    "Facts",
    "Prepare",
    "Reason",
    "Retire",
    "Step",
    "Wait",
    "Waiting",
    "hurried",
    "next_step",
    "perform",
    "shortened",
]

_SECOND = timedelta(seconds=1)
_SHOWN = 5
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the next step depends on, as it is at the time `at`. They are gathered after the `Authorities` were loaded, not before."""

    at: datetime
    acknowledged: Mapping[str, int]
    """For each consumer that counts, the newest sequence of the bundle that it is known to hold. One that has no valid leaf and no
    stream is nobody's peer and need not count. Where nothing is prepared nobody need."""
    last_expiry: Mapping[str, datetime]
    """For each intermediate and JWT key, by its id, the end of the last that it signed, intents included. What is revoked need not
    count, nor, where the issuer is tainted, what its holder has been seen to replace."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make a new authority and publish it."""

    kind: SlotKind
    pace: Pace


@dataclass(frozen=True, slots=True)
class Activate:
    """Let a prepared authority sign instead of the one that does."""

    slot: str
    left_behind: tuple[str, ...] = ()
    """Consumers that do not hold it, and were waited for long enough."""


@dataclass(frozen=True, slots=True)
class Retire:
    """Trust an authority no more."""

    slot: str


Step = Prepare | Activate | Retire


class Reason(Enum):
    """What is waited for."""

    SCHEDULE = "its time has not come"
    CONSUMERS = "not every consumer holds the bundle that it is in"
    NOTICE = "it has not been published for long enough"
    LEAVES = "what it signed has not all expired"
    SUCCESSOR = "nothing has taken its place"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One thing that is waited for, about one authority. `until` is when it ends by itself; `None` if it is for others to end it.

    `deadline` is when the authority that signs meanwhile ends.
    """

    slot: str
    kind: SlotKind
    reason: Reason
    until: datetime | None = None
    consumers: tuple[str, ...] = ()
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """There is nothing to do now."""

    waits: tuple[Wait, ...]

    @property
    def until(self) -> datetime | None:
        """When to ask again at the latest; `None` if nothing happens by itself."""
        return min((wait.until for wait in self.waits if wait.until is not None), default=None)


def next_step(
    authorities: Authorities, facts: Facts, settings: Settings, *, kinds: frozenset[SlotKind] = frozenset(SlotKind)
) -> Step | Waiting:
    """What is to be done next, or what is waited for, about authorities of `kinds`: a plugged-in one has JWT keys only.

    Raises:
        NotReadyError: the clock has gone back.
    """
    now = authorities.require_clock(facts.at)
    facts = replace(facts, at=now)
    waits: list[Wait] = []
    for kind in (kind for kind in SlotKind if kind in kinds):
        for found in (
            _dropped(authorities, kind, now),
            _activation(authorities, kind, facts, settings),
            _preparation(authorities, kind, now),
            _retirement(authorities, kind, facts),
        ):
            match found:
                case None:
                    pass
                case Wait():
                    waits.append(found)
                case _:
                    return found
    return Waiting(tuple(waits))


def perform(step: Step, authorities: Authorities, *, keys: KeyStore, settings: Settings, at: datetime) -> Authorities:
    """Do what `next_step` says. Nothing has happened until the result is kept.

    Raises:
        AuthorityError: a key cannot be made or loaded, or a certificate not be signed.
        LookupError: the step is about an authority that is not there.
    """
    now = authorities.require_clock(at)
    match step:
        case Prepare(kind, pace):
            root = authorities.active(SlotKind.ROOT) if kind is SlotKind.INTERMEDIATE else None
            if root is None and kind is SlotKind.INTERMEDIATE:
                raise NotReadyError("no root is active that could sign an intermediate; rotate the root")
            return authorities.changed(
                added=(_made(kind, authorities, root, pace=pace, keys=keys, settings=settings, at=now),), at=now
            )
        case Activate(slot=identifier):
            return _activated(authorities, authorities.slot(identifier), keys=keys, settings=settings, at=now)
        case Retire(identifier):
            return _retired(authorities, authorities.slot(identifier), at=now)


def hurried(  # noqa: PLR0913  # what it is, and what it is made with
    authorities: Authorities,
    kind: SlotKind,
    *,
    pace: Pace = Pace.AT_ONCE,
    keys: KeyStore,
    settings: Settings,
    at: datetime,
) -> Authorities:
    """The same, with a successor of `kind` on its way that does not wait for its time; with `Pace.REGARDLESS` for no consumer either.

    Raises:
        AuthorityError: as `perform`.
    """
    now = authorities.require_clock(at)
    if authorities.of(kind, Phase.PREPARED):
        return authorities.changed(
            lambda slot: replace(slot, pace=pace) if slot.kind is kind and slot.phase is Phase.PREPARED else slot,
            at=now,
        )
    return perform(Prepare(kind, pace), authorities, keys=keys, settings=settings, at=now)


def shortened(consumers: Sequence[str]) -> str:
    """The first few of them, and how many more there are."""
    more = len(consumers) - _SHOWN
    return ", ".join(consumers[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _dropped(authorities: Authorities, kind: SlotKind, now: datetime) -> Retire | None:
    """A prepared authority that ended before its time came, as when nobody was running for long."""
    for slot in authorities.of(kind, Phase.PREPARED):
        if now >= slot.not_after:
            return Retire(slot.id)
    return None


def _activation(authorities: Authorities, kind: SlotKind, facts: Facts, settings: Settings) -> Activate | Wait | None:
    prepared = authorities.of(kind, Phase.PREPARED)
    if not prepared:
        return None
    slot, active = prepared[-1], authorities.active(kind)
    deadline = None if active is None else active.not_after

    def wait(reason: Reason, until: datetime | None = None, consumers: tuple[str, ...] = ()) -> Wait:
        return Wait(slot=slot.id, kind=kind, reason=reason, until=until, consumers=consumers, deadline=deadline)

    if slot.pace is Pace.SCHEDULED and active is not None and not _needs_successor(authorities, active, facts.at):
        due = activate_at(active.not_before, active.not_after)
        if facts.at < due:
            return wait(Reason.SCHEDULE, due)
    # Who does not hold it yet would refuse the first that it signs.
    behind = tuple(sorted(who for who, sequence in facts.acknowledged.items() if sequence < slot.published))
    noticed = slot.made + settings.notice
    if behind and slot.pace is not Pace.REGARDLESS:
        # One that takes nothing, by a fault or on purpose, must not hold the others up until nothing can be signed any more.
        last_call = _last_call(authorities, active, noticed, facts.at)
        if facts.at < last_call:
            return wait(Reason.CONSUMERS, last_call, consumers=behind)
    if kind is not SlotKind.INTERMEDIATE and _has_signed(authorities, kind) and facts.at < noticed:
        return wait(Reason.NOTICE, noticed)
    return Activate(slot.id, behind)


def _last_call(authorities: Authorities, active: Slot | None, noticed: datetime, now: datetime) -> datetime:
    """Until when consumers are waited for at most, where `active` signs meanwhile."""
    if active is None or _needs_successor(authorities, active, now):
        # Nothing signs, or a thief does.
        return noticed
    return max(noticed, go_on_at(active.not_before, active.not_after))


def _preparation(authorities: Authorities, kind: SlotKind, now: datetime) -> Prepare | Wait | None:
    if authorities.of(kind, Phase.PREPARED):
        return None
    root = authorities.active(SlotKind.ROOT)
    if kind is SlotKind.INTERMEDIATE and (root is None or now + MIN_TTL > root.not_after):
        # It comes with the root that is to be.
        return None
    active = authorities.active(kind)
    if active is None:
        return Prepare(kind, Pace.AT_ONCE)
    if _needs_successor(authorities, active, now):
        return Prepare(kind, Pace.AT_ONCE)
    due = prepare_at(active.not_before, active.not_after)
    if now >= due:
        return Prepare(kind, Pace.SCHEDULED)
    return Wait(slot=active.id, kind=kind, reason=Reason.SCHEDULE, until=due, deadline=active.not_after)


def _retirement(authorities: Authorities, kind: SlotKind, facts: Facts) -> Retire | Wait | None:
    waits: list[Wait] = []
    for slot in authorities.of(kind, Phase.SUPERSEDED, Phase.TAINTED):
        if slot.phase is Phase.TAINTED and slot.activated is not None and authorities.active(kind) is None:
            # What it signed is replaced by what its successor signs, and there is none yet.
            waits.append(Wait(slot=slot.id, kind=kind, reason=Reason.SUCCESSOR))
            continue
        end = _end(authorities, slot, facts)
        if facts.at > end:
            return Retire(slot.id)
        waits.append(Wait(slot=slot.id, kind=kind, reason=Reason.LEAVES, until=end + _SECOND))
    return min(waits, key=lambda wait: wait.until or _NEVER, default=None)


def _end(authorities: Authorities, slot: Slot, facts: Facts) -> datetime:
    """When the last that rests on `slot` has expired by every clock."""
    signers = authorities.below(slot) if slot.kind is SlotKind.ROOT else (slot,)
    ends = [facts.last_expiry[signer.id] for signer in signers if signer.id in facts.last_expiry]
    # Facts may have been gathered while it still signed, and a request may have been under way.
    ends += [when for when in (slot.superseded, slot.tainted) if when is not None]
    return max(ends) + SKEW


def _needs_successor(authorities: Authorities, active: Slot, now: datetime) -> bool:
    """Whether `active` is to be replaced before its time.

    No verifier of a mesh asks whether an intermediate was revoked: one that is compromised makes names until it expires or its root
    is gone.
    """
    return active.kind is SlotKind.ROOT and any(
        below.tainted is not None and now < below.not_after for below in authorities.below(active)
    )


def _has_signed(authorities: Authorities, kind: SlotKind) -> bool:
    return any(slot.kind is kind and slot.activated is not None for slot in authorities.slots)


def _activated(
    authorities: Authorities, slot: Slot, *, keys: KeyStore, settings: Settings, at: datetime
) -> Authorities:
    added: tuple[Slot, ...] = ()
    if slot.kind is SlotKind.ROOT:
        below = _made(SlotKind.INTERMEDIATE, authorities, slot, pace=Pace.AT_ONCE, keys=keys, settings=settings, at=at)
        added = (below.moved(Phase.ACTIVE, at=at),)

    def change(each: Slot) -> Slot:
        if each.id == slot.id:
            return each.moved(Phase.ACTIVE, at=at)
        # With a root go its intermediates: those that sign, and those that were to.
        if each.kind is slot.kind or (slot.kind is SlotKind.ROOT and each.kind is SlotKind.INTERMEDIATE):
            if each.phase is Phase.ACTIVE:
                return each.moved(Phase.SUPERSEDED, at=at)
            if each.phase is Phase.PREPARED:
                return each.moved(Phase.RETIRED, at=at)
        return each

    return authorities.changed(change, added=added, at=at)


def _retired(authorities: Authorities, slot: Slot, *, at: datetime) -> Authorities:
    # Nothing stands on a root that is gone.
    gone = {slot.id} | {below.id for below in authorities.below(slot) if Phase.RETIRED in MOVES[below.phase]}
    return authorities.changed(lambda each: each.moved(Phase.RETIRED, at=at) if each.id in gone else each, at=at)


def _made(  # noqa: PLR0913  # what it is, whose it is, and what it is made with
    kind: SlotKind,
    authorities: Authorities,
    root: Slot | None,
    *,
    pace: Pace,
    keys: KeyStore,
    settings: Settings,
    at: datetime,
) -> Slot:
    name = f"{kind.value}-{secrets.token_hex(8)}"
    key = keys.make(name, settings.key_type(kind))
    lifetime = settings.lifetime(kind)
    if kind is SlotKind.JWT:
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        identifier, not_before, not_after = _digest(public), at, at + lifetime
    else:
        signer = _signer(key, authorities, root, keys=keys, settings=settings, at=at)
        public, identifier = signer.certificate.public_bytes(Encoding.DER), signer.subject_key.digest.hex()
        not_before, not_after = signer.certificate.not_valid_before_utc, signer.certificate.not_valid_after_utc
    return Slot(
        id=identifier,
        kind=kind,
        phase=Phase.PREPARED,
        pace=pace,
        public=public,
        key_name=name,
        issuer=None if root is None else root.id,
        published=0 if kind is SlotKind.INTERMEDIATE else authorities.sequence + 1,
        made=at,
        not_before=not_before,
        not_after=not_after,
    )


def _signer(  # noqa: PLR0913  # as above
    key: SigningKey,
    authorities: Authorities,
    root: Slot | None,
    *,
    keys: KeyStore,
    settings: Settings,
    at: datetime,
) -> Signer:
    if root is None:
        return Signer.root(authorities.trust_domain, key, at=at, lifetime=settings.root_lifetime)
    above = Signer(root.certificate, keys.load(root.key_name))
    return above.certify(authorities.trust_domain, key, at=at, lifetime=settings.intermediate_lifetime)


def _digest(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:40]
