"""Probes: the rarer ways in which a value leads to what hangs on the matchers that hold for it.

Namespaces, service accounts and trust domains stand in the segments of an identity, templates between the slashes of a
path. Where a matcher takes more than one look-up can tell, a look-up finds those that may hold, and they are tried.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from operator import add, itemgetter
from typing import Generic, TypeVar

from authz.attributes import Value
from authz.ladder import Rung, Within, cut_head, cut_tail, ends, ladder, starts
from authz.matcher import (
    SPIFFE,
    TEMPLATE_OPERATORS,
    Matcher,
    Namespace,
    ServiceAccount,
    Template,
    TrustDomainPattern,
    matches,
    namespaces_of,
)

__all__ = [
    "Probe",
    "accounts",
    "each",
    "is_shaped",
    "namespaces",
    "spiffe_suffixes",
    "templates",
    "trust_domains",
    "wide_namespaces",
]

T = TypeVar("T")
M = TypeVar("M", bound=Matcher)

Probe = Callable[[Value], Collection[T]]
"""What hangs on the matchers of one structure that hold for a value; nothing, for a value of a kind that they never match."""


def spiffe_suffixes(items: Mapping[str, tuple[T, ...]], within: Within[T]) -> Probe[T]:
    """By the end of a SPIFFE id behind its scheme; the keys are reversed."""
    suffixes = ladder(items, cut=cut_tail, within=within)

    def probe(value: Value) -> Collection[T]:
        # The suffix may not reach into the scheme: `*//a` does not match `spiffe://a`.
        if not isinstance(value, str) or not value.startswith(SPIFFE) or "\n" in value:
            return ()
        return ends(suffixes, value[len(SPIFFE) :])

    return probe


def namespaces(items: Mapping[str, tuple[T, ...]]) -> Probe[T]:
    """By the names behind `/ns/`."""

    def probe(value: Value) -> Collection[T]:
        if not isinstance(value, str):
            return ()
        # Nearly every identity names one.
        _, marker, rest = value.partition("/ns/")
        name, slash, _ = rest.partition("/")
        if not slash or not marker:
            return ()
        if name != "ns" and "/ns/" not in rest and "\n" not in value:
            return items.get(name, ())
        return [item for name in dict.fromkeys(namespaces_of(value)) for item in items.get(name, ())]

    return probe


def wide_namespaces(items: Mapping[Namespace, tuple[T, ...]]) -> Probe[T]:
    """Those with wildcards: by what must follow some `/ns/`, or else by what must stand before some later slash."""
    heads = _Guesses({matcher: matcher.pieces[0] for matcher in items if matcher.pieces[0]}, cut=cut_head)
    tails = _Guesses({matcher: matcher.pieces[-1][::-1] for matcher in items if not matcher.pieces[0]}, cut=cut_tail)

    def probe(value: Value) -> Collection[T]:
        if not isinstance(value, str):
            return ()
        tried: dict[Namespace, None] = {}
        start = value.find("/ns/")
        end = value.find("/", start + 4) if start >= 0 and tails.rung is not None else -1
        while end >= 0:
            tried.update(dict.fromkeys(ends(tails.rung, value[max(0, end - tails.longest) : end])))
            end = value.find("/", end + 1)
        while start >= 0 and heads.rung is not None:
            tried.update(dict.fromkeys(starts(heads.rung, value[start + 4 : start + 4 + heads.longest])))
            start = value.find("/ns/", start + 1)
        return [item for matcher in tried if matches(matcher, value) for item in items[matcher]]

    return probe


class _Guesses(Generic[M]):
    """Matchers by a text without which they cannot hold, to be tried where it stands."""

    def __init__(self, keys: Mapping[M, str], *, cut: Callable[[str, int], str]) -> None:
        by_key: dict[str, tuple[M, ...]] = {}
        for matcher, key in keys.items():
            by_key[key] = (*by_key.get(key, ()), matcher)
        self.rung: Rung[M] | None = ladder(by_key, cut=cut, within=add)
        self.longest = max(map(len, by_key), default=0)


def accounts(items: Mapping[str, Mapping[str, tuple[T, ...]]]) -> Probe[T]:
    """By namespace and name."""

    def probe(value: Value) -> Collection[T]:
        if not isinstance(value, str):
            return ()
        match value.split("/"):
            case ["spiffe:", "", trust_domain, "ns", namespace, "sa", name] if trust_domain and "\n" not in value:
                # An identity of five parts names one account, and no other.
                return items[namespace].get(name, ()) if namespace in items else ()
            case segments:
                return longer(value, segments)

    def longer(value: str, segments: list[str]) -> list[T]:
        # The expression that Istio writes also finds accounts in longer identities, which no Istio authority issues.
        following = list(pairwise(segments))
        namespaces = {name for before, name in following if before == "ns"}
        names = {name for before, name in following if before == "sa"}
        return [
            item
            for namespace in items.keys() & namespaces
            for name in items[namespace].keys() & names
            if matches(ServiceAccount(namespace, name), value)
            for item in items[namespace][name]
        ]

    return probe


def trust_domains(items: Mapping[TrustDomainPattern, tuple[T, ...]]) -> Probe[T]:
    """Patterns, by what the trust domain must start with, or else by what it must end with."""
    heads = _Guesses({matcher: matcher.prefix for matcher in items if matcher.prefix}, cut=cut_head)
    tails = _Guesses({matcher: matcher.suffix[::-1] for matcher in items if not matcher.prefix}, cut=cut_tail)

    def probe(value: Value) -> Collection[T]:
        if not isinstance(value, str) or not value.startswith(SPIFFE):
            return ()
        name, slash, path = value[len(SPIFFE) :].partition("/")
        if not slash or "\n" in path:
            return ()
        return [
            item
            for matcher in starts(heads.rung, name) + ends(tails.rung, name)
            if name.endswith(matcher.suffix) and len(name) >= len(matcher.prefix) + len(matcher.suffix)
            for item in items[matcher]
        ]

    return probe


_SHAPE = re.compile(r"(?=/)(?:/(?:\{\*\}|[^/{}]*))*(?:/\{\*\*\}(?:/[^/{}]*)*)?")
_PLAIN = re.compile(f"(?:/{TEMPLATE_OPERATORS['{*}']})*")
"""A path of which each segment may stand for each operator."""


def is_shaped(template: Template) -> bool:
    """Whether each operator is a segment and `{**}` the last of them, as in every template that a policy may have."""
    return _SHAPE.fullmatch(template.value) is not None


class _Shape(Generic[T]):
    """The templates that differ in the text of their literal segments only, by that."""

    def __init__(self, blank: tuple[str | None, ...]) -> None:
        self.slashes = len(blank) - 1
        self.endless = "{**}" in blank
        # Behind `{**}`, which stands for any number of segments, places are counted from the end.
        behind = blank.index("{**}") if self.endless else len(blank)
        places = [place if place < behind else place - len(blank) for place, op in enumerate(blank) if op is None]
        self.literals: Callable[[list[str]], object] = itemgetter(*places)
        # What is literal, the look-up has compared. So one expression looks at the rest of all of them.
        self.rest = re.compile("/".join("[^/]*" if op is None else TEMPLATE_OPERATORS[op] for op in blank))
        self.items: dict[object, tuple[T, ...]] = {}


def templates(items: Mapping[Template, tuple[T, ...]]) -> Probe[T]:
    """By the literal segments: one look-up for each shape that fits the number of slashes."""
    shapes: dict[tuple[str | None, ...], _Shape[T]] = {}
    for template, held in items.items():
        segments = template.value.split("/")
        blank = tuple(segment if segment in TEMPLATE_OPERATORS else None for segment in segments)
        shape = shapes.get(blank) or shapes.setdefault(blank, _Shape(blank))
        shape.items[shape.literals(segments)] = held
    fitting = _fitting(shapes.values())

    def probe(value: Value) -> Collection[T]:
        if not isinstance(value, str) or not (possible := fitting(value.count("/"))):
            return ()
        segments = value.split("/")
        found: list[T] = []
        plain: bool | None = None
        for shape in possible:
            if (held := shape.items.get(shape.literals(segments))) is not None:
                if plain is None:
                    plain = _PLAIN.fullmatch(value) is not None
                if plain or shape.rest.fullmatch(value) is not None:
                    found += held
        return found

    return probe


def _fitting(shapes: Collection[_Shape[T]]) -> Callable[[int], list[_Shape[T]]]:
    """Which shapes a path may have by its slashes: as many as theirs, or no fewer where `{**}` stands for some."""
    closed: dict[int, list[_Shape[T]]] = {}
    for shape in shapes:
        if not shape.endless:
            closed.setdefault(shape.slashes, []).append(shape)
    endless = sorted((shape for shape in shapes if shape.endless), key=lambda shape: shape.slashes)
    least = [shape.slashes for shape in endless]
    none: list[_Shape[T]] = []

    def fitting(slashes: int) -> list[_Shape[T]]:
        fits = closed.get(slashes, none)
        return fits + endless[: bisect_right(least, slashes)] if least and least[0] <= slashes else fits

    return fitting


def each(items: Mapping[Matcher, tuple[T, ...]]) -> Probe[T]:
    """By trying them all."""
    pairs = tuple(items.items())

    def probe(value: Value) -> Collection[T]:
        return [item for matcher, held in pairs if matches(matcher, value) for item in held]

    return probe
