"""Respelling: one text written in two ways that mean the same to applications, and what may be true of both."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from authz.analysis.axes import Test, TextAxis, holds
from authz.analysis.language import shortest_pair
from authz.mesh_config import PathNormalization

__all__ = ["Respelling", "Spell", "in_another_case", "with_other_slashes"]

Spell = Callable[[str], Iterable[tuple[str, str]]]
"""For a character the pairs of texts that may stand for each other at its place."""

_FEW = 60


def in_another_case(character: str) -> Iterable[tuple[str, str]]:
    """Letters in either case."""
    forms = dict.fromkeys((character, character.lower(), character.upper()))
    return [(one, other) for one in forms for other in forms if len(one) == len(other) == 1]


def with_other_slashes(normalization: PathNormalization) -> Spell:
    """A slash as it may still be written when the mesh has normalized a path."""
    slashes = {
        PathNormalization.NONE: ("/", "//", "///", "/./", "\\", "%2F", "%2f", "%5C", "%5c"),
        PathNormalization.BASE: ("/", "//", "///", "%2F", "%2f", "%5C", "%5c"),
        PathNormalization.MERGE_SLASHES: ("/", "%2F", "%2f", "%5C", "%5c"),
        PathNormalization.DECODE_AND_MERGE_SLASHES: ("/",),
    }[normalization]

    def spell(character: str) -> Iterable[tuple[str, str]]:
        if character == "/":
            return [("/", slash) for slash in slashes]
        pairs = [(character, character)]
        if normalization is PathNormalization.NONE and character.isascii() and character.isalnum():
            pairs.append((character, f"%{ord(character):02X}"))
        return pairs

    return spell


@dataclass(frozen=True, slots=True)
class Respelling:
    """Two axes of which the values are one text, spelt in two ways."""

    one: TextAxis
    other: TextAxis
    spell: Spell

    def values(self, model: Sequence[int]) -> tuple[str, str] | list[int]:
        """Two texts of which the tests are as a model says; or, if there are none, literals that contradict each other."""
        held, failed = self.one.truths(model)
        others_held, others_failed = self.other.truths(model)
        avoided: list[Test] = []
        others_avoided: list[Test] = []
        while True:
            found = self._found(held, avoided, others_held, others_avoided)
            if found is None:
                return self._contradiction(held, avoided, others_held, others_avoided)
            in_the_way = [test for test in failed if holds(test, found[0])]
            others_in_the_way = [test for test in others_failed if holds(test, found[1])]
            if not in_the_way and not others_in_the_way:
                return found
            avoided += in_the_way
            others_avoided += others_in_the_way

    def _found(
        self, held: Sequence[Test], failed: Sequence[Test], others_held: Sequence[Test], others_failed: Sequence[Test]
    ) -> tuple[str, str] | None:
        one, other = self.one.domain, self.other.domain
        return shortest_pair(
            (one.language, held, [*failed, *one.without]),
            (other.language, others_held, [*others_failed, *other.without]),
            self.spell,
        )

    def _contradiction(self, *tests: list[Test]) -> list[int]:
        """As few of them as a little search leaves."""
        kept = [list(each) for each in tests]
        if sum(map(len, kept)) <= _FEW:
            for some in kept:
                for test in list(some):
                    some.remove(test)
                    if self._found(*kept) is not None:
                        some.append(test)
        return self.one.told(kept[0], kept[1]) + self.other.told(kept[2], kept[3])
