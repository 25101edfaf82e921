"""Languages: sets of texts as small machines, and the shortest text that is in some of them and in none of others.

A machine reads one character after the other. Which characters there are to try is what its literals hold and one for all that
they do not tell apart, so that the search is exact and ends: of two characters that no machine tells apart, one stands for both.
"""

import re
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from authz.matcher import (
    SPIFFE,
    Exact,
    Exists,
    Matcher,
    Namespace,
    Prefix,
    Present,
    ServiceAccount,
    SpiffeSuffix,
    Suffix,
    Template,
    TrustDomainPattern,
)

__all__ = [
    "ANYTHING",
    "Characters",
    "Language",
    "Optional",
    "Piece",
    "Repeat",
    "is_in",
    "language_of",
    "shortest",
    "shortest_pair",
]


@dataclass(frozen=True, slots=True)
class Characters:
    """A set of characters: those of `named`, or all but those."""

    named: frozenset[str]
    others: bool = False

    def __contains__(self, character: str) -> bool:
        return (character in self.named) is not self.others


@dataclass(frozen=True, slots=True)
class Repeat:
    """Characters of a set, any number of them or at least one."""

    characters: Characters
    least: int = 0


@dataclass(frozen=True, slots=True)
class Optional:
    """A sequence that may be left out."""

    pieces: tuple["Piece", ...]


Piece = str | Repeat | Optional
"""A literal text, a repetition, or what may be left out."""


@dataclass(frozen=True, slots=True)
class Language:
    """The texts that are `pieces`, one after the other."""

    pieces: tuple[Piece, ...]


@lru_cache(maxsize=1024)
def _expression(language: Language) -> re.Pattern[str]:
    def written(pieces: Iterable[Piece]) -> str:
        return "".join(map(one, pieces))

    def one(piece: Piece) -> str:
        match piece:
            case str():
                return re.escape(piece)
            case Optional(inner):
                return f"(?:{written(inner)})?"
            case Repeat(characters, least):
                return f"{_set(characters)}{{{least},}}"

    return re.compile(written(language.pieces), re.DOTALL)


def _set(characters: Characters) -> str:
    named = "".join(map(re.escape, sorted(characters.named)))
    if not named:
        return "." if characters.others else "(?!)"
    return f"[{'^' if characters.others else ''}{named}]"


def is_in(language: Language, text: str) -> bool:
    """Whether `text` is one of the texts of `language`."""
    return _expression(language).fullmatch(text) is not None


NOT_NEWLINE = Characters(frozenset("\n"), others=True)
ANYTHING = Characters(frozenset(), others=True)
_ANY = Repeat(NOT_NEWLINE)
_SOME = Repeat(NOT_NEWLINE, 1)
_IN_TEMPLATE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;:@=")
_SEGMENT = Repeat(Characters(_IN_TEMPLATE), 1)
_SEGMENTS = Repeat(Characters(_IN_TEMPLATE | {"/"}))


def language_of(matcher: Matcher) -> Language:  # noqa: C901  # one case each
    """The texts for which a matcher of texts holds, as `authz.matcher` says.

    Raises:
        TypeError: It is no matcher of texts.
    """
    match matcher:
        case Exact(value):
            return Language((value,))
        case Prefix(value):
            return Language((value, Repeat(ANYTHING)))
        case Suffix(value):
            return Language((Repeat(ANYTHING), value))
        case Present():
            return Language((_SOME,))
        case Exists():
            return Language((Repeat(ANYTHING),))
        case SpiffeSuffix(value):
            return Language((SPIFFE, _ANY, value))
        case Namespace((only,)):
            return Language((_ANY, f"/ns/{only}/", _ANY))
        case Namespace((first, *middle, last)):
            between = [piece for text in (*middle, last + "/") for piece in (_ANY, text)]
            return Language((_ANY, f"/ns/{first}", *between, _ANY))
        case ServiceAccount(namespace, name):
            before = (SPIFFE, _SOME, f"/ns/{namespace}/", Optional((_SOME, "/")))
            return Language((*before, f"sa/{name}", Optional(("/", _SOME))))
        case TrustDomainPattern(prefix, suffix):
            # A newline may stand in the trust domain: `[^/]` is any character but a slash.
            free = Repeat(Characters(frozenset("/"), others=True))
            return Language((SPIFFE, prefix, free, suffix, "/", _ANY))
        case Template(value):
            return Language(tuple(_template(value)))
        case _:
            raise TypeError(matcher)


def _template(value: str) -> Iterable[Piece]:
    for index, part in enumerate(value.split("{**}")):
        if index:
            yield _SEGMENTS
        for number, literal in enumerate(part.split("{*}")):
            if number:
                yield _SEGMENT
            if literal:
                yield literal


