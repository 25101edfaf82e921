"""Facts: the predicates of a tree as things that a request has or has not, and the tests that rules make of them.

To know the facts of an attribute is to look its values up once, among all the predicates on it. Whatever is asked of
the attribute then, by however many rules, is asked of the facts.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from authz.attributes import Attributes, Value
from authz.index import Index, nested_deeper
from authz.keys import Attribute, AttributeKey
from authz.matcher import Matcher, matches
from authz.predicates import Part, Predicate

__all__ = ["Condition", "Demand", "Fact", "Facts", "Known", "Loose", "Names", "Sense", "Test"]

_DEEP = 16
"""So many predicates that lie within each other may be facts of one value. Deeper ones are tried where they matter."""
_FEW = 4
"""So many matchers are sooner tried than looked up."""

Names = Callable[[Attributes], Collection[str]]
"""The names under which a request has headers, or claims, or the like."""


@dataclass(frozen=True, slots=True, eq=False)
class Fact:
    """One predicate. It is equal only to itself, which makes sets of facts as cheap as sets can be."""

    predicate: Predicate


class Sense:
    """One attribute: how it is read, and which facts its values are.

    `find` finds what was asked for, and nothing before: what no rule asks for is not worth looking up.
    """

    __slots__ = ("argument", "attribute", "find", "names", "read")

    def __init__(self, attribute: Attribute, key: AttributeKey) -> None:
        self.attribute = attribute
        self.argument = attribute.argument
        self.read = key.read
        self.names: Names | None = key.names
        self.find: Callable[[tuple[Value, ...]], Collection[Fact]] = _nothing

    def ask_for(self, facts: Iterable[Fact]) -> None:
        """Have `find` find these, and no others."""
        self.find = Index({fact.predicate.matcher: (fact,) for fact in facts}).find


def _nothing(_: tuple[Value, ...]) -> tuple[Fact, ...]:
    return ()


Known = dict[Sense, Collection[Fact]]
"""What has been found out about one request: the facts of every attribute that was looked up."""


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """Whether any of `among` is a fact of the request, or, where that is not `wanted`, none."""

    sense: Sense
    among: frozenset[Fact]
    wanted: bool


class Condition(Protocol):
    """What a rule demands beside its tests."""

    def holds(self, attributes: Attributes, known: Known) -> bool:
        """Whether it holds for a request of which `known` is known; what it finds out is known afterwards."""


class Loose:
    """A test of predicates of which some lie within too many others to be facts.

    A path of ten thousand letters has ten thousand prefixes. Were they its facts, to find them would take as long as to
    try every rule. So they are tried, by the few rules for which nothing else is left to hold.
    """

    __slots__ = ("_index", "matchers", "sense", "wanted")

    def __init__(self, sense: Sense, matchers: tuple[Matcher, ...], *, wanted: bool) -> None:
        self.sense = sense
        self.matchers = matchers
        self.wanted = wanted
        many = len(matchers) > _FEW
        self._index = Index(dict.fromkeys(matchers, (True,)), within=lambda inner, _: inner) if many else None

    def holds(self, attributes: Attributes, _: Known) -> bool:
        """Whether any of the predicates holds, or none where they are not wanted."""
        values = self.sense.read(attributes, self.sense.argument)
        if self._index is not None:
            return bool(self._index.find(values)) is self.wanted
        return any(matches(matcher, value) for matcher in self.matchers for value in values) is self.wanted


Demand = tuple[tuple[Test, ...], tuple[Condition, ...]]
"""What must hold as a whole: one source of a rule, one operation, or all of its conditions."""


class Facts:
    """The facts and the senses of one tree, from its predicates, and the tests that its rules make."""

    def __init__(self, predicates: Iterable[Predicate], keys: Mapping[str, AttributeKey]) -> None:
        # By identity: predicates are interned, and to hash one costs more than all else that is done with it here.
        self._facts = {id(predicate): Fact(predicate) for predicate in predicates}
        by_attribute: dict[Attribute, dict[Matcher, Fact]] = {}
        for fact in self._facts.values():
            by_attribute.setdefault(fact.predicate.attribute, {})[fact.predicate.matcher] = fact
        self._senses = {attribute: Sense(attribute, keys[attribute.key]) for attribute in by_attribute}
        self._deep = {facts[matcher] for facts in by_attribute.values() for matcher in nested_deeper(facts, _DEEP)}
        self._tests: dict[tuple[frozenset[Fact], bool], Test | Loose] = {}

    def demand(self, part: Part) -> Demand:
        """What a part of a rule demands. Equal tests are the same one."""
        found = [
            self._test(clause.attribute, predicates, wanted=wanted)
            for clause in part
            for predicates, wanted in ((clause.wanted, True), (clause.unwanted, False))
            if predicates
        ]
        return tuple([t for t in found if isinstance(t, Test)]), tuple([t for t in found if isinstance(t, Loose)])

    def _test(self, attribute: Attribute, predicates: tuple[Predicate, ...], *, wanted: bool) -> Test | Loose:
        among = frozenset([self._facts[id(predicate)] for predicate in predicates])
        test = self._tests.get((among, wanted))
        if test is None:
            sense = self._senses[attribute]
            if self._deep.isdisjoint(among):
                test = Test(sense, among, wanted)
            else:
                test = Loose(sense, tuple([predicate.matcher for predicate in predicates]), wanted=wanted)
            self._tests[among, wanted] = test
        return test

    def ask_for(self, tests: Iterable[Test]) -> None:
        """Have the senses find the facts of these tests, and no others."""
        asked: dict[Sense, set[Fact]] = {}
        for test in tests:
            asked.setdefault(test.sense, set()).update(test.among)
        for sense, facts in asked.items():
            sense.ask_for(facts)
