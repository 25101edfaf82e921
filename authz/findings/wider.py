"""WiderIndex: which of many things asked for may be wider than one, found without trying each."""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from authz.findings.containment import TEMPLATE_OPERATOR
from authz.matcher import (
    SPIFFE,
    Cidr,
    Exact,
    IssuedTo,
    Matcher,
    Namespace,
    Port,
    Prefix,
    ServiceAccount,
    SpiffeSuffix,
    Suffix,
    Template,
    TrustDomainPattern,
    namespaces_of,
)

__all__ = ["WiderIndex", "handle"]

T = TypeVar("T")
_Handle = tuple[object, ...]

_ACCOUNT = re.compile(r"spiffe://[^/]+/ns/([^/]+)/sa/([^/]+)")
# What has no handle of its own, and is looked at by all.
_ANY: _Handle = ("*",)


def handle(matcher: Matcher) -> _Handle:  # noqa: C901  # a case for each kind
    """What `matcher` is found by."""
    match matcher:
        case Exact(value):
            return "=", value
        case Prefix(start):
            return "^", start
        case Suffix(end) | SpiffeSuffix(end):
            return "$", end
        case Template(value):
            # By a segment that stands in whatever it matches: the longest, which is most of its own.
            longest = max(_segments(value), key=len, default="")
            return ("/", longest) if longest else _ANY
        case Cidr(network):
            return "net", network.version, int(network.network_address), network.prefixlen
        case Port(number):
            return "port", number
        case Namespace((name,)):
            return "ns", name
        case ServiceAccount(namespace, name):
            return "sa", namespace, name
        case IssuedTo(Exact(issuer), Exact(subject)):
            return "iss", issuer, subject
        case IssuedTo(Exact(issuer), _):
            return "iss", issuer
        case _:
            return _ANY


def _segments(path: str) -> set[str]:
    """What stands between the slashes of a path or a template, but for its operators."""
    return {segment for segment in path.split("/") if segment and "{" not in segment}


class WiderIndex(Generic[T]):
    """Things by the matchers that they ask for, in places that do not mix."""

    def __init__(self) -> None:
        self._found: dict[tuple[Hashable, _Handle], list[T]] = defaultdict(list)
        # How long the beginnings and the ends are that somebody asks for: of a value only those are looked up.
        self._starts: set[int] = set()
        self._ends: set[int] = set()

    def add(self, place: Hashable, matcher: Matcher, thing: T) -> None:
        """Keep a thing that asks for `matcher`."""
        its = handle(matcher)
        match its:
            case ("^", str(start)):
                self._starts.add(len(start))
            case ("$", str(end)):
                self._ends.add(len(end))
            case _:
                pass
        self._found[place, its].append(thing)

    def asking_for_more(self, place: Hashable, narrow: Matcher) -> Iterator[T]:
        """The things whose matcher covers `narrow`, and some besides, as far as `containment.covers` sees it."""
        for its in self._handles(narrow):
            yield from self._found.get((place, its), ())

    def _handles(self, narrow: Matcher) -> Iterator[_Handle]:  # noqa: C901, PLR0912  # a case for each kind
        yield _ANY
        match narrow:
            case Exact(value):
                yield "=", value
                yield from (("/", segment) for segment in _segments(value))
                yield from self._starts_of(value)
                yield from self._ends_of(value)
                yield from (("ns", name) for name in namespaces_of(value))
                if (found := _ACCOUNT.match(value)) is not None:
                    yield "sa", found[1], found[2]
            case Prefix(start):
                yield from self._starts_of(start)
                yield from (("ns", name) for name in namespaces_of(start))
            case Suffix(end) | SpiffeSuffix(end):
                yield from self._ends_of(end)
                yield from self._starts_of(SPIFFE)
                yield from (("ns", name) for name in namespaces_of(end))
            case Template(value):
                first, *_, last = TEMPLATE_OPERATOR.split(value)
                yield from (("/", segment) for segment in _segments(value))
                yield from self._starts_of(first)
                yield from self._ends_of(last)
            case Cidr(network):
                address, bits = int(network.network_address), network.max_prefixlen
                for length in range(network.prefixlen + 1):
                    host = bits - length
                    yield "net", network.version, address >> host << host, length
            case Namespace((name,)):
                yield "ns", name
            case ServiceAccount(namespace, name):
                yield "sa", namespace, name
                yield "ns", namespace
                yield from self._starts_of(SPIFFE)
            case TrustDomainPattern(prefix, _):
                yield from self._starts_of(SPIFFE + prefix)
            case IssuedTo(Exact(issuer), subject):
                yield "iss", issuer
                if isinstance(subject, Exact):
                    yield "iss", issuer, subject.value
            case Port():
                yield handle(narrow)
            case _:
                pass

    def _starts_of(self, text: str) -> Iterator[_Handle]:
        return (("^", text[:length]) for length in self._starts if length <= len(text))

    def _ends_of(self, text: str) -> Iterator[_Handle]:
        return (("$", text[len(text) - length :]) for length in self._ends if length <= len(text))
