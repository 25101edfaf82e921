"""Selectors: facts about a caller that an attestor has established, by which registration entries find it."""

from dataclasses import dataclass
from typing import Self

from ca.errors import InvalidSelectorError

__all__ = ["Selector"]

_LONGEST = 1024


@dataclass(frozen=True, slots=True, order=True)
class Selector:
    """One fact, e.g. `k8s:ns:shop` or `unix:uid:1000`: who established it, and what. One that exists is valid."""

    kind: str
    value: str

    def __post_init__(self) -> None:
        if not self.kind or not self.value or ":" in self.kind:
            raise InvalidSelectorError(str(self), "it is not `kind:value`, as in `unix:uid:1000`")
        text = str(self)
        if len(text) > _LONGEST or not text.isprintable():
            raise InvalidSelectorError(text[:_LONGEST], f"it is longer than {_LONGEST} characters or not printable")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `kind:value`; the value may have colons.

        Raises:
            InvalidSelectorError: it is not.
        """
        kind, _, value = text.partition(":")
        return cls(kind, value)

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"
