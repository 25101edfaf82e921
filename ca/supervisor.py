"""The supervisor: does the steps of rotation when they are due, and waits where it has to.

Each step is kept before the next is looked for. Of several replicas that do the same step one is first, and the others look again.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from ca.authorities import Authorities
from ca.errors import AuthorityError, NotKeptError, NotReadyError, StoreConflictError
from ca.keys import KeyStore
from ca.lifetimes import Settings
from ca.phases import Pace, Phase, SlotKind
from ca.rotation import Activate, Facts, Prepare, Retire, Step, Waiting, hurried, next_step, perform, shortened
from ca.store import Store, Version
from identity import TrustDomain

__all__ = ["Supervisor", "gathered_facts"]

_logger = logging.getLogger("meshward.ca")

_LOOK_EVERY = timedelta(seconds=1)
"""Others may act meanwhile: consumers, and operators by a verb."""
_AFTER_FAILURE = timedelta(seconds=5)
_ATTEMPTS = 5


def gathered_facts(store: Store, authorities: Authorities, acknowledged: Mapping[str, int], *, at: datetime) -> Facts:
    """What the next step depends on. `authorities` were loaded before.

    Raises:
        StoreUnavailableError: nobody can tell.
    """
    signers = [
        slot.id for slot in authorities.slots if slot.kind is not SlotKind.ROOT and slot.phase is not Phase.RETIRED
    ]
    return Facts(at=at, acknowledged=acknowledged, last_expiry=store.inventory.last_expiry(signers))


class Supervisor:
    """Rotates the authorities of one trust domain, from none at all on."""

    def __init__(  # noqa: PLR0913  # what it works with
        self,
        store: Store,
        keys: KeyStore,
        settings: Settings,
        trust_domain: TrustDomain,
        *,
        clock: Callable[[], datetime],
        acknowledged: Callable[[datetime], Mapping[str, int]],
        kinds: frozenset[SlotKind] = frozenset(SlotKind),
    ) -> None:
        self._store = store
        self._keys = keys
        self._settings = settings
        self._trust_domain = trust_domain
        self._clock = clock
        self._acknowledged = acknowledged
        self._kinds = kinds
        self.waiting: Waiting | None = None
        """What is waited for, as of the last look."""
        self.failure: AuthorityError | None = None
        """Why the last look led to nothing."""

    def advance(self) -> Waiting:
        """Do what is due, step by step, until nothing is. This blocks.

        Raises:
            AuthorityError: a key cannot be made, the store not be written, or the clock has gone back.
        """
        while True:
            at = self._clock()
            version, authorities, step = self._look(at)
            if isinstance(step, Waiting):
                return step
            self._do(step, authorities, version, at)

    def outlook(self) -> tuple[Authorities, Step | Waiting]:
        """What there is, and what is to be done next or waited for. Nothing is done. This blocks.

        Raises:
            NotReadyError: the clock has gone back.
            StoreUnavailableError: nobody can tell.
        """
        _, authorities, step = self._look(self._clock())
        return authorities, step

    def hurry(self, kind: SlotKind, *, pace: Pace = Pace.AT_ONCE, by: str) -> Authorities:
        """Put a successor of `kind` on its way, as `hurried` says. This blocks.

        Raises:
            AuthorityError: a key cannot be made, the store not be written, or the clock has gone back.
            StoreConflictError: it is not ours to rotate, or others change the authorities all the while.
        """
        if kind not in self._kinds:
            raise StoreConflictError(
                "signing authority of kind", kind.value, "it is plugged in; put others in its files"
            )
        return self._change(
            lambda authorities, at: hurried(
                authorities, kind, pace=pace, keys=self._keys, settings=self._settings, at=at
            ),
            by=by,
            action=f"rotate {kind.value}{' regardless' if pace is Pace.REGARDLESS else ''}",
        )

    def taint(self, identifier: str, *, by: str) -> Authorities:
        """Mark a signing authority as compromised, as `Authorities.tainted` says. This blocks.

        Raises:
            IllegalMoveError: it is tainted or retired already.
            NotKeptError: there is none of that id.
            AuthorityError: the store cannot be written, or the clock has gone back.
        """

        def change(authorities: Authorities, at: datetime) -> Authorities:
            try:
                return authorities.tainted(identifier, at=at)
            except LookupError as error:
                raise NotKeptError("signing authority", identifier) from error

        return self._change(change, by=by, action=f"taint {identifier}")

    def _look(self, at: datetime) -> tuple[Version | None, Authorities, Step | Waiting]:
        version = self._store.authorities.load(self._trust_domain)
        authorities = Authorities(self._trust_domain) if version is None else version.authorities
        # Nobody has to hold what is not there yet, and to read what all of a mesh hold takes the interpreter from those who ask.
        is_waited_for = any(slot.phase is Phase.PREPARED for slot in authorities.slots)
        acknowledged = self._acknowledged(at) if is_waited_for else {}
        # Gathered after they were loaded: a leaf that is signed meanwhile is counted.
        facts = gathered_facts(self._store, authorities, acknowledged, at=at)
        return version, authorities, next_step(authorities, facts, self._settings, kinds=self._kinds)

    def _change(self, change: Callable[[Authorities, datetime], Authorities], *, by: str, action: str) -> Authorities:
        attempts = iter(range(_ATTEMPTS, 0, -1))
        while True:
            at = self._clock()
            version = self._store.authorities.load(self._trust_domain)
            if version is None:
                raise NotReadyError("there are no authorities yet; it is starting")
            changed = change(version.authorities, at)
            saving = self._store.authorities.save(changed, before=version, by=by, action=action, at=at)
            try:
                return saving.result().authorities
            except StoreConflictError:
                # A step was done meanwhile, by us or by another replica.
                self._forget(changed, version.authorities)
                if next(attempts, 0) <= 1:
                    raise

    async def run(self, stop: asyncio.Event) -> None:
        """Advance until `stop`, and look again whenever something may have come due."""
        while not stop.is_set():
            pause = _LOOK_EVERY
            try:
                self.waiting = await asyncio.to_thread(self.advance)
                self.failure = None
            except AuthorityError as error:
                # Once for each reason: an authority that cannot rotate says so in its metrics all the while.
                if str(error) != str(self.failure):
                    _logger.error("rotation stands still: %s", error)  # noqa: TRY400  # it is no fault of the code
                self.failure = error
                pause = _AFTER_FAILURE
            try:
                async with asyncio.timeout(pause.total_seconds()):
                    await stop.wait()
            except TimeoutError:
                continue

    def _do(self, step: Step, authorities: Authorities, version: Version | None, at: datetime) -> None:
        changed = perform(step, authorities, keys=self._keys, settings=self._settings, at=at)
        action = _said(step, authorities)
        try:
            self._store.authorities.save(changed, before=version, by="supervisor", action=action, at=at).result()
        except StoreConflictError:
            # Another replica, or an operator, was first. What we made for it is nobody's.
            self._forget(changed, authorities)
            return
        left_behind = isinstance(step, Activate) and step.left_behind
        _logger.log(logging.WARNING if left_behind else logging.INFO, "%s", action)
        self._destroy_retired(changed, authorities)

    def _forget(self, changed: Authorities, before: Authorities) -> None:
        known = {slot.key_name for slot in before.slots}
        for slot in changed.slots:
            if slot.key_name not in known:
                self._keys.forget(slot.key_name)

    def _destroy_retired(self, changed: Authorities, before: Authorities) -> None:
        """A key that signs no more can only be stolen."""
        alive = {slot.key_name for slot in before.slots if slot.phase is not Phase.RETIRED}
        for slot in changed.slots:
            if slot.phase is Phase.RETIRED and slot.key_name in alive:
                self._keys.forget(slot.key_name)


def _said(step: Step, authorities: Authorities) -> str:
    match step:
        case Prepare(kind, _):
            return f"prepare {kind.value}"
        case Activate(identifier, left_behind):
            left = f", with {shortened(left_behind)} left behind" if left_behind else ""
            return f"activate {authorities.slot(identifier).kind.value} {identifier}{left}"
        case Retire(identifier):
            return f"retire {authorities.slot(identifier).kind.value} {identifier}"