class _Machine(Protocol):
    """Reads characters. A state of `None` is one from which nothing is accepted any more."""

    start: Any

    def step(self, state: Any, character: str, /) -> Any:
        """The state after one more character."""

    def accepts(self, state: Any, /) -> bool:
        """Whether what was read is a text of its language."""

    def letters(self, state: Any, /) -> frozenset[str]:
        """The characters that it tells apart, in this state, from others that lie in the same sets."""


class _Expression:
    """A language, by the sets of places that it may have been read to."""

    def __init__(self, language: Language) -> None:
        # A place is followed by others for a character, or without one.
        self._moves: list[list[tuple[Characters, int]]] = [[]]
        self._free: list[list[int]] = [[]]
        self._end = self._lay(language.pieces, 0)
        self._known: dict[tuple[frozenset[int], str], frozenset[int] | None] = {}
        self._letters: dict[frozenset[int], frozenset[str]] = {}
        self.start: frozenset[int] = self._closed({0})
        self.literals = _literals(language.pieces)
        self.sets = _sets(language.pieces)

    def _place(self) -> int:
        self._moves.append([])
        self._free.append([])
        return len(self._moves) - 1

    def _lay(self, pieces: Iterable[Piece], place: int) -> int:
        for piece in pieces:
            match piece:
                case str():
                    for character in piece:
                        following = self._place()
                        self._moves[place].append((Characters(frozenset(character)), following))
                        place = following
                case Repeat(characters, least):
                    for _ in range(least):
                        following = self._place()
                        self._moves[place].append((characters, following))
                        place = following
                    following = self._place()
                    self._free[place].append(following)
                    self._moves[following].append((characters, following))
                    place = following
                case Optional(inner):
                    end = self._lay(inner, place)
                    self._free[place].append(end)
                    place = end
        return place

    def _closed(self, places: set[int]) -> frozenset[int]:
        waiting = list(places)
        while waiting:
            for following in self._free[waiting.pop()]:
                if following not in places:
                    places.add(following)
                    waiting.append(following)
        return frozenset(places)

    def step(self, state: frozenset[int], character: str, /) -> frozenset[int] | None:
        key = (state, character)
        if key not in self._known:
            reached = {to for place in state for characters, to in self._moves[place] if character in characters}
            self._known[key] = self._closed(reached) if reached else None
        return self._known[key]

    def accepts(self, state: frozenset[int], /) -> bool:
        return self._end in state

    def letters(self, state: frozenset[int], /) -> frozenset[str]:
        if state not in self._letters:
            moves = [characters for place in state for characters, _ in self._moves[place]]
            literal = [characters.named for characters in moves if len(characters.named) == 1 and not characters.others]
            self._letters[state] = frozenset().union(*literal)
        return self._letters[state]

    def keeps(self, alphabet: Iterable[str]) -> bool:
        """Whether a text that it has accepted stays accepted, whatever of `alphabet` follows."""
        at_end = [characters for characters, to in self._moves[self._end] if to == self._end]
        return any(all(character in characters for character in alphabet) for characters in at_end)


def _literals(pieces: Iterable[Piece]) -> set[str]:
    found: set[str] = set()
    for piece in pieces:
        match piece:
            case str():
                found.update(piece)
            case Optional(inner):
                found |= _literals(inner)
            case Repeat():
                pass
    return found


def _sets(pieces: Iterable[Piece]) -> set[Characters]:
    found: set[Characters] = set()
    for piece in pieces:
        match piece:
            case Repeat(characters):
                found.add(characters)
            case Optional(inner):
                found |= _sets(inner)
            case str():
                pass
    return found


# What one has found out about its places is worth keeping: the same few are asked for again and again.
_read = lru_cache(maxsize=4096)(_Expression)

_Places = frozenset[int]

_FREE: _Places = frozenset({-1})
"""Where nothing that was asked for can be met any more."""
_LEFT = -1


class _Outside:
    """All texts but those of an expression. What is dead in that is free here, and what stays in that is dead here."""

    def __init__(self, expression: _Expression, alphabet: Iterable[str]) -> None:
        self._expression = expression
        self._keeps = expression.keeps(alphabet)
        self.start: _Places | None = None if self._keeps and expression.accepts(expression.start) else expression.start

    def step(self, state: _Places, character: str, /) -> _Places | None:
        if state == _FREE:
            return _FREE
        following = self._expression.step(state, character)
        if following is None:
            return _FREE
        return None if self._keeps and self._expression.accepts(following) else following

    def accepts(self, state: _Places, /) -> bool:
        return state == _FREE or not self._expression.accepts(state)

    def letters(self, state: _Places, /) -> frozenset[str]:
        return _NONE if state == _FREE else self._expression.letters(state)


