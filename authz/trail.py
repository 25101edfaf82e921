"""Trail: the way of one request through a decision tree, step by step.

It goes through the nodes that the decision goes through, in the same order, leaves out what that leaves out, and finds by
trying each matcher what the tree finds by its look-ups. So it takes its time, and where it ends is a second opinion.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from operator import itemgetter

from authz.attributes import Attributes, Value
from authz.decision import Decision
from authz.dispatch import UNBOUND, Best, Block, Branch, Family, Item, Lane, Node, place
from authz.facts import Condition, Fact, Known, Sense, Test
from authz.matcher import matches
from authz.tree import DecisionTree

__all__ = ["Entered", "Found", "Looked", "Met", "Outcome", "Sifted", "Step", "Trail", "Tried", "follow"]


class Outcome(Enum):
    """What became of a lane."""

    HELD = "held"
    FAILED = "failed"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Tried:
    """A lane that was come to. `failed` is the first of its demands that does not hold, and `values` what that looked at.

    One is late where an earlier rule of its stage has matched already; then it is not looked into.
    """

    part: Lane
    outcome: Outcome
    failed: Test | Condition | None = None
    values: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A fact that the request has, and the steps among what hangs on it."""

    fact: Fact
    steps: tuple["Step", ...]


@dataclass(frozen=True, slots=True)
class Looked:
    """An attribute that was looked up: its values, and where they led."""

    part: Branch
    values: tuple[Value, ...]
    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Met:
    """A family of which the request has `names`, which were looked up."""

    part: Family
    names: tuple[str, ...]
    looked: tuple[Looked, ...]


@dataclass(frozen=True, slots=True)
class Sifted:
    """A block, how many of its lanes stood after each of its attributes, and those that were tried then."""

    part: Block
    left: tuple[tuple[Sense, tuple[Value, ...], int], ...]
    tried: tuple[Tried, ...]


@dataclass(frozen=True, slots=True)
class Entered:
    """A node that was gone through. What no step is about was not looked at: all of it comes too late to decide."""

    part: Node
    steps: tuple["Step", ...]


Step = Tried | Looked | Met | Sifted | Entered


@dataclass(frozen=True, slots=True)
class Trail:
    """The way, the decision at its end, and the lanes that decided: the first that held, of each stage."""

    entered: Entered
    decision: Decision
    deciding: tuple[Lane, ...]


def follow(tree: DecisionTree, attributes: Attributes, *, allowed_by: frozenset[str] = frozenset()) -> Trail:
    """The way of a request through `tree`, with the decision that it leads to."""
    walker = _Walker()
    decision = tree.decide_by(walker.walk_from, attributes, allowed_by=allowed_by)
    return Trail(walker.entered, decision, walker.deciding)


class _Walker:
    """Walks as `dispatch.enter` does, and writes down where it has been."""

    def __init__(self) -> None:
        self.entered = Entered(Node(UNBOUND), ())
        self.deciding: tuple[Lane, ...] = ()
        self._bound = UNBOUND
        self._known: Known = {}

    def walk_from(self, root: Node, attributes: Attributes, best: Best) -> None:
        self._attributes = attributes
        self._best = best
        settled = {id(lane) for lane in best if lane is not None}
        self.entered = Entered(root, tuple(self._root(root)))
        self.deciding = tuple(lane for lane in best if lane is not None and id(lane) not in settled)

    def _root(self, root: Node) -> Iterator["Step"]:
        """As the root is written down: what may decide first before the others."""
        rest = Node(root.first, (), root.families, root.lanes, root.blocks)
        firsts = [place(lane) for lane in (*root.lanes, *(lane for block in root.blocks for lane in block.lanes))]
        firsts += [family.first for family in root.families]
        parts: list[tuple[int, Branch | Node]] = [(branch.first, branch) for branch in root.branches]
        if firsts:
            parts.append((min(firsts), rest))
        for first, part in sorted(parts, key=itemgetter(0)):
            if first < self._bound:
                yield from self._enter(part) if isinstance(part, Node) else [self._look(part)]

    def _enter(self, node: Node) -> Iterator["Step"]:
        yield from self._search(node.lanes)
        for branch in node.branches:
            if branch.first < self._bound:
                yield self._look(branch)
        for family in node.families:
            if family.first < self._bound:
                names = tuple(sorted(family.members.keys() & family.names(self._attributes)))
                looked = tuple([self._look(branch) for name in names for branch in family.members[name]])
                yield Met(family, names, looked)
        for block in node.blocks:
            if block.lanes[0].number < self._bound:
                yield self._sift(block)

    def _look(self, branch: Branch) -> Looked:
        values = self._values(branch.sense)
        facts = [fact for fact in branch.children if _is(fact, values)]
        facts.sort(key=lambda fact: place(branch.children[fact][0]))
        found = tuple([Found(fact, tuple(self._search(branch.children[fact]))) for fact in facts])
        return Looked(branch, values, found)

    def _search(self, items: Iterable[Item]) -> Iterator["Step"]:
        for item in items:
            if place(item) >= self._bound:
                break
            yield Entered(item, tuple(self._enter(item))) if isinstance(item, Node) else self._try(item)

    def _try(self, lane: Lane) -> Tried:
        before = self._best[lane.stage]
        if before is not None and before.number <= lane.number:
            return Tried(lane, Outcome.LATE)
        for test in lane.tests:
            values = self._values(test.sense)
            if any(_is(fact, values) for fact in test.among) is not test.wanted:
                return Tried(lane, Outcome.FAILED, test, values)
        for condition in lane.conditions:
            if not condition.holds(self._attributes, self._known):
                return Tried(lane, Outcome.FAILED, condition)
        self._best[lane.stage] = lane
        self._bound = max(UNBOUND if lane is None else lane.number for lane in self._best)
        return Tried(lane, Outcome.HELD)

    def _sift(self, block: Block) -> Sifted:
        standing = block.every
        left: list[tuple[Sense, tuple[Value, ...], int]] = []
        for step in block.steps:
            values = self._values(step.sense)
            if step.wanted is not None:
                held = step.free
                for bits in step.wanted.find(values):
                    held |= bits
                standing &= held
            if step.unwanted is not None:
                for bits in step.unwanted.find(values):
                    standing &= ~bits
            left.append((step.sense, values, standing.bit_count()))
        lanes = [lane for position, lane in enumerate(block.lanes) if standing >> position & 1]
        return Sifted(block, tuple(left), tuple([self._try(lane) for lane in lanes if lane.number < self._bound]))

    def _values(self, sense: Sense) -> tuple[Value, ...]:
        return sense.read(self._attributes, sense.argument)


def _is(fact: Fact, values: tuple[Value, ...]) -> bool:
    return any(matches(fact.predicate.matcher, value) for value in values)
