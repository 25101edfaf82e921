"""Splicing: a test of a text that is made of parts, as tests of its parts.

`spiffe://`, a trust domain, `/ns/`, a namespace and so on are one text to Envoy. What is asked of the whole is asked of the parts
instead, exactly: whichever way the test may be met, each part must be what the test leaves to it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from authz.analysis.axes import Test, TextAxis
from authz.analysis.circuit import FALSE, TRUE, Circuit
from authz.analysis.language import Characters, Language, Optional, Piece, Repeat, language_of
from authz.matcher import Exact, Exists, Prefix, Suffix

__all__ = ["Part", "spliced"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is chosen freely among the texts of an axis, none of which is empty, and whose characters are `characters`."""

    axis: TextAxis
    characters: Characters


_Item = str | Characters
"""A character, or any number of characters of a set."""


def spliced(circuit: Circuit, test: Test, whole: Sequence[str | Part]) -> int:
    """The literal that holds where `test` holds of the parts of `whole`, one after the other."""
    if isinstance(test, Exists):
        return TRUE
    language = test if isinstance(test, Language) else language_of(test)
    return circuit.any_of([_Splicing(circuit, items, whole).from_place(0, 0) for items in _flat(language.pieces)])


def _flat(pieces: Iterable[Piece]) -> Iterator[list[tuple[_Item, bool]]]:
    """The ways to leave out what may be: each a list of characters, and of sets that are repeated or not."""
    choices: list[list[list[tuple[_Item, bool]]]] = []
    for piece in pieces:
        match piece:
            case str():
                choices.append([[(character, False) for character in piece]])
            case Repeat(characters, number):
                repeated: list[tuple[_Item, bool]] = [(characters, True)]
                choices.append([[*[(characters, False) for _ in range(number)], *repeated]])
            case Optional(inner):
                choices.append([[], *_flat(inner)])
    for chosen in product(*choices):
        yield [item for part in chosen for item in part]


class _Splicing:
    """One language without choices against one whole. A place is how many of its items are behind."""

    def __init__(self, circuit: Circuit, items: list[tuple[_Item, bool]], whole: Sequence[str | Part]) -> None:
        self._circuit = circuit
        self._items = items
        self._whole = whole
        self._known: dict[tuple[int, int], int] = {}

    def from_place(self, place: int, index: int) -> int:
        """The literal that holds where the parts from `index` on are what the items from `place` on ask for."""
        key = (place, index)
        if key not in self._known:
            self._known[key] = self._found(place, index)
        return self._known[key]

    def _found(self, place: int, index: int) -> int:
        if index == len(self._whole):
            return TRUE if all(repeated for _, repeated in self._items[place:]) else FALSE
        part = self._whole[index]
        if isinstance(part, str):
            return self._circuit.any_of([self.from_place(each, index + 1) for each in self._read(place, part)])
        ways = []
        for end, inner in self._within(place, part):
            following = self.from_place(end, index + 1)
            if following != FALSE:
                ways.append(self._circuit.all_of((part.axis.test(_simplest(inner, part.characters)), following)))
        return self._circuit.any_of(ways)

    def _read(self, place: int, text: str) -> set[int]:
        """The places that may be come to by reading `text`."""
        places = {place}
        for character in text:
            reached: set[int] = set()
            for each in self._skipped(places):
                if each < len(self._items):
                    item, repeated = self._items[each]
                    if character == item if isinstance(item, str) else character in item:
                        reached.add(each if repeated else each + 1)
            places = reached
        return places

    def _skipped(self, places: Iterable[int]) -> set[int]:
        found: set[int] = set()
        for place in places:
            found.add(place)
            while place < len(self._items) and self._items[place][1]:
                place += 1  # noqa: PLW2901  # behind what need not be repeated even once
                found.add(place)
        return found

    def _within(self, place: int, part: Part) -> Iterator[tuple[int, list[tuple[_Item, bool]]]]:
        """How far the items may go within one part: the place to go on from, and the items that are the part."""
        for end in range(place, len(self._items) + 1):
            if end < len(self._items) and self._items[end][1]:
                # In the middle of a repetition, which may go on behind the part.
                yield end, self._items[place : end + 1]
            elif end > place:
                yield end, self._items[place:end]
            if end < len(self._items):
                item = self._items[end][0]
                if isinstance(item, str) and item not in part.characters:
                    return


def _simplest(items: list[tuple[_Item, bool]], characters: Characters) -> Test:
    """The items as a matcher, if one says the same of texts of `characters`, or else as a language."""
    literal = [isinstance(item, str) for item, _ in items]
    free = [repeated and isinstance(item, Characters) and _holds_all(item, characters) for item, repeated in items]
    text = "".join(item for item, _ in items if isinstance(item, str))
    if all(literal):
        return Exact(text)
    if all(free):
        return Exists()
    if free[-1] and all(literal[:-1]):
        return Prefix(text)
    if free[0] and all(literal[1:]):
        return Suffix(text)
    pieces: list[Piece] = []
    least = 0
    for item, repeated in items:
        match item:
            case str():
                pieces.append(item)
            case Characters() if repeated:
                pieces.append(Repeat(item, least))
                least = 0
            case Characters():
                # What must stand there at least once is written before its repetition.
                least += 1
    return Language(tuple(pieces))


def _holds_all(some: Characters, characters: Characters) -> bool:
    return some.others and not any(character in characters for character in some.named)
