"""Trie: which of many prefixes a text starts with, in one walk."""

from bisect import bisect_right
from collections.abc import Mapping
from operator import itemgetter

__all__ = ["Trie"]


class _Node:
    __slots__ = ("children", "label", "lanes")

    def __init__(self, label: str, lanes: int) -> None:
        self.label = label
        self.lanes = lanes
        self.children: dict[str, _Node] = {}


class Trie:
    """A radix tree from prefixes to sets of lanes (bits of an integer).

    Each node holds the lanes of every prefix on the way to it, so a lookup is one walk whose length is the number of places
    where the prefixes part along the text, not the number of prefixes.
    """

    __slots__ = ("_root",)

    def __init__(self, lanes: Mapping[str, int]) -> None:
        # Sorted, the prefixes that share a beginning are neighbours. An explicit stack: their depth is the policy's choice.
        keys = sorted(lanes)
        self._root = _Node("", 0)
        pending = [(self._root, 0, len(keys), 0)]
        while pending:
            node, low, high, depth = pending.pop()
            if low < high and len(keys[low]) == depth:
                node.lanes |= lanes[keys[low]]
                low += 1
            while low < high:
                first = keys[low][depth]
                end = bisect_right(keys, first, low, high, key=itemgetter(depth))
                shared = _shared(keys[low], keys[end - 1], depth + 1)
                child = _Node(keys[low][depth:shared], node.lanes)
                node.children[first] = child
                pending.append((child, low, end, shared))
                low = end

    def lookup(self, text: str) -> int:
        """The lanes of every prefix that `text` starts with."""
        node, position, length = self._root, 0, len(text)
        while position < length:
            child = node.children.get(text[position])
            if child is None or not text.startswith(child.label, position):
                break
            node = child
            position += len(node.label)
        return node.lanes


def _shared(one: str, other: str, known: int) -> int:
    """How many characters both start with; `known` of them are."""
    length = min(len(one), len(other))
    for position in range(known, length):
        if one[position] != other[position]:
            return position
    return length
