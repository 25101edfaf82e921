"""Cells: what a kind of callers is answered on a route, and what another version of the policies answered there."""

from dataclasses import dataclass
from enum import Enum

from authz.analysis.space import Case
from authz.decision import Decision
from mesh.proving.ground import Witness

__all__ = ["Answer", "Before", "Cell", "Seen"]


class Answer(Enum):
    """What is answered to a caller on a route: always the same, or now this and now that."""

    ALLOW = "allow"
    DENY = "deny"
    DEPENDS = "depends"
    NEVER = "never"
    """There is no such request: say, a path that no proxy hands on as it is written."""

    @classmethod
    def of(cls, *, allowed: bool, denied: bool) -> "Answer":
        """The answer where some request is `allowed`, and some `denied`."""
        if allowed:
            return cls.DEPENDS if denied else cls.ALLOW
        return cls.DENY if denied else cls.NEVER


@dataclass(frozen=True, slots=True)
class Seen:
    """A request of a cell, as simple as can be, and what the tree decides about it."""

    case: Case
    decision: Decision


@dataclass(frozen=True, slots=True)
class Before:
    """What the older version answered where the newer one answers otherwise.

    `allowed` is a request that is newly allowed, `denied` one that is newly denied; that there is none is proved.
    """

    answer: Answer
    allowed: Witness | None
    denied: Witness | None


@dataclass(frozen=True, slots=True)
class Cell:
    """What is answered, with a request that is allowed and one that is denied, as far as there are such; and what it depends `on`.

    `before` is there if there is an older version, and some request of the cell is decided otherwise than by it.
    """

    allowed: Seen | None
    denied: Seen | None
    on: tuple[str, ...]
    before: Before | None = None

    @property
    def answer(self) -> Answer:
        """The answer."""
        return Answer.of(allowed=self.allowed is not None, denied=self.denied is not None)

    @property
    def decision(self) -> Decision | None:
        """The decision that makes the difference: what allows if anything does, else what denies."""
        seen = [each.decision for each in (self.allowed, self.denied) if each is not None]
        return next((each for each in seen if each.match is not None), seen[0] if seen else None)

    @property
    def told(self) -> tuple[object, ...]:
        """What is to be told of it: the answer, the reason, and how it was."""
        decision, before = self.decision, self.before
        why = None if decision is None else (decision.match, decision.reason)
        was = None if before is None else (before.answer, before.allowed is None, before.denied is None)
        return self.answer, why, self.on, was
