"""Lifetimes: how long things live, such that nothing outlives what it rests on."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ca.errors import RefusedSettingsError
from ca.keys import KeyType
from ca.phases import SlotKind
from ca.profile import BACKDATE, DEFAULT_TTL, MAX_TTL, MIN_TTL

__all__ = ["SKEW", "Settings", "activate_at", "prepare_at"]

SKEW = BACKDATE
"""How far the clocks of a mesh may lag behind ours: for so long after its end by our clock may a leaf still be good elsewhere."""

_ACTIVATE_AT = 6
_PREPARE_AT = 2
_GO_ON_AT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a trust domain's authorities are made of.

    An authority is prepared when half of the life of the active one is left, and active when a sixth is: so everything below it
    lives for a sixth of its life at most, and never has to be cut short.
    """

    root_lifetime: timedelta = timedelta(days=365)
    intermediate_lifetime: timedelta = timedelta(days=7)
    jwt_lifetime: timedelta = timedelta(days=7)
    max_ttl: timedelta = MAX_TTL
    """Of X.509-SVIDs; the longest that an entry may ask for."""
    max_jwt_ttl: timedelta = DEFAULT_TTL
    notice: timedelta = timedelta(minutes=25)
    """How long new authorities are published before they sign, for those who only come to look: five times their usual five minutes."""
    root_key: KeyType = KeyType.P256
    intermediate_key: KeyType = KeyType.P256
    jwt_key: KeyType = KeyType.P256

    def __post_init__(self) -> None:
        for name, lifetime, above, above_lifetime in (
            ("max_ttl", self.max_ttl, "intermediate_lifetime", self.intermediate_lifetime),
            ("intermediate_lifetime", self.intermediate_lifetime, "root_lifetime", self.root_lifetime),
            ("max_jwt_ttl", self.max_jwt_ttl, "jwt_lifetime", self.jwt_lifetime),
        ):
            if lifetime <= timedelta(0):
                raise RefusedSettingsError(name, f"{lifetime} is no time to live")
            if lifetime * _ACTIVATE_AT > above_lifetime:
                raise RefusedSettingsError(
                    name,
                    f"{lifetime} is more than a sixth of `{above}`, which is {above_lifetime}: what is signed late in that life"
                    f" would outlive its issuer; raise `{above}` to {lifetime * _ACTIVATE_AT} or lower this to"
                    f" {above_lifetime / _ACTIVATE_AT}",
                )
        if not MIN_TTL <= self.max_ttl <= MAX_TTL:
            raise RefusedSettingsError("max_ttl", f"{self.max_ttl} is not {MIN_TTL} to {MAX_TTL}")
        if self.notice < timedelta(0):
            raise RefusedSettingsError("notice", f"{self.notice} is less than none")
        shortest = min(self.root_lifetime, self.jwt_lifetime)
        if self.notice * 3 > shortest:
            # From half of a life to the last sixth is a third.
            raise RefusedSettingsError("notice", f"{self.notice} is more than a third of {shortest}, the life of a key")
        for name, kind in (("root_key", self.root_key), ("jwt_key", self.jwt_key)):
            if kind is KeyType.ED25519:
                raise RefusedSettingsError(
                    name,
                    "an Ed25519 key is none of RFC 7518, by which bundles say their keys, and JWT-SVIDs are not signed with it;"
                    " take p256",
                )

    def lifetime(self, kind: SlotKind) -> timedelta:
        """How long a new authority of `kind` lives."""
        match kind:
            case SlotKind.ROOT:
                return self.root_lifetime
            case SlotKind.INTERMEDIATE:
                return self.intermediate_lifetime
            case SlotKind.JWT:
                return self.jwt_lifetime

    def key_type(self, kind: SlotKind) -> KeyType:
        """What key a new authority of `kind` has."""
        match kind:
            case SlotKind.ROOT:
                return self.root_key
            case SlotKind.INTERMEDIATE:
                return self.intermediate_key
            case SlotKind.JWT:
                return self.jwt_key


def prepare_at(not_before: datetime, not_after: datetime) -> datetime:
    """When the successor of what lives that long is to be prepared."""
    return not_after - (not_after - not_before) / _PREPARE_AT


def activate_at(not_before: datetime, not_after: datetime) -> datetime:
    """When the successor of what lives that long is to sign."""
    return not_after - (not_after - not_before) / _ACTIVATE_AT


def go_on_at(not_before: datetime, not_after: datetime) -> datetime:
    """When the successor of what lives that long signs even if some consumers do not hold it.

    By then it has waited for them for a twelfth of that life; waiting on would cut the lives of what everybody else gets.
    """
    return not_after - (not_after - not_before) / _GO_ON_AT