_NONE: frozenset[str] = frozenset()


class _NoPrefix:
    """Texts that start with none of some, and are none of others: a trie that must be left in time."""

    def __init__(self, prefixes: Iterable[str], exact: Iterable[str]) -> None:
        self._children: list[dict[str, int]] = [{}]
        self._prefixes = {self._node(text) for text in prefixes}
        self._exact = {self._node(text) for text in exact}
        self.start: int | None = None if 0 in self._prefixes else 0

    def _node(self, text: str) -> int:
        node = 0
        for character in text:
            following = self._children[node].get(character)
            if following is None:
                following = self._children[node][character] = len(self._children)
                self._children.append({})
            node = following
        return node

    def step(self, state: int, character: str, /) -> int | None:
        if state == _LEFT:
            return _LEFT
        following = self._children[state].get(character)
        if following is None:
            return _LEFT
        return None if following in self._prefixes else following

    def accepts(self, state: int, /) -> bool:
        return state == _LEFT or state not in self._exact

    def letters(self, state: int, /) -> frozenset[str]:
        return _NONE if state == _LEFT else frozenset(self._children[state])


class _NoSuffix:
    """Texts that end with none of some: the longest end that begins one of them is what is remembered."""

    def __init__(self, suffixes: Iterable[str]) -> None:
        self._suffixes = set(suffixes)
        self._begun: dict[str, set[str]] = {"": set()}
        for text in self._suffixes:
            for length in range(1, len(text) + 1):
                self._begun.setdefault(text[:length], set())
                self._begun[text[: length - 1]].add(text[length - 1])
        self.start: str = ""

    def step(self, state: str, character: str, /) -> str | None:
        end = state + character
        while end not in self._begun:
            end = end[1:]
        return end

    def accepts(self, state: str, /) -> bool:
        return not any(state.endswith(suffix) for suffix in self._suffixes)

    def letters(self, state: str, /) -> frozenset[str]:
        ends = [state[start:] for start in range(len(state) + 1)]
        return frozenset().union(*[self._begun[end] for end in ends if end in self._begun])


class _Ending:
    """Texts that end with one."""

    def __init__(self, suffix: str) -> None:
        self._no = _NoSuffix((suffix,))
        self.start = self._no.start
        self.step: Callable[[str, str], str | None] = self._no.step
        self.letters: Callable[[str], frozenset[str]] = self._no.letters

    def accepts(self, state: str, /) -> bool:
        return not self._no.accepts(state)


def shortest(
    domain: Language, inside: Sequence[Language | Matcher], outside: Sequence[Language | Matcher]
) -> str | None:
    """The shortest text of `domain` that is in all of `inside` and in none of `outside`; nothing if there is none.

    Of those of one length it is the one whose characters were tried first: letters before others.
    """
    return _search(*_machines(domain, inside, outside))


Side = tuple[Language, Sequence[Language | Matcher], Sequence[Language | Matcher]]
"""A domain, what is asked for, and what is not wanted."""


def shortest_pair(one: Side, other: Side, spell: Callable[[str], Iterable[tuple[str, str]]]) -> tuple[str, str] | None:
    """Two texts, each as `shortest` finds it, of which the second is the first spelt otherwise; nothing if there are none.

    `spell` says for a character which pairs of texts may stand in the two at the same place for it.
    """
    named = _named(one) | _named(other)
    # What one text has, the other may have as well.
    written = {letter for each in named for pair in spell(each) for text in pair for letter in text}
    machines, always = _machines(*one, named | written)
    others, also = _machines(*other, named | written)
    return _search_pairs(machines, others, always | also, spell)


def _named(side: Side) -> set[str]:
    """The characters of all literals."""
    _, inside, outside = side
    found: set[str] = set()
    for each in (*inside, *outside):
        found |= _read(each if isinstance(each, Language) else language_of(each)).literals
    return found


