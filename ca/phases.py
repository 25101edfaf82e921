"""Phases: the life of a signing authority, as a table of the moves that are allowed."""

from collections.abc import Mapping
from enum import Enum

__all__ = ["MOVES", "TRUSTED", "Pace", "Phase", "SlotKind"]


class SlotKind(Enum):
    """What a signing authority signs."""

    ROOT = "root"
    """Intermediates."""
    INTERMEDIATE = "intermediate"
    """X.509-SVIDs."""
    JWT = "jwt"
    """JWT-SVIDs."""


class Phase(Enum):
    """Where in its life a signing authority is."""

    PREPARED = "prepared"
    """It is made known, and signs nothing yet."""
    ACTIVE = "active"
    """It signs."""
    SUPERSEDED = "superseded"
    """It signs no more; what it signed is still good."""
    TAINTED = "tainted"
    """Its key may be in other hands. It signs no more, and what it signed is to be replaced at once."""
    RETIRED = "retired"
    """Nobody is to trust it any more. From here nothing comes back."""


class Pace(Enum):
    """Why an authority is replaced when it is."""

    SCHEDULED = "scheduled"
    """Its life is running out."""
    AT_ONCE = "at-once"
    """Somebody has asked for it, or the one that it replaces is tainted."""
    REGARDLESS = "regardless"
    """Somebody has asked for it, whoever does not hold it yet."""


MOVES: Mapping[Phase, frozenset[Phase]] = {
    # A prepared one that never signed may be dropped at any time: nothing rests on it.
    Phase.PREPARED: frozenset({Phase.ACTIVE, Phase.TAINTED, Phase.RETIRED}),
    # Never straight to retired: what it signed is out there.
    Phase.ACTIVE: frozenset({Phase.SUPERSEDED, Phase.TAINTED}),
    Phase.SUPERSEDED: frozenset({Phase.TAINTED, Phase.RETIRED}),
    Phase.TAINTED: frozenset({Phase.RETIRED}),
    Phase.RETIRED: frozenset(),
}

TRUSTED = frozenset(Phase) - {Phase.RETIRED}
"""The phases in which a root or a JWT key is in the bundle."""
