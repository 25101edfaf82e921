"""Axes: the facts of a request that may be chosen one without the other, and what can be true of each.

An axis has tests, each with a literal. The clauses that it adds say which tests can hold together, from the structure of what
they test: a prefix within a prefix, a network within a network. They are linear in the tests. What they do not say (templates,
alphabets that are used up) is found when a case is given its value: then the axis says which tests contradict each other.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import chain
from operator import itemgetter

from authz.analysis.circuit import FALSE, TRUE, Circuit
from authz.analysis.language import ANYTHING, Characters, Language, Piece, Repeat, is_in, language_of, shortest
from authz.attributes import Address
from authz.matcher import Exact, Exists, Matcher, Prefix, Present, Suffix, matches

__all__ = ["AddressAxis", "Domain", "NumberAxis", "Test", "TextAxis", "holds"]


@dataclass(frozen=True, slots=True)
class Domain:
    """The texts that there are: of `characters`, beginning with `start`; `language` says it in full, but for those `without`."""

    characters: Characters
    language: Language
    without: tuple[Language, ...] = ()
    start: str = ""
    words: tuple[str, ...] = ("x", "y", "z0", "q9w", "k7-v3")
    """Texts of such characters, to be put where nothing is asked for."""


Test = Matcher | Language
"""What may be asked of a text."""


def holds(test: Test, text: str) -> bool:
    """Whether it holds of a text."""
    return is_in(test, text) if isinstance(test, Language) else matches(test, text)


_PLAIN = (Exact, Prefix, Suffix, Present)
_PAIRS = 20_000
"""So many pairs of a template and a path are looked at before anything is solved."""


class TextAxis:
    """A text, or several of which each test may be met by another. It is absent where it has no value."""

    def __init__(self, circuit: Circuit, domain: Domain, *, always: bool = False, many: bool = False) -> None:
        self.many = many
        self.there = TRUE if always else circuit.variable()
        """Whether it has a value."""
        self._circuit = circuit
        self._domain = domain
        self._tests: dict[Test, int] = {}
        self._values: dict[tuple[frozenset[Test], frozenset[Test]], str | tuple[Test, ...]] = {}

    def test(self, matcher: Test) -> int:
        """The literal that holds where any value matches."""
        if isinstance(matcher, Exists):
            return self.there
        known = self._tests.get(matcher)
        if known is None:
            known = self._tests[matcher] = self._circuit.variable() if self._possible(matcher) else FALSE
        return known

    def _possible(self, matcher: Test) -> bool:
        """Whether it could hold, as far as its characters tell."""
        start = self._domain.start
        match matcher:
            case Exact(value):
                return self.has(value)
            case Prefix(value):
                fits = value.startswith(start) or start.startswith(value)
            case Suffix(value):
                fits = True
            case _:
                return True
        return fits and all(character in self._domain.characters for character in value)

    def has_any(self, test: Test) -> bool:
        """Whether any text of the domain meets it."""
        return shortest(self._domain.language, (test,), self._domain.without) is not None

    def leave_out_languages(self, languages: tuple[Language, ...]) -> None:
        """Take these out of the domain."""
        without = tuple(dict.fromkeys((*self._domain.without, *languages)))
        self._domain = replace(self._domain, without=without)

    def leave_out(self, text: str, asking: tuple[type, ...]) -> None:
        """Take what holds `text` out of the domain, and with it all tests that ask for it: by themselves, or those of these types."""
        anything = Repeat(ANYTHING)
        self._domain = replace(self._domain, without=(*self._domain.without, Language((anything, text, anything))))
        for test in list(self._tests):
            if isinstance(test, asking) or text in getattr(test, "value", ""):
                self._circuit.require((-self._tests.pop(test),))

    def settle(self) -> None:
        """Say which of the tests can hold together."""
        imply = self._circuit.imply
        for matcher in list(self._tests):
            # What surrounds the open part of a template must stand there, and is told apart like any other text.
            if not isinstance(matcher, _PLAIN):
                head, tail = _ends(matcher if isinstance(matcher, Language) else language_of(matcher))
                for implied in ((Prefix(head),) if head else ()) + ((Suffix(tail),) if tail else ()):
                    imply(self._tests[matcher], self.test(implied))
        if self._domain.start:
            imply(self.there, self.test(Prefix(self._domain.start)))
        filled = self.test(Present())
        if not self.has(""):
            imply(self.there, filled)
        tests = {matcher: literal for matcher, literal in self._tests.items() if literal != FALSE}
        for literal in tests.values():
            imply(literal, self.there)
        self._settle_plain(tests, filled)
        self._settle_languages(tests)

    def _settle_plain(self, tests: dict[Test, int], filled: int) -> None:
        """By how texts begin, and by how they end: one within the other, or not together."""
        for ends, turned in ((Prefix, False), (Suffix, True)):
            nodes = [
                (matcher.value[::-1] if turned else matcher.value, isinstance(matcher, Exact), literal)
                for matcher, literal in tests.items()
                if isinstance(matcher, (Exact, ends))
            ]
            for parent, children in _nested(nodes, filled, self.there).items():
                for child in children:
                    self._circuit.imply(child, parent)
                if not self.many:
                    self._circuit.at_most_one(children)

    def _settle_languages(self, tests: dict[Test, int]) -> None:
        exact = [matcher for matcher in tests if isinstance(matcher, Exact)]
        others = [matcher for matcher in tests if not isinstance(matcher, _PLAIN)]
        if len(exact) * len(others) > _PAIRS:
            return
        for text in exact:
            for matcher in others:
                if holds(matcher, text.value):
                    self._circuit.imply(tests[text], tests[matcher])
                elif not self.many:
                    self._circuit.imply(tests[text], -tests[matcher])

    def values(self, truths: Sequence[int]) -> tuple[str, ...] | list[int]:
        """Values of which the tests are as `truths`, a model, says; or, if there are none, tests that contradict each other.

        Those are literals, as they hold in the model, of which one at least must not.
        """
        if truths[abs(self.there)] < 0 and self.there != TRUE:
            return ()
        held, failed = self.truths(truths)
        groups: list[list[Test]] = [held]
        if self.many:
            groups = [[each] for each in _least(held)] or [[]]
        found: list[str] = []
        for group in groups:
            value = self._value(group, failed)
            if not isinstance(value, str):
                return self._contradiction(group, list(value))
            found.append(value)
        return tuple(dict.fromkeys(found))

    def _contradiction(self, held: list[Test], failed: list[Test]) -> list[int]:
        """As few of them as no value meets, as literals that hold."""
        for kept in (held, failed):
            for test in list(kept):
                kept.remove(test)
                if isinstance(self._value(held, failed), str):
                    kept.append(test)
        literals = self.told(held, failed)
        return [literal for literal in literals if literal != TRUE] or [self.there]

    def _value(self, held: Sequence[Test], failed: Sequence[Test]) -> str | tuple[Test, ...]:
        """A text for which all of `held` hold and none of `failed`; or a few of `failed`, of which it has one in any case."""
        key = (frozenset(held), frozenset(failed))
        if key not in self._values:
            self._values[key] = self._found(held, failed)
        return self._values[key]

    def _found(self, held: Sequence[Test], failed: Sequence[Test]) -> str | tuple[Test, ...]:
        for text in self._guesses(held):
            if all(holds(test, text) for test in held) and not any(holds(test, text) for test in failed):
                return text
        # Only those that came in the way are told to the search: of thousands few do.
        avoided: list[Test] = []
        while True:
            found = shortest(self._domain.language, held, [*avoided, *self._domain.without])
            if found is None:
                return tuple(avoided)
            in_the_way = [test for test in failed if holds(test, found)]
            if not in_the_way:
                return found
            avoided += in_the_way

    def _guesses(self, held: Sequence[Test]) -> Iterator[str]:
        """Texts of the domain that are likely to do, the shorter first."""
        return (text for text in self._spliced(held) if self.has(text))

    def has(self, text: str) -> bool:
        """Whether it is a text of the domain."""
        return is_in(self._domain.language, text) and not any(is_in(each, text) for each in self._domain.without)

    def truths(self, model: Sequence[int]) -> tuple[list[Test], list[Test]]:
        """The tests that hold in a model, and those that do not."""
        held = [test for test, literal in self._tests.items() if literal != FALSE and model[literal] > 0]
        failed = [test for test, literal in self._tests.items() if literal != FALSE and model[literal] < 0]
        return held, failed

    def told(self, held: Iterable[Test], failed: Iterable[Test]) -> list[int]:
        """The literals of these tests, as they hold."""
        return [self._tests[test] for test in held] + [-self._tests[test] for test in failed]

    @property
    def domain(self) -> Domain:
        """The texts that there are."""
        return self._domain

    def _spliced(self, held: Sequence[Test]) -> Iterator[str]:
        for matcher in held:
            if isinstance(matcher, Exact):
                yield matcher.value
                return
        head = max((m.value for m in held if isinstance(m, Prefix)), key=len, default=self._domain.start)
        tail = max((m.value for m in held if isinstance(m, Suffix)), key=len, default="")
        for overlap in range(min(len(head), len(tail)), -1, -1):
            if head.endswith(tail[:overlap]):
                yield head + tail[overlap:]
        for word in self._domain.words:
            yield head + word + tail


def _ends(language: Language) -> tuple[str, str]:
    """The literal text with which all of a language begins, and the one with which it ends."""

    def literal(pieces: Iterable[Piece]) -> str:
        first = next(iter(pieces), None)
        return first if isinstance(first, str) else ""

    return literal(language.pieces), literal(reversed(language.pieces))


def _nested(nodes: list[tuple[str, bool, int]], filled: int, there: int) -> dict[int, list[int]]:
    """For each literal those of the texts that lie directly within its own; one that is meant whole holds no other."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    children[there].append(filled)
    above: list[tuple[str, int]] = []
    # An open text stands before the whole text of the same letters.
    for text, whole, literal in sorted(nodes):
        while above and not text.startswith(above[-1][0]):
            above.pop()
        children[above[-1][1] if above else (filled if text else there)].append(literal)
        if not whole:
            above.append((text, literal))
    return children