def _machines(
    domain: Language,
    inside: Sequence[Language | Matcher],
    outside: Sequence[Language | Matcher],
    letters: Iterable[str] = (),
) -> tuple[list[_Machine], set[str]]:
    """What reads a text of `letters` and others, and the characters that are to be tried in every state."""
    expressions = [_read(domain)]
    machines: list[_Machine] = []
    letters = set(letters)
    for wanted in inside:
        if isinstance(wanted, Suffix):
            machines.append(_Ending(wanted.value))
            letters.update(wanted.value)
        else:
            language = wanted if isinstance(wanted, Language) else language_of(wanted)
            expressions.append(_read(language))
    plain = (Exact, Prefix, Suffix)
    forbidden = [
        _read(each if isinstance(each, Language) else language_of(each))
        for each in outside
        if not isinstance(each, plain)
    ]
    sets = {each for expression in (*expressions, *forbidden) for each in expression.sets}
    for expression in (*expressions, *forbidden):
        letters |= expression.literals
    # What only plain matchers of `outside` name can only do harm: where a character that nothing names is told apart from it by
    # nothing, that one does as well.
    named = {character for each in outside if isinstance(each, plain) for character in each.value}
    always = _stand_ins(sets, letters | named)
    letters |= always
    machines += [*expressions, *(_Outside(each, letters) for each in forbidden)]
    kept = {kind: [each.value for each in outside if isinstance(each, kind)] for kind in plain}
    starting = [text for text in kept[Prefix] if letters.issuperset(text)]
    machines.append(_NoPrefix(starting, [text for text in kept[Exact] if letters.issuperset(text)]))
    if ending := [text for text in kept[Suffix] if letters.issuperset(text)]:
        machines.append(_NoSuffix(ending))
    return machines, always


# What stands for characters that nothing names: the plainest first.
_SPARE = "abcdefghijklmnopqrstuvwxyz0123456789-._~ABCDEFGHIJKLMNOPQRSTUVWXYZ!$&'()*+,;:@=%/ #?[]{}|^`\"<>\\\n\x00é€"


def _stand_ins(sets: Iterable[Characters], known: set[str]) -> set[str]:
    """For each way in which a character may lie in the sets one that is not `known`, or, if there is none, all that are."""
    ordered = sorted(sets, key=repr)

    def kind(character: str) -> tuple[bool, ...]:
        return tuple(character in each for each in ordered)

    fresh: dict[tuple[bool, ...], str] = {}
    for character in _SPARE:
        if character not in known:
            fresh.setdefault(kind(character), character)
    return {*fresh.values(), *(character for character in known if kind(character) not in fresh)}


def _search(machines: Sequence[_Machine], always: set[str]) -> str | None:
    """Breadth first, trying in each state what the machines tell apart there, and `always`, which stands for all else."""
    start = tuple(machine.start for machine in machines)
    if None in start:
        return None
    steps = [machine.step for machine in machines]
    seen = {start}
    waiting: deque[tuple[tuple[Hashable, ...], str]] = deque([(start, "")])
    while waiting:
        state, text = waiting.popleft()
        pairs = list(zip(machines, state, strict=True))
        if all(machine.accepts(each) for machine, each in pairs):
            return text
        alphabet = always.union(*[machine.letters(each) for machine, each in pairs])
        for character in sorted(alphabet, key=_plainest):
            following = []
            for step, each in zip(steps, state, strict=True):
                reached = step(each, character)
                if reached is None:
                    break
                following.append(reached)
            else:
                key = tuple(following)
                if key not in seen:
                    seen.add(key)
                    waiting.append((key, text + character))
    return None


def _search_pairs(
    machines: Sequence[_Machine],
    others: Sequence[_Machine],
    always: set[str],
    spell: Callable[[str], Iterable[tuple[str, str]]],
) -> tuple[str, str] | None:
    """As `_search`, two texts at once."""
    start = tuple(machine.start for machine in machines), tuple(machine.start for machine in others)
    if None in start[0] or None in start[1]:
        return None
    seen = {start}
    waiting = deque([(start, "", "")])
    while waiting:
        (one, other), text, spelt = waiting.popleft()
        pairs = [*zip(machines, one, strict=True), *zip(others, other, strict=True)]
        if all(machine.accepts(each) for machine, each in pairs):
            return text, spelt
        alphabet = always.union(*[machine.letters(each) for machine, each in pairs])
        for character in sorted(alphabet, key=_plainest):
            for written, otherwise in spell(character):
                after, after_other = _advanced(machines, one, written), _advanced(others, other, otherwise)
                if after is None or after_other is None or (after, after_other) in seen:
                    continue
                seen.add((after, after_other))
                waiting.append(((after, after_other), text + written, spelt + otherwise))
    return None


def _advanced(machines: Sequence[_Machine], state: tuple[Any, ...], text: str) -> tuple[Any, ...] | None:
    for character in text:
        following = tuple([machine.step(each, character) for machine, each in zip(machines, state, strict=True)])
        if None in following:
            return None
        state = following
    return state


def _plainest(character: str) -> tuple[bool, str]:
    return not character.isalnum(), character
