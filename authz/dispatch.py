"""Dispatch: the nodes of a decision tree, and how a request goes through them.

A *lane* is one way for one rule to hold: tests that must all hold. Lanes are numbered in the order in which they
decide, and a request looks for the first of each stage. It does not try one after the other, for a node branches on
attributes: a lane hangs on the branch where one of its tests parts it best from the others, under each fact that
satisfies that test, with its other tests still to do. So a request comes to the lanes to which it has a fact, and tries
what is left of them. Where many lanes hang on one fact, a node hangs there instead and branches again.

Lanes to which no fact leads, for they only say what must not be, stand in the node itself: a few to be tried in their
order, the others in blocks, where a lane is a bit and what an attribute says of all of them is said at once.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from authz.attributes import Attributes, Value
from authz.decision import Decision
from authz.facts import Condition, Fact, Known, Names, Sense, Test
from authz.index import Index

__all__ = [
    "UNBOUND",
    "Best",
    "Block",
    "Branch",
    "Family",
    "Group",
    "Item",
    "Lane",
    "Node",
    "Step",
    "enter",
    "place",
    "search",
]

UNBOUND = sys.maxsize
"""More than the number of any lane."""


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """One way for a rule to hold: all of `tests` and all of `conditions`.

    Of the lanes of one `stage` that hold, the one with the least `number` decides; those of one rule share theirs.
    """

    number: int
    stage: int
    tests: tuple[Test, ...]
    conditions: tuple[Condition, ...]
    decision: Decision


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One attribute, and what hangs on its facts. `first` is the least number there."""

    first: int
    sense: Sense
    children: Mapping[Fact, tuple["Item", ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Branches on many headers, or claims, by name: a request is asked which it has, and not for one after the other."""

    first: int
    names: Names
    members: Mapping[str, tuple[Branch, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What an attribute says of the lanes of a block, as bits.

    `free` are those that demand nothing of it; `wanted` has those that a value is wanted by, `unwanted` those that it
    rules out.
    """

    sense: Sense
    free: int
    wanted: Index[int] | None
    unwanted: Index[int] | None


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Neighbouring lanes, the first of them the lowest bit, and their tests as steps.

    `every` has all the bits, `stages` those of each stage.
    """

    lanes: tuple[Lane, ...]
    steps: tuple[Step, ...]
    every: int
    stages: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A set of lanes, taken apart. `first` is the least number among them."""

    first: int
    branches: tuple[Branch, ...] = ()
    families: tuple[Family, ...] = ()
    lanes: tuple[Lane, ...] = ()
    blocks: tuple[Block, ...] = ()


Item = Lane | Node
"""What hangs on a fact."""

Best = list[Lane | None]
"""The first lane found so far, of each stage."""


def place(item: Item) -> int:
    """The number of a lane, or the least of a node's. Items that hang together stand in this order."""
    return item.number if isinstance(item, Lane) else item.first


def enter(node: Node, attributes: Attributes, best: Best, known: Known, bound: int = UNBOUND) -> int:
    """Find the first lanes of `node` that hold, one of each stage, and put them into `best` before what comes later.

    No stage has any use for lanes from `bound` on; returned is what that has become.
    """
    if node.lanes:
        bound = search(node.lanes, attributes, best, known, bound)
    for branch in node.branches:
        if branch.first < bound:
            bound = _follow(branch, attributes, best, known, bound)
    for family in node.families:
        if family.first < bound:
            # Of the two sets of names the smaller is gone through: neither many rules nor many headers cost anything
            # alone.
            for name in family.members.keys() & family.names(attributes):
                for branch in family.members[name]:
                    bound = _follow(branch, attributes, best, known, bound)
    if node.blocks:
        bound = _search_blocks(node.blocks, attributes, best, known, bound)
    return bound


def _follow(branch: Branch, attributes: Attributes, best: Best, known: Known, bound: int) -> int:
    sense, children = branch.sense, branch.children
    facts = known.get(sense)
    if facts is None:
        facts = known[sense] = sense.find(sense.read(attributes, sense.argument))
    if isinstance(facts, set):
        # As with the names. And what many facts lead to is gone to once.
        items = {item for fact in children.keys() & facts for item in children[fact]}
        return search(sorted(items, key=place), attributes, best, known, bound)
    for fact in facts:
        if (found := children.get(fact)) is not None:
            bound = search(found, attributes, best, known, bound)
    return bound


def search(items: Iterable[Item], attributes: Attributes, best: Best, known: Known, bound: int) -> int:
    """As `enter`, among `items` in their order."""
    for item in items:
        if isinstance(item, Node):
            if item.first >= bound:
                break
            bound = enter(item, attributes, best, known, bound)
            continue
        number = item.number
        # Compared only where there is something to compare with: among ten thousand rules, to look at it is a cache
        # miss.
        if bound is not UNBOUND and number >= bound:
            break
        before = best[item.stage]
        if before is not None and before.number <= number:
            continue
        for test in item.tests:
            sense = test.sense
            facts = known.get(sense)
            if facts is None:
                facts = known[sense] = sense.find(sense.read(attributes, sense.argument))
            if test.among.isdisjoint(facts) is test.wanted:
                break
        else:
            if not item.conditions or _all_hold(item.conditions, attributes, known):
                best[item.stage] = item
                bound = number if len(best) == 1 else _bound(best)
    return bound


def _all_hold(conditions: Iterable[Condition], attributes: Attributes, known: Known) -> bool:
    return all(condition.holds(attributes, known) for condition in conditions)


def _bound(best: Best) -> int:
    return max(UNBOUND if lane is None else lane.number for lane in best)


def _search_blocks(blocks: Iterable[Block], attributes: Attributes, best: Best, known: Known, bound: int) -> int:
    seen: dict[Sense, tuple[Value, ...]] = {}
    for block in blocks:
        if block.lanes[0].number >= bound:
            break
        standing = _standing(block, attributes, seen)
        for stage in block.stages:
            for lane in _in_order(block, standing & stage):
                before = best[lane.stage]
                if lane.number >= bound or (before is not None and before.number <= lane.number):
                    break
                if _all_hold(lane.conditions, attributes, known):
                    best[lane.stage] = lane
                    bound = _bound(best)
                    break
    return bound


def _standing(block: Block, attributes: Attributes, seen: dict[Sense, tuple[Value, ...]]) -> int:
    """The bits of the lanes whose tests hold."""
    standing = block.every
    for step in block.steps:
        sense = step.sense
        values = seen.get(sense)
        if values is None:
            values = seen[sense] = sense.read(attributes, sense.argument)
        if step.wanted is not None:
            held = step.free
            for bits in step.wanted.find(values):
                held |= bits
            standing &= held
        if step.unwanted is not None:
            for bits in step.unwanted.find(values):
                standing &= ~bits
        if not standing:
            break
    return standing


def _in_order(block: Block, standing: int) -> Iterator[Lane]:
    while standing:
        lowest = standing & -standing
        yield block.lanes[lowest.bit_length() - 1]
        standing ^= lowest


class Group:
    """The sources of a rule, or its operations, as a condition: one of them must hold, and their own tree finds it.

    Where a rule has many of both, the ones are lanes and the others are their group. Every pair of them would multiply.
    """

    __slots__ = ("root",)

    def __init__(self, root: Node) -> None:
        self.root = root

    def holds(self, attributes: Attributes, known: Known) -> bool:
        """Whether one of them does."""
        best: Best = [None]
        enter(self.root, attributes, best, known)
        return best[0] is not None