def _least(held: Sequence[Test]) -> list[Test]:
    """Those of them that no other of them asks for anyway: a value for each of these is enough."""
    exact = [m for m in held if isinstance(m, Exact)]
    rest = [m for m in held if not isinstance(m, Exact) and not any(holds(m, each.value) for each in exact)]
    heads = [m for m in rest if isinstance(m, Prefix)]
    tails = [m for m in rest if isinstance(m, Suffix)]
    least: list[Test] = [m for m in heads if not any(other != m and other.value.startswith(m.value) for other in heads)]
    least += [m for m in tails if not any(other != m and other.value.endswith(m.value) for other in tails)]
    least += [m for m in rest if not isinstance(m, (Prefix, Suffix, Present))]
    if not exact and not least:
        least += [m for m in rest if isinstance(m, Present)]
    return [*exact, *least]


Network = IPv4Network | IPv6Network
_EVERYWHERE: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


class AddressAxis:
    """An address of either version."""

    def __init__(self, circuit: Circuit) -> None:
        self.there = circuit.variable()
        """Whether there is one."""
        self._circuit = circuit
        self._tests: dict[Network, int] = {network: circuit.variable() for network in _EVERYWHERE}

    def test(self, network: Network) -> int:
        """The literal that holds where the address is in it."""
        known = self._tests.get(network)
        if known is None:
            known = self._tests[network] = self._circuit.variable()
        return known

    def settle(self) -> None:
        """Say which networks lie within which, and where they cover one together."""
        self._circuit.require((-self.there, *[self._tests[each] for each in _EVERYWHERE]))
        self._circuit.at_most_one([self._tests[each] for each in _EVERYWHERE])
        for network in _EVERYWHERE:
            self._circuit.imply(self._tests[network], self.there)
        for parent, children in self._nested().items():
            literals = [self._tests[child] for child in children]
            for literal in literals:
                self._circuit.imply(literal, self._tests[parent])
            self._circuit.at_most_one(literals)
            if sum(child.num_addresses for child in children) == parent.num_addresses:
                self._circuit.require([-self._tests[parent], *literals])

    def _nested(self) -> dict[Network, list[Network]]:
        children: dict[Network, list[Network]] = {network: [] for network in self._tests}
        above: list[Network] = []
        for network in sorted(self._tests, key=lambda each: (each.version, int(each.network_address), each.prefixlen)):
            while above and not _within(network, above[-1]):
                above.pop()
            if above:
                children[above[-1]].append(network)
            above.append(network)
        return children

    def value(self, truths: Sequence[int]) -> Address | None:
        """An address of which the tests are as `truths`, a model, says."""
        if truths[self.there] < 0:
            return None
        held = [network for network, literal in self._tests.items() if truths[literal] > 0]
        failed = [network for network, literal in self._tests.items() if truths[literal] < 0]
        inmost = max(held, key=lambda network: network.prefixlen)
        # One that can be a host's, where there is a choice.
        inside = [network for network in failed if network.version == inmost.version and _within(network, inmost)]
        inside.sort(key=lambda network: int(network.network_address))
        number = int(inmost.network_address) + (inmost.num_addresses > 2 and not inside)
        for network in inside:
            if number < int(network.network_address):
                break
            number = max(number, int(network.broadcast_address) + 1)
        return inmost.network_address + (number - int(inmost.network_address))


