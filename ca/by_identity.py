"""What was made of an object, found again by the object itself."""

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["ByIdentity"]

K = TypeVar("K")
V = TypeVar("V")


class ByIdentity(Generic[K, V]):
    """Calls `make` once for each object, of which `most` are remembered. Objects must not change.

    By identity, for comparing or hashing what pyca has read takes as long as making something of it anew. An object that is remembered
    stays alive, so that its id stays its own.
    """

    def __init__(self, make: Callable[[K], V], *, most: int = 64) -> None:
        self._make = make
        self._most = most
        self._kept: dict[int, tuple[K, V]] = {}

    def __call__(self, key: K) -> V:
        """What `make` made of `key`. What it raises is raised again each time."""
        kept = self._kept.get(id(key))
        if kept is not None:
            return kept[1]
        made = self._make(key)
        if len(self._kept) >= self._most:
            self._kept.clear()
        self._kept[id(key)] = (key, made)
        return made
