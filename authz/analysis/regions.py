"""Regions: where a formula holds, in the words of policies.

A region is a conjunction of clauses. It is found from a case in which the formula holds, by leaving out whatever is not needed
for it to hold: so each region is as wide as its words allow, and all of them together are exactly the formula.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from authz.analysis.access import Access, LiteralRule
from authz.analysis.space import Case, Space
from authz.analysis.words import key_in_words, value_in_words
from authz.keys import Attribute
from authz.matcher import Exact, Port
from authz.predicates import Part, Predicate

__all__ = ["Asked", "Region", "merged", "regions"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a region asks of one attribute: any of `wanted`, if there are some, and none of `unwanted`."""

    attribute: Attribute
    wanted: tuple[Predicate, ...]
    unwanted: tuple[Predicate, ...]

    @property
    def key(self) -> str:
        """As a condition names it."""
        return key_in_words(self.attribute)

    @property
    def values(self) -> tuple[str, ...]:
        """The wanted, as policies write them."""
        return tuple(map(value_in_words, self.wanted))

    @property
    def not_values(self) -> tuple[str, ...]:
        """The unwanted, as policies write them."""
        return tuple(map(value_in_words, self.unwanted))


@dataclass(frozen=True, slots=True)
class Region:
    """Requests for which all of `asked` holds, with a case of them.

    `passed` are the external authorizers that must let them through, and `stopped` those that must not.
    """

    asked: tuple[Asked, ...]
    passed: tuple[str, ...]
    stopped: tuple[str, ...]
    case: Case


def regions(
    space: Space, formula: int, *, among: Iterable[int] = (), responsible: Sequence[Access] = ()
) -> Iterator[Region]:
    """Where `formula` holds, as far as all of `among` do, one region after the other; they may overlap.

    What the rules of `responsible` say, those that match, is preferred to other words.
    """
    finder = _Finder(space, formula, tuple(among), responsible)
    while (found := finder.next()) is not None:
        yield found


class NotWordedError(Exception):
    """The formula depends on something that no predicate says; a mistake of whoever wrote it."""