def _within(inner: Network, outer: Network) -> bool:
    return (
        inner.version == outer.version
        and int(outer.network_address) <= int(inner.network_address)
        and int(inner.broadcast_address) <= int(outer.broadcast_address)
    )


class NumberAxis:
    """A number from 1 to 65535, which is there in every case."""

    MOST = 65535

    def __init__(self, circuit: Circuit) -> None:
        self.there = TRUE
        self._circuit = circuit
        self._tests: dict[int, int] = {}

    def test(self, number: int) -> int:
        """The literal that holds where it is this one."""
        if not 1 <= number <= self.MOST:
            return FALSE
        known = self._tests.get(number)
        if known is None:
            known = self._tests[number] = self._circuit.variable()
        return known

    def settle(self) -> None:
        """Say that it is one number."""
        literals = [literal for _, literal in sorted(self._tests.items(), key=itemgetter(0))]
        self._circuit.at_most_one(literals)
        if len(literals) == self.MOST:
            self._circuit.require(literals)

    def value(self, truths: Sequence[int]) -> int:
        """The number, by a model; where none of those asked about, a usual one."""
        for number, literal in self._tests.items():
            if truths[literal] > 0:
                return number
        return next(number for number in chain((8080, 80, 443), range(1, self.MOST + 1)) if number not in self._tests)
