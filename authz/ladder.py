"""Ladder: the longest of many prefixes that a text starts with, found by hashing it at a few lengths.

To find it by comparing takes a step wherever prefixes part; by hashing, one for each length that is tried, whatever
their number. A rung tries one length: what stands there is a prefix, or a marker that longer ones begin so. A hit goes
on among those alone, a miss among the shorter ones, so that each look halves what is left (Waldvogel et al., *Scalable
High Speed IP Routing Lookups*, 1997). A marker carries what its longest prefix holds, so nobody ever has to go back.

The same is asked of suffixes and of the bits of an address; what differs is how a key is cut.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Rung", "Within", "cut_bits", "cut_head", "cut_tail", "depths", "ends", "ladder", "starts"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Table(Protocol[T_co]):
    """What a rung knows, by the text of its length: what is held there, and the rung above."""

    def get(self, key: Any, /) -> "tuple[tuple[T_co, ...], Rung[T_co] | None] | None":
        """What stands under `key`."""


Rung = tuple[int, Table[T], "Rung[T] | None"]
"""A length, what is known there, and the rung below.

What is asked of every request is climbed where it is asked: a call costs as much as a look.
"""

Within = Callable[[tuple[T, ...], tuple[T, ...]], tuple[T, ...]]
"""What is held where one key lies within another: from what the inner one holds, and the outer one."""

Cut = Callable[[str, int], Hashable]
"""A key's first so many characters, in the form in which they are looked up."""


def cut_head(key: str, length: int) -> str:
    """For keys that are prefixes."""
    return key[:length]


def cut_tail(key: str, length: int) -> str:
    """For keys that are suffixes, reversed; they are looked up as they stand in the text."""
    return key[:length][::-1]


def cut_bits(key: str, length: int) -> int:
    """For keys that are the leading bits of an address, a character each."""
    return int(key[:length] or "0", 2)


def ladder(keys: Mapping[str, tuple[T, ...]], *, cut: Cut, within: Within[T]) -> Rung[T] | None:
    """The ladder of what `keys` hold, or none where there are none."""
    if not keys:
        return None
    # The shortest first: it parts the families of prefixes, and a text of none is done with one look. Sorted, so that a
    # marker is the text of the key that ends there, if one does, and not another of the same letters.
    return _Building(keys, cut, within).rung(sorted(keys, key=len), min(map(len, keys)), ())


def starts(rung: Rung[T] | None, text: str) -> tuple[T, ...]:
    """What the longest prefix holds that `text` starts with, on a ladder of prefixes."""
    held: tuple[T, ...] = ()
    while rung is not None:
        length, table, rung = rung
        if (entry := table.get(text[:length])) is not None:
            held, rung = entry
    return held


def ends(rung: Rung[T] | None, text: str) -> tuple[T, ...]:
    """What the longest suffix holds that `text` ends with, on a ladder of suffixes that are not empty."""
    held: tuple[T, ...] = ()
    while rung is not None:
        length, table, rung = rung
        if (entry := table.get(text[-length:])) is not None:
            held, rung = entry
    return held


class _Building(Generic[T]):
    """The rungs of one ladder while they are made."""

    def __init__(self, own: Mapping[str, tuple[T, ...]], cut: Cut, within: Within[T]) -> None:
        self.own = own
        self.cut = cut
        self.within = within

    def rung(self, keys: list[str], length: int, outer: tuple[T, ...]) -> Rung[T]:
        """The rung that tries `length` first, for `keys` that all lie within what holds `outer`."""
        shorter = [key for key in keys if len(key) < length]
        below = self.halved(shorter, outer)
        families: dict[str, list[str]] = {}
        for key in keys:
            if len(key) >= length:
                families.setdefault(key[:length], []).append(key)
        table: dict[Hashable, tuple[tuple[T, ...], Rung[T] | None]] = {}
        for marker, family in families.items():
            held = self.climb(below, marker, outer)
            if (own := self.own.get(marker)) is not None:
                held = self.within(own, held) if held else own
            longer = [key for key in family if len(key) > length]
            table[self.cut(marker, length)] = held, self.halved(longer, held)
        return length, _Only(table) if len(table) == 1 else table, below

    def halved(self, keys: list[str], outer: tuple[T, ...]) -> Rung[T] | None:
        """The rungs that find one of `keys`, shortest first, in as few looks as their number allows."""
        return self.rung(keys, len(keys[len(keys) // 2]), outer) if keys else None

    def climb(self, rung: Rung[T] | None, text: str, held: tuple[T, ...]) -> tuple[T, ...]:
        while rung is not None:
            length, table, rung = rung
            if (entry := table.get(self.cut(text, length))) is not None:
                held, rung = entry
        return held


class _Only(Generic[T]):
    """A table with one text, a quarter of the size. And to compare two long texts costs less than to hash one."""

    __slots__ = ("_entry", "_key")

    def __init__(self, table: Mapping[Hashable, tuple[tuple[T, ...], Rung[T] | None]]) -> None:
        ((self._key, self._entry),) = table.items()

    def get(self, key: Hashable, /) -> tuple[tuple[T, ...], Rung[T] | None] | None:
        return self._entry if key == self._key else None


def depths(keys: list[str]) -> list[int]:
    """How many of the sorted `keys` each one lies within, itself included. Equal keys lie within each other."""
    found: list[int] = []
    around: list[str] = []
    for key in keys:
        while around and not key.startswith(around[-1]):
            around.pop()
        around.append(key)
        found.append(len(around))
    return found