class _Finder:
    def __init__(self, space: Space, formula: int, among: tuple[int, ...], responsible: Sequence[Access]) -> None:
        self._space = space
        self._formula = formula
        self._among = among
        self._responsible = responsible
        # Holds as long as regions are looked for: what was found is left out then, and only then.
        self._looking = space.circuit.variable()
        self._predicates: dict[int, Predicate] = {}
        for predicate, literal in space.vocabulary():
            self._predicates.setdefault(literal, predicate)
        self._authorizers = {literal: name for name, literal in space.authorizers()}

    def next(self) -> Region | None:
        case = self._space.find(self._formula, self._looking, *self._among, simplest=True)
        if case is None:
            return None
        cube = self._widened(case)
        self._space.circuit.require([-self._looking, *[-literal for literal in cube]])
        narrowed = self._space.find(self._formula, *self._among, *cube, simplest=True)
        return self._region(cube, narrowed or case)

    def _widened(self, case: Case) -> list[int]:
        """Literals that hold in `case`, of which none can be left out if the formula is to hold wherever they do."""
        holds = case.holds

        def is_true(literal: int) -> bool:
            return (holds[abs(literal)] > 0) == (literal > 0)

        said = {literal for access in self._responsible for literal in self._said(access, is_true)}
        known = [*self._predicates, *self._authorizers]
        cube = [literal for literal in known if literal in said and is_true(literal)]
        cube += [-literal for literal in known if not is_true(literal)]
        if self._space.possible(-self._formula, *self._among, *cube):
            # What else holds is needed, too.
            cube = [literal if is_true(literal) else -literal for literal in known]
            if self._space.possible(-self._formula, *self._among, *cube):
                raise NotWordedError
        # Only what was assumed and cannot hold together is kept, and then as little of it as can be.
        needed = set(self._space.core())
        cube = [literal for literal in cube if literal in needed]
        for literal in sorted(cube, key=self._dispensable):
            rest = [each for each in cube if each != literal]
            if not self._space.possible(-self._formula, *self._among, *rest):
                cube = rest
        return cube

    def _dispensable(self, literal: int) -> tuple[int, int]:
        """What to leave out first: single values that are there, then what is not, wide ones before single ones."""
        predicate = self._predicates.get(abs(literal), self._predicates.get(-abs(literal)))
        single = predicate is not None and isinstance(predicate.matcher, (Exact, Port))
        holds = literal in self._predicates or literal in self._authorizers
        return (1, not single) if holds else (0, single)

    def _said(self, access: Access, is_true: Callable[[int], bool]) -> Iterator[int]:
        """The literals of the predicates that hold in the rules that match."""
        for rules in (access.custom, access.deny, access.allow):
            rule = next((each for each in rules if is_true(each.literal)), None)
            if rule is not None:
                yield from self._of_rule(rule, is_true)

    def _of_rule(self, rule: LiteralRule, is_true: Callable[[int], bool]) -> Iterator[int]:
        def clauses_hold(part: Part) -> bool:
            return all(
                (not clause.wanted or any(is_true(self._space.literal(each)) for each in clause.wanted))
                and not any(is_true(self._space.literal(each)) for each in clause.unwanted)
                for clause in part
            )

        lowered = rule.lowered
        for parts in (lowered.sources, lowered.operations, (lowered.conditions,)):
            part = next((part for part in parts if clauses_hold(part)), ())
            for clause in part:
                yield from (self._space.literal(each) for each in clause.wanted)

    def _region(self, cube: Sequence[int], case: Case) -> Region:
        wanted: defaultdict[Attribute, list[Predicate]] = defaultdict(list)
        unwanted: defaultdict[Attribute, list[Predicate]] = defaultdict(list)
        for literal in cube:
            if literal in self._predicates:
                wanted[self._predicates[literal].attribute].append(self._predicates[literal])
            elif -literal in self._predicates:
                unwanted[self._predicates[-literal].attribute].append(self._predicates[-literal])
        asked: list[Asked] = []
        for attribute in dict.fromkeys((*wanted, *unwanted)):
            # Of several that must all hold each is asked by itself.
            first, others = wanted[attribute][:1], wanted[attribute][1:]
            asked.append(Asked(attribute, tuple(first), tuple(unwanted[attribute])))
            asked += [Asked(attribute, (each,), ()) for each in others]
        asked.sort(key=_place)
        return Region(
            asked=tuple(asked),
            passed=tuple(self._authorizers[each] for each in cube if each in self._authorizers),
            stopped=tuple(self._authorizers[-each] for each in cube if -each in self._authorizers),
            case=case,
        )


_ORDER = (
    "source",
    "remote",
    "request.auth",
    "request.host",
    "request.method",
    "request.path",
    "request",
    "destination",
)


def _place(asked: Asked) -> tuple[int, str]:
    """Who, then what, then how."""
    key = asked.key
    return next((number for number, start in enumerate(_ORDER) if key.startswith(start)), len(_ORDER)), key


def merged(found: Iterable[Region]) -> list[Region]:
    """The same regions, where those that differ only in what one attribute may be are one."""
    left: list[Region] = []
    for region in found:
        left.append(region)
        while (pair := _alike(left)) is not None:
            index, joined = pair
            left[index] = joined
            left.pop()
    return left


def _alike(regions_found: Sequence[Region]) -> tuple[int, Region] | None:
    """One of the others that the last is to be joined to, and what comes of it."""
    *others, last = regions_found
    for index, other in enumerate(others):
        if (other.passed, other.stopped, len(other.asked)) != (last.passed, last.stopped, len(last.asked)):
            continue
        differing = [pair for pair in zip(other.asked, last.asked, strict=True) if pair[0] != pair[1]]
        if len(differing) != 1:
            continue
        ((one, more),) = differing
        if one.wanted and more.wanted and (one.attribute, one.unwanted) == (more.attribute, more.unwanted):
            values = tuple(dict.fromkeys((*one.wanted, *more.wanted)))
            asked = tuple(Asked(one.attribute, values, one.unwanted) if each is one else each for each in other.asked)
            return index, Region(asked, other.passed, other.stopped, other.case)
    return None
