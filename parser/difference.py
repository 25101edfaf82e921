"""Difference: where two long sequences differ, found without looking into what they hold."""

from collections.abc import Sequence
from itertools import compress, count
from operator import is_not

__all__ = ["differing"]


def differing(before: Sequence[object], now: Sequence[object]) -> tuple[slice, slice]:
    """The parts of each that are left without the objects with which both begin and both end.

    Where one of ten thousand items was replaced, added or removed, that is found in a fraction of a millisecond.
    """
    shorter = min(len(before), len(now))
    first = next(compress(count(), map(is_not, before, now)), shorter)
    last = next(compress(count(), map(is_not, reversed(before), reversed(now))), shorter)
    last = min(last, shorter - first)
    return slice(first, len(before) - last), slice(first, len(now) - last)
