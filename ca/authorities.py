"""Authorities: everything that signs for a trust domain, each in a phase of its life, and the bundle that follows from it."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ca.authority import Authority
from ca.errors import IllegalMoveError, NotReadyError
from ca.keys import KeyLoader, SigningKey
from ca.lifetimes import SKEW
from ca.phases import MOVES, TRUSTED, Pace, Phase, SlotKind
from ca.signer import Signer
from identity import Bundle, JwtAuthority, PublicKey, TrustDomain, require_strong_key

__all__ = ["Authorities", "JwtSigner", "Slot", "orphaned_keys"]

_KEY_NAME = re.compile(r"(?:root|intermediate|jwt)-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One signing authority. Plain values, so that it can be kept as a row; times are UTC.

    `id` is what its certificates or tokens name it by: the subject key identifier in hex, or the `kid`.
    """

    id: str
    kind: SlotKind
    phase: Phase
    pace: Pace
    public: bytes
    """DER: the certificate of a root or an intermediate, the SubjectPublicKeyInfo of a JWT key."""
    key_name: str
    issuer: str | None
    """The root of an intermediate."""
    published: int
    """The first sequence of the bundle that it is in; 0 for an intermediate, which comes with each leaf."""
    made: datetime
    not_before: datetime
    not_after: datetime
    activated: datetime | None = None
    superseded: datetime | None = None
    tainted: datetime | None = None
    retired: datetime | None = None

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate; a JWT key has none."""
        if self.kind is SlotKind.JWT:
            raise ValueError("a JWT key has no certificate")
        return _certificate(self.public)

    @property
    def public_key(self) -> PublicKey:
        """The key of a JWT authority."""
        if self.kind is not SlotKind.JWT:
            raise ValueError("the key is in the certificate")
        return _public_key(self.public)

    def moved(self, phase: Phase, *, at: datetime) -> "Slot":
        """The same in `phase`.

        Raises:
            IllegalMoveError: no such move is allowed.
        """
        if phase not in MOVES[self.phase]:
            raise IllegalMoveError(self.id, self.phase.value, phase.value)
        match phase:
            case Phase.ACTIVE:
                return replace(self, phase=phase, activated=at)
            case Phase.SUPERSEDED:
                return replace(self, phase=phase, superseded=at)
            case Phase.TAINTED:
                return replace(self, phase=phase, tainted=at)
            case Phase.RETIRED | Phase.PREPARED:
                return replace(self, phase=phase, retired=at)


@dataclass(frozen=True, slots=True)
class JwtSigner:
    """What signs JWT-SVIDs: a key and the id by which they name it. Nothing is signed past `not_after`."""

    key_id: str
    private_key: SigningKey
    not_after: datetime

    def __repr__(self) -> str:
        return f"JwtSigner({self.key_id!r})"


@dataclass(frozen=True, slots=True)
class Authorities:
    """All signing authorities of a trust domain. Each step of a rotation makes another one of these, to be kept as a whole."""

    trust_domain: TrustDomain
    sequence: int = 0
    """Of the bundle; grows with every change of what is in it."""
    slots: tuple[Slot, ...] = ()
    seen: datetime | None = None
    """The latest time at which anything was changed here."""

    @property
    def bundle(self) -> Bundle:
        """What everybody is to verify with now."""
        return Bundle(
            self.trust_domain,
            tuple(slot.certificate for slot in self.of(SlotKind.ROOT, *TRUSTED)),
            tuple(JwtAuthority(slot.id, slot.public_key) for slot in self.of(SlotKind.JWT, *TRUSTED)),
            self.sequence,
        )

    def of(self, kind: SlotKind, *phases: Phase) -> tuple[Slot, ...]:
        """Those of a kind that are in one of `phases`, the oldest first."""
        return tuple(slot for slot in self.slots if slot.kind is kind and slot.phase in phases)

    def active(self, kind: SlotKind) -> Slot | None:
        """The one that signs; there is at most one of each kind."""
        return next(iter(self.of(kind, Phase.ACTIVE)), None)

    def below(self, root: Slot) -> tuple[Slot, ...]:
        """The intermediates of a root."""
        return tuple(slot for slot in self.slots if slot.issuer == root.id)

    def slot(self, identifier: str) -> Slot:
        """The one with that id.

        Raises:
            LookupError: there is none.
        """
        for slot in self.slots:
            if slot.id == identifier:
                return slot
        raise LookupError(f"no signing authority {identifier!r} in `{self.trust_domain}`")

    @property
    def to_reissue(self) -> frozenset[str]:
        """The ids of the tainted: what they signed is to be replaced without waiting for its end."""
        return frozenset(slot.id for slot in self.slots if slot.phase is Phase.TAINTED)

    def require_clock(self, at: datetime) -> datetime:
        """`at`, or the latest time that was seen, if that is a little later.

        Raises:
            NotReadyError: the clock has gone back further than clocks may differ. What has ended may seem to live again.
        """
        if self.seen is None or at >= self.seen:
            return at.astimezone(UTC).replace(microsecond=0)
        if at < self.seen - SKEW:
            raise NotReadyError(
                f"the clock says {at.isoformat()}, and it was {self.seen.isoformat()} already; set it right, or wait until then",
            )
        return self.seen

    def issuer(self, keys: KeyLoader, *, at: datetime) -> Authority:
        """What issues X.509-SVIDs now.

        Raises:
            KeyStoreError: its key cannot be had.
            NotReadyError: nothing signs, or the clock has gone back.
        """
        now = self.require_clock(at)
        intermediate = self._signing(SlotKind.INTERMEDIATE, now)
        root = self.slot(intermediate.issuer or "")
        signer = Signer(intermediate.certificate, keys.load(intermediate.key_name))
        return Authority(self.trust_domain, root.certificate, signer)

    def jwt_signer(self, keys: KeyLoader, *, at: datetime) -> JwtSigner:
        """What signs JWT-SVIDs now.

        Raises:
            KeyStoreError: its key cannot be had.
            NotReadyError: nothing signs, or the clock has gone back.
        """
        slot = self._signing(SlotKind.JWT, self.require_clock(at))
        return JwtSigner(slot.id, keys.load(slot.key_name), slot.not_after)

    def _signing(self, kind: SlotKind, now: datetime) -> Slot:
        slot = self.active(kind)
        if slot is None:
            raise NotReadyError(f"no signing authority of kind `{kind.value}` is active; rotate to get one")
        if now >= slot.not_after:
            raise NotReadyError(
                f"the {kind.value} authority ended at {slot.not_after.isoformat()}; rotate to get another"
            )
        return slot

    def tainted(self, identifier: str, *, at: datetime) -> "Authorities":
        """The same, with one marked as compromised, and with it all that a root has signed.

        From now on none of these signs. Where it is the active one, nothing signs until its successor does: to go on meanwhile,
        rotate first and taint afterwards.

        Raises:
            IllegalMoveError: it is tainted or retired already.
            LookupError: there is none of that id.
            NotReadyError: the clock has gone back.
        """
        now = self.require_clock(at)
        slot = self.slot(identifier)
        hit = {identifier: slot.moved(Phase.TAINTED, at=now)}
        for below in self.below(slot):
            if Phase.TAINTED in MOVES[below.phase]:
                hit[below.id] = below.moved(Phase.TAINTED, at=now)
        return self.changed(lambda each: hit.get(each.id, each), at=now)

    def changed(
        self,
        change: Callable[[Slot], Slot] = lambda slot: slot,
        *,
        added: Iterable[Slot] = (),
        at: datetime,
    ) -> "Authorities":
        """The same after `change` of each and with others added, and with the sequence that follows."""
        slots = (*map(change, self.slots), *added)
        if _published(slots) == _published(self.slots):
            return replace(self, slots=slots, seen=at)
        return replace(self, slots=slots, seen=at, sequence=self.sequence + 1)


def orphaned_keys(authorities: Authorities, names: Iterable[str]) -> frozenset[str]:
    """Those of `names` that were made for signing authorities and belong to none that is not retired.

    A crash leaves one behind between the making of a key and the keeping of its slot. Only whoever does the steps may forget
    them: another's key may be at that very point.
    """
    needed = {slot.key_name for slot in authorities.slots if slot.phase is not Phase.RETIRED}
    return frozenset(name for name in names if _KEY_NAME.fullmatch(name) and name not in needed)


def _published(slots: Iterable[Slot]) -> set[str]:
    return {slot.id for slot in slots if slot.kind is not SlotKind.INTERMEDIATE and slot.phase in TRUSTED}


# What is kept as bytes is read again at every issuance otherwise.
@lru_cache(maxsize=64)
def _certificate(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


@lru_cache(maxsize=64)
def _public_key(der: bytes) -> PublicKey:
    return require_strong_key(load_der_public_key(der))
