"""Regions: what one version allows and another does not, in the words of the rules that make the difference.

A region is what a rule says, as far as it is needed, without what other rules make of it: `source.namespace in [shop] and
request.path in ["/b/*"]`, unless another rule matches. It is as wide as these words allow, and all regions together are exactly the
difference. There are about as many as rules that differ, however many others there are.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from authz.analysis.access import IDENTIFIED, TOKEN, Access, LiteralRule
from authz.analysis.space import Case, Space
from authz.analysis.words import key_in_words, value_in_words
from authz.decision import Match
from authz.keys import Attribute
from authz.predicates import Clause, Predicate

__all__ = ["Asked", "NotWordedError", "Region", "merged", "regions"]


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
        return tuple(dict.fromkeys(map(value_in_words, self.wanted)))

    @property
    def not_values(self) -> tuple[str, ...]:
        """The unwanted, as policies write them."""
        return tuple(dict.fromkeys(map(value_in_words, self.unwanted)))


@dataclass(frozen=True, slots=True)
class Region:
    """Requests for which all of `asked` holds, with one of them as the `case`.

    They are left out that a rule of `unless_there` matches, in the version that allows, or one of `unless_elsewhere` in the
    other. `as_allowed` is whether of all these only those are meant that the version that allows does allow, by whichever
    rules. `passed` are the external authorizers that let them through, `stopped` those that do not.
    """

    asked: tuple[Asked, ...]
    case: Case
    unless_there: tuple[Match, ...] = ()
    unless_elsewhere: tuple[Match, ...] = ()
    as_allowed: bool = False
    passed: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()


_MANY = 40


class NotWordedError(Exception):
    """The difference depends on something that no word says: a mistake of ours."""


def regions(space: Space, there: Access, elsewhere: Access, *, among: Iterable[int] = ()) -> Iterator[Region]:
    """What `there` allows and `elsewhere` does not, as far as all of `among` hold, one region after the other.

    They may overlap.
    """
    finder = _Finder(space, there, elsewhere, tuple(among))
    while (found := finder.next()) is not None:
        yield found


_Item = Asked | Match | str | None
"""What a literal of a region says: a clause, a rule that does not match, an authorizer, or that it is allowed."""


class _Finder:
    def __init__(self, space: Space, there: Access, elsewhere: Access, among: tuple[int, ...]) -> None:
        self._space = space
        self._there, self._elsewhere = there, elsewhere
        self._formula = space.circuit.all_of((there.allowed, -elsewhere.allowed))
        self._among = among
        # Holds as long as regions are looked for: what was found is left out then, and only then.
        self._looking = space.circuit.variable()
        self._holds: Sequence[int] = ()

    def next(self) -> Region | None:
        case = self._space.find(self._formula, self._looking, *self._among, simplest=True)
        if case is None:
            return None
        self._holds = case.holds
        items = self._items()
        literals = self._needed(items)
        self._space.circuit.require([-self._looking, *[-literal for literal in literals]])
        shown = self._space.find(self._formula, *self._among, *literals, simplest=True)
        return self._region({literal: items[literal] for literal in literals}, shown or case)

    def _is_true(self, literal: int) -> bool:
        return (self._holds[abs(literal)] > 0) == (literal > 0)

    def _items(self) -> dict[int, _Item]:
        """What to say of the case: each literal holds in it, and all of them together are enough for the difference."""
        there, elsewhere = self._there, self._elsewhere
        found: dict[int, _Item] = {}
        denied = self._first(elsewhere.deny)
        if self._is_true(elsewhere.refused) or self._is_true(elsewhere.untaken):
            found |= self._by_predicates()
        elif self._is_true(elsewhere.unpassed):
            for rule in elsewhere.custom:
                if self._is_true(rule.literal):
                    found |= self._said(rule)
            found |= self._authorizers()
        elif denied is not None:
            found |= self._said(denied)
        else:
            return self._items_of_allow_rules()
        found[there.allowed] = None
        return found

    def _items_of_allow_rules(self) -> dict[int, _Item]:
        """The same, where no more is wrong with the case elsewhere than that no ALLOW rule matches."""
        there, elsewhere = self._there, self._elsewhere
        allowed = self._first(there.allow)
        found = {} if allowed is None else self._said(allowed)
        found |= {-rule.literal: rule.match for rule in (*there.deny, *there.custom) if not self._is_true(rule.literal)}
        found |= {-rule.literal: rule.match for rule in elsewhere.allow if -rule.literal not in found}
        found |= self._authorizers()
        found |= self._by_predicates()
        return found

    def _first(self, rules: Iterable[LiteralRule]) -> LiteralRule | None:
        return next((rule for rule in rules if self._is_true(rule.literal)), None)

    def _authorizers(self) -> dict[int, _Item]:
        return {literal if self._is_true(literal) else -literal: name for name, literal in self._space.authorizers()}

    def _by_predicates(self) -> dict[int, _Item]:
        """Whether there is an identity and a token, and what tells ports and issuers apart."""
        found: dict[int, _Item] = {}
        for predicate, literal in self._space.vocabulary():
            plain = predicate in (IDENTIFIED, TOKEN) or predicate.attribute.key in (
                "destination.port",
                "request.auth.audiences",
            )
            if plain or predicate.attribute == TOKEN.attribute:
                if self._is_true(literal):
                    found[literal] = Asked(predicate.attribute, (predicate,), ())
                else:
                    found[-literal] = Asked(predicate.attribute, (), (predicate,))
        return found

    def _said(self, rule: LiteralRule) -> dict[int, _Item]:
        """The clauses of the parts of a rule that hold."""
        lowered = rule.lowered
        found: dict[int, _Item] = {}
        for parts in (lowered.sources, lowered.operations, (lowered.conditions,)):
            part = next((part for part in parts if all(map(self._clause_holds, part))), None)
            if part is None:
                raise NotWordedError(rule.match)
            for clause in part:
                found |= self._clause(clause)
        return found

    def _clause_holds(self, clause: Clause) -> bool:
        wanted = not clause.wanted or any(self._is_true(self._space.literal(each)) for each in clause.wanted)
        return wanted and not any(self._is_true(self._space.literal(each)) for each in clause.unwanted)

    def _clause(self, clause: Clause) -> dict[int, _Item]:
        literal, any_of = self._space.literal, self._space.circuit.any_of
        found: dict[int, _Item] = {}
        if clause.wanted:
            found[any_of([literal(each) for each in clause.wanted])] = Asked(clause.attribute, clause.wanted, ())
        for each in clause.unwanted:
            found[-literal(each)] = Asked(clause.attribute, (), (each,))
        return found

    def _needed(self, literals: dict[int, _Item]) -> list[int]:
        """Those of the literals of which none can be left out if the difference is to be wherever they all hold."""
        possible, among = self._space.possible, self._among
        if possible(-self._formula, *among, *literals):
            raise NotWordedError(literals)
        core = set(self._space.core())
        needed = [literal for literal in literals if literal in core]
        exceptions = [literal for literal in needed if isinstance(literals[literal], Match)]
        tried = [literal for literal in needed if not isinstance(literals[literal], Match)]
        # Exceptions first: a region is told sooner by what it is than by what it is not. So many that nobody reads them are
        # left as the solver needed them.
        for literal in (*(exceptions if len(exceptions) <= _MANY else ()), *reversed(tried)):
            rest = [each for each in needed if each != literal]
            if not possible(-self._formula, *among, *rest):
                needed = rest
        return needed

    def _region(self, items: dict[int, _Item], case: Case) -> Region:
        there = {rule.match for rule in (*self._there.deny, *self._there.custom)}
        rules = [(item, literal) for literal, item in items.items() if isinstance(item, Match)]
        there_literals = {-rule.literal for rule in (*self._there.deny, *self._there.custom)}
        authorizers = [(item, literal) for literal, item in items.items() if isinstance(item, str)]
        return Region(
            asked=_together([item for item in items.values() if isinstance(item, Asked)]),
            case=case,
            unless_there=tuple(item for item, literal in rules if item in there and literal in there_literals),
            unless_elsewhere=tuple(item for item, literal in rules if literal not in there_literals),
            as_allowed=None in items.values(),
            passed=tuple(name for name, literal in authorizers if literal > 0),
            stopped=tuple(name for name, literal in authorizers if literal < 0),
        )


def _together(asked: Iterable[Asked]) -> tuple[Asked, ...]:
    """The same, in the order in which people ask: who, what, how; what is unwanted stands with what is wanted."""
    found: list[Asked] = []
    for each in asked:
        for index, other in enumerate(found):
            if other.attribute == each.attribute and not (other.wanted and each.wanted):
                unwanted = tuple(dict.fromkeys((*other.unwanted, *each.unwanted)))
                found[index] = Asked(each.attribute, other.wanted or each.wanted, unwanted)
                break
        else:
            found.append(each)
    return tuple(sorted(found, key=_place))


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
        if replace(other, asked=(), case=last.case) != replace(last, asked=()) or len(other.asked) != len(last.asked):
            continue
        differing = [pair for pair in zip(other.asked, last.asked, strict=True) if pair[0] != pair[1]]
        if len(differing) != 1:
            continue
        ((one, more),) = differing
        if one.wanted and more.wanted and (one.attribute, one.unwanted) == (more.attribute, more.unwanted):
            values = tuple(dict.fromkeys((*one.wanted, *more.wanted)))
            asked = tuple(Asked(one.attribute, values, one.unwanted) if each is one else each for each in other.asked)
            return index, replace(other, asked=asked)
    return None
