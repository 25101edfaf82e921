"""Growing: from rules to lanes, and from lanes to the nodes of a decision tree.

A lane hangs on the test that leads to it past the fewest others. Where several are about as good, it is the one whose
attribute serves the most lanes, for a request pays for each attribute that a node looks at. What gathers on one fact is
parted the same way by the tests that are left. It has at most half of the lanes: so the depth of a tree grows as the
logarithm of the rules, and its size as the rules.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product

from authz.decision import Decision
from authz.dispatch import UNBOUND, Block, Branch, Family, Group, Item, Lane, Node, Step, place
from authz.facts import Condition, Demand, Fact, Facts, Loose, Names, Sense, Test
from authz.index import Index
from authz.matcher import Matcher
from authz.predicates import LoweredRule

__all__ = ["Growing"]

_FEW = 8
"""So many lanes are sooner tried one by one than parted once more."""
_SCANNED = 16
"""So many lanes that no fact leads to are tried in their order before any is looked at in a block."""
_BLOCK = 4096
"""The lanes of a block: a set of them is small whatever the rules, and a look at all of them takes half a microsecond."""
_RARE = 64
"""A block looks at all attributes of its lanes, so one stays out that fewer than one lane in so many has a test on."""
_FAMILY = 4
"""So many headers, or claims, are sooner read one by one than found by the names that a request has."""
_MULTIPLIED = 4
"""So many sources, or operations, of a rule are multiplied with all of the others."""
_GROWTH = 4
"""A lane hangs on each fact of its test, and where many do they are parted once more. Lanes with several facts do so until
the tree is so many times as large as what its rules say."""


@dataclass(frozen=True, slots=True)
class _Wide:
    """A rule with many sources and many operations."""

    number: int
    stage: int
    sources: list[Demand]
    operations: list[Demand]
    conditions: Demand
    decision: Decision


class Growing:
    """The rules of one tree, stage by stage in the order in which they decide."""

    def __init__(self, facts: Facts, *, asked: set[Test]) -> None:
        """Make the tests of `facts`.

        `asked` takes up those that are made on the way through the tree. The ones by which its root parts the rules are
        not, for a request is led from there by its values.
        """
        self._facts = facts
        self._asked = asked
        self._rules = 0
        self._lanes: list[Lane] = []
        self._wide: list[_Wide] = []

    def add(self, rule: LoweredRule, *, stage: int, decision: Decision) -> None:
        """Add one. It decides this in its stage where no earlier one holds."""
        number = self._rules = self._rules + 1
        sources = [self._facts.demand(part) for part in rule.sources]
        operations = [self._facts.demand(part) for part in rule.operations]
        conditions = self._facts.demand(rule.conditions)
        if min(len(sources), len(operations)) > _MULTIPLIED:
            self._wide.append(_Wide(number, stage, sources, operations, conditions, decision))
            return
        for source, operation in product(sources, operations):
            self._lanes.append(Lane(number, stage, *_all(source, operation, conditions), decision))

    def grow(self) -> Node:
        """The root of them all."""
        counts = self._counts() if self._wide else Counter()
        for rule in self._wide:
            # Lanes are made of those that lead past fewer others; the rest is a condition of them all, with its own
            # tree.
            leading, others = sorted((rule.sources, rule.operations), key=lambda demands: _crowd(demands, counts))
            lanes = [Lane(number, 0, *demand, rule.decision) for number, demand in enumerate(others)]
            group = Group(_Parting(lanes, self._asked).node(lanes))
            for demand in leading:
                self._lanes.append(
                    Lane(rule.number, rule.stage, *_all(demand, rule.conditions, ((), (group,))), rule.decision)
                )
        self._lanes.sort(key=place)
        return _Parting(self._lanes, self._asked).root(self._lanes)

    def _counts(self) -> Counter[Fact]:
        """How many there are that each fact would lead to."""
        wide = (tests for rule in self._wide for tests, _ in chain(rule.sources, rule.operations))
        return Counter(
            fact
            for tests in chain((lane.tests for lane in self._lanes), wide)
            for test in tests
            if test.wanted
            for fact in test.among
        )


def _all(*demands: Demand) -> Demand:
    # What is said twice is asked once; a dictionary keeps the order.
    tests = tuple(dict.fromkeys([test for tests, _ in demands for test in tests]))
    return tests, tuple([condition for _, conditions in demands for condition in conditions])


def _crowd(demands: Sequence[Demand], counts: Counter[Fact]) -> int:
    """Past how many others, at most, some fact leads to one of `demands`."""
    every = counts.total() + 1
    crowds = ((max(counts[fact] for fact in test.among) for test in tests if test.wanted) for tests, _ in demands)
    return max(min(crowd, default=every) for crowd in crowds)


class _Parting:
    """Takes lanes apart into nodes, and remembers what it has made: many facts lead to the same lanes."""

    def __init__(self, lanes: Iterable[Lane], asked: set[Test]) -> None:
        self._asked = asked
        self._left = _GROWTH * sum(map(_size, lanes))
        self._made: dict[tuple[Lane, ...], tuple[Item, ...]] = {}
        self._without: dict[tuple[Lane, Test], Lane] = {}
        self._tests: dict[tuple[Test, ...], tuple[Test, ...]] = {}

    def root(self, lanes: Sequence[Lane]) -> Node:
        """The node of all lanes, to whose branches a request comes by its values."""
        return self._parted(_needed(lanes), asked=set())

    def node(self, lanes: Sequence[Lane]) -> Node:
        """The same, for a request that comes to them by its facts."""
        return self._parted(_needed(lanes), asked=self._asked)

    def _items(self, lanes: list[Lane]) -> tuple[Item, ...]:
        """What hangs on a fact: the lanes that gather there if they are few, else a node of them."""
        key = tuple(_needed(lanes))
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._few(key) if len(key) <= _FEW else (self._parted(key, asked=self._asked),)
        return made

    def _few(self, lanes: tuple[Lane, ...]) -> tuple[Lane, ...]:
        self._asked.update(test for lane in lanes for test in lane.tests)
        return lanes

    def _parted(self, lanes: Sequence[Lane], *, asked: set[Test]) -> Node:
        """The node of `lanes`; `asked` takes up the tests by which it parts them."""
        first = lanes[0].number if lanes else UNBOUND
        chosen = self._affordable(_choice(lanes)) if len(lanes) > _FEW else {}
        hanging: dict[Sense, dict[Fact, list[Lane]]] = {}
        for lane, (test, _) in chosen.items():
            asked.add(test)
            left = self._done(lane, test)
            facts = hanging.setdefault(test.sense, {})
            for fact in test.among:
                facts.setdefault(fact, []).append(left)
        branches = [
            Branch(
                min(members[0].number for members in facts.values()),
                sense,
                {fact: self._items(members) for fact, members in facts.items()},
            )
            for sense, facts in hanging.items()
        ]
        single, families = _families(branches)
        in_families = {branch.sense for family in families for some in family.members.values() for branch in some}
        self._asked.update(test for test, _ in chosen.values() if test.sense in in_families)
        scanned, blocks = _scanned([lane for lane in lanes if lane not in chosen])
        return Node(first, single, families, self._few(scanned), blocks)

    def _affordable(self, chosen: dict[Lane, tuple[Test, int]]) -> dict[Lane, tuple[Test, int]]:
        """Without the lanes that would be parted again under each of several facts, where that has become too much."""
        again = {lane for lane, (test, crowd) in chosen.items() if crowd > _FEW and len(test.among) > 1}
        cost = sum(len(chosen[lane][0].among) * _size(lane) for lane in again)
        if cost > self._left:
            return {lane: choice for lane, choice in chosen.items() if lane not in again}
        self._left -= cost
        return chosen

    def _done(self, lane: Lane, test: Test) -> Lane:
        """The lane with `test` behind it: the same one for all the facts that lead to it."""
        key = lane, test
        if (left := self._without.get(key)) is None:
            tests = tuple([other for other in lane.tests if other is not test])
            tests = self._tests.setdefault(tests, tests)
            left = self._without[key] = Lane(lane.number, lane.stage, tests, lane.conditions, lane.decision)
        return left


def _needed(lanes: Iterable[Lane]) -> list[Lane]:
    """Without those that never decide: behind one of their stage that always holds, or that demands the same."""
    found: list[Lane] = []
    settled: set[int] = set()
    seen: set[tuple[int, tuple[Test, ...], tuple[Condition, ...]]] = set()
    for lane in lanes:
        demanded = lane.stage, lane.tests, lane.conditions
        if lane.stage not in settled and demanded not in seen:
            seen.add(demanded)
            found.append(lane)
            if not lane.tests and not lane.conditions:
                settled.add(lane.stage)
    return found


def _size(lane: Lane) -> int:
    return 1 + sum([len(test.among) for test in lane.tests])


def _choice(lanes: Sequence[Lane]) -> dict[Lane, tuple[Test, int]]:
    """The test on which each lane hangs, and past how many it leads at most.

    Those lanes are missing that no test parts from half of the others.
    """
    counts: Counter[Fact] = Counter()
    tests = Counter([test for lane in lanes for test in lane.tests if test.wanted])
    for test, times in tests.items():
        for fact in test.among:
            counts[fact] += times
    crowds = {test: max([counts[fact] for fact in test.among]) for test in tests}
    # Whether a test leads past one other lane or past two is all the same: what counts is to have few attributes to
    # look at.
    sizes = {test: max(crowd.bit_length(), 2) for test, crowd in crowds.items() if crowd <= max(_FEW, len(lanes) // 2)}
    best: dict[Lane, list[Test]] = {}
    for lane in lanes:
        if parting := [test for test in lane.tests if test in sizes]:
            least = min([sizes[test] for test in parting])
            best[lane] = [test for test in parting if sizes[test] == least]
    served = Counter([test.sense for among in best.values() for test in among])
    chosen = {lane: max(among, key=lambda test: served[test.sense]) for lane, among in best.items()}
    return {lane: (test, crowds[test]) for lane, test in chosen.items()}


def _families(branches: Iterable[Branch]) -> tuple[tuple[Branch, ...], tuple[Family, ...]]:
    """The branches, what may decide first before the others; and by their names those on many attributes of one key."""
    single: list[Branch] = []
    named: dict[Names, list[Branch]] = {}
    for branch in branches:
        sense = branch.sense
        if sense.names is None or sense.argument[0].startswith(":"):
            single.append(branch)
        else:
            named.setdefault(sense.names, []).append(branch)
    families: list[Family] = []
    for names, members in named.items():
        if len(members) <= _FAMILY:
            single += members
            continue
        by_name: dict[str, list[Branch]] = {}
        for branch in members:
            by_name.setdefault(branch.sense.argument[0], []).append(branch)
        first = min(branch.first for branch in members)
        families.append(Family(first, names, {name: tuple(some) for name, some in by_name.items()}))
    return tuple(sorted(single, key=lambda branch: branch.first)), tuple(families)


def _scanned(lanes: Sequence[Lane]) -> tuple[tuple[Lane, ...], tuple[Block, ...]]:
    """Which lanes are tried in their order, and the blocks of the others."""
    if len(lanes) <= _SCANNED:
        return tuple(lanes), ()
    uses = Counter(sense for lane in lanes for sense in _senses(lane))
    scanned: list[Lane] = []
    blocked: list[Lane] = []
    times: Counter[int] = Counter()
    for lane in lanes:
        rare = any(uses[sense] * _RARE < len(lanes) for sense in _senses(lane))
        loose = any(isinstance(condition, Loose) for condition in lane.conditions)
        if rare or (times[lane.stage] < _SCANNED and not loose):
            times[lane.stage] += 1
            scanned.append(lane)
        else:
            blocked.append(lane)
    blocks = [_block(blocked[start : start + _BLOCK]) for start in range(0, len(blocked), _BLOCK)]
    return tuple(scanned), tuple(blocks)


def _senses(lane: Lane) -> set[Sense]:
    return {one.sense for one in (*lane.tests, *lane.conditions) if isinstance(one, Test | Loose)}


class _Column:
    """What is asked of one attribute in a block."""

    def __init__(self) -> None:
        self.demanding = 0
        self.wanted: dict[Matcher, int] = {}
        self.unwanted: dict[Matcher, int] = {}

    def add(self, matchers: Iterable[Matcher], bit: int, *, wanted: bool) -> None:
        into = self.wanted if wanted else self.unwanted
        if wanted:
            self.demanding |= bit
        for matcher in matchers:
            into[matcher] = into.get(matcher, 0) | bit


def _block(lanes: Sequence[Lane]) -> Block:
    """The tests of the lanes as columns: one an attribute, and another where a lane demands two things of it."""
    columns: dict[tuple[Sense, int], _Column] = {}
    stages: dict[int, int] = {}
    for position, lane in enumerate(lanes):
        bit = 1 << position
        stages[lane.stage] = stages.get(lane.stage, 0) | bit
        demands: Counter[Sense] = Counter()
        for one in (*lane.tests, *lane.conditions):
            match one:
                case Test(sense, among, wanted):
                    matchers: Iterable[Matcher] = [fact.predicate.matcher for fact in among]
                case Loose():
                    sense, matchers, wanted = one.sense, one.matchers, one.wanted
                case _:
                    continue
            column = columns.setdefault((sense, demands[sense]), _Column())
            column.add(matchers, bit, wanted=wanted)
            demands[sense] += wanted
    every = (1 << len(lanes)) - 1
    steps = tuple(
        Step(sense, every & ~column.demanding, _sets(column.wanted), _sets(column.unwanted))
        for (sense, _), column in columns.items()
    )
    return Block(tuple(map(_tested, lanes)), steps, every, tuple(stages.values()))


def _tested(lane: Lane) -> Lane:
    """The lane with everything behind it that the steps of a block look at."""
    left = tuple(one for one in lane.conditions if not isinstance(one, Loose))
    return Lane(lane.number, lane.stage, (), left, lane.decision)


def _sets(lanes: Mapping[Matcher, int]) -> Index[int] | None:
    """Which lanes each value speaks of: where prefixes lie within each other, those of all of them."""
    if not lanes:
        return None
    return Index(
        {matcher: (bits,) for matcher, bits in lanes.items()}, within=lambda inner, outer: (inner[0] | outer[0],)
    )
