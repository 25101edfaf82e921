"""Matchers: the closed set of ways a policy value may match.

Each says one thing about one value of one attribute, and `matches` is total: no value, however odd, raises. Literals are
compared as literals; where a matcher is written as an expression, every literal in it is quoted and the whole value must
match, for an unquoted dot in a service account once matched any character (CVE-2026-39350).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from authz.attributes import Issued, ListItem, Value

__all__ = [
    "Cidr",
    "Exact",
    "Exists",
    "InList",
    "IssuedTo",
    "Matcher",
    "Namespace",
    "Port",
    "Prefix",
    "Present",
    "ServiceAccount",
    "SpiffeSuffix",
    "Suffix",
    "Template",
    "TextMatcher",
    "TrustDomainPattern",
    "matches",
    "namespaces_of",
]

SPIFFE = "spiffe://"
# With `*`, as measured on Envoy 1.40: releases in which `{*}` stopped at a star let `/a*b` past a DENY (CVE-2025-46821).
_TEMPLATE_CHARACTER = r"[a-zA-Z0-9\-._~%!$&'()*+,;:@=]"
_TEMPLATE_CHARACTER_OR_SLASH = r"[a-zA-Z0-9\-._~%!$&'()*+,;:@=/]"
TEMPLATE_OPERATORS = {"{*}": f"{_TEMPLATE_CHARACTER}+", "{**}": f"{_TEMPLATE_CHARACTER_OR_SLASH}*"}


@dataclass(frozen=True, slots=True)
class Exact:
    """The value is `value`."""

    value: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """The value starts with `value`."""

    value: str


@dataclass(frozen=True, slots=True)
class Suffix:
    """The value ends with `value`."""

    value: str


@dataclass(frozen=True, slots=True)
class Present:
    """The value is not empty and has no newline: Envoy runs `.+` over it, and there a dot is no newline."""


@dataclass(frozen=True, slots=True)
class Exists:
    """There is a value, even an empty one: how `*` reads for headers."""


@dataclass(frozen=True, slots=True)
class SpiffeSuffix:
    """The value is `spiffe://`, anything but a newline, `value`."""

    value: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """The identity has a path segment `ns` followed by `pieces`, with anything but a newline between two pieces.

    A value without wildcard is one piece. It is anchored neither to `spiffe://` nor to a trust domain (semantics 2.2).
    """

    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The identity is a SPIFFE id of any trust domain that names this namespace and this service account."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class TrustDomainPattern:
    """The identity is a SPIFFE id whose trust domain is `prefix`, anything, `suffix`."""

    prefix: str
    suffix: str


@dataclass(frozen=True, slots=True)
class Template:
    """The value is a path of this shape: `{*}` is one segment, `{**}` any number of them (semantics 2.4)."""

    value: str


@dataclass(frozen=True, slots=True)
class Cidr:
    """The address is in `network`; IPv4 and IPv6 never match each other, not even mapped."""

    network: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Port:
    """The port is `number`."""

    number: int


TextMatcher = Exact | Prefix | Suffix | Present | Exists


@dataclass(frozen=True, slots=True)
class IssuedTo:
    """The token's issuer and its subject both match."""

    issuer: TextMatcher
    subject: TextMatcher


@dataclass(frozen=True, slots=True)
class InList:
    """The value is an element of a list in dynamic metadata, and `matcher` holds for it."""

    matcher: TextMatcher


Matcher = (
    TextMatcher
    | SpiffeSuffix
    | Namespace
    | ServiceAccount
    | TrustDomainPattern
    | Template
    | Cidr
    | Port
    | IssuedTo
    | InList
)


def matches(matcher: Matcher, value: Value) -> bool:
    """Whether `value` matches. A value of another kind than the matcher looks at does not."""
    match matcher:
        case Cidr(network):
            return not isinstance(value, (str, int, tuple)) and value in network
        case Port(number):
            return value == number
        case IssuedTo(issuer, subject):
            return isinstance(value, Issued) and matches(issuer, value.issuer) and matches(subject, value.subject)
        case InList(inner):
            return isinstance(value, ListItem) and matches(inner, value.text)
        case _:
            return isinstance(value, str) and _matches_text(matcher, value)


def _matches_text(
    matcher: TextMatcher | SpiffeSuffix | Namespace | ServiceAccount | TrustDomainPattern | Template, text: str
) -> bool:
    match matcher:
        case Exact(literal):
            return text == literal
        case Prefix(literal):
            return text.startswith(literal)
        case Suffix(literal):
            return text.endswith(literal)
        case Present():
            return text != "" and "\n" not in text
        case Exists():
            return True
        case SpiffeSuffix(literal):
            rest = text.removeprefix(SPIFFE)
            return rest != text and rest.endswith(literal) and "\n" not in rest.removesuffix(literal)
        case Namespace(pieces):
            return _in_namespace(pieces, text)
        case ServiceAccount() | TrustDomainPattern() | Template():
            return _expression(matcher).fullmatch(text) is not None


def _in_namespace(pieces: tuple[str, ...], text: str) -> bool:
    # Leftmost-first is enough, for a piece found earlier leaves more text to the next; it is linear where an expression
    # with as many `.*` as the value has stars would not be.
    position = 0
    for piece in ("/ns/" + pieces[0], *pieces[1:-1], pieces[-1] + "/") if len(pieces) > 1 else (f"/ns/{pieces[0]}/",):
        found = text.find(piece, position)
        if found < 0 or text.find("\n", position, found) >= 0:
            return False
        position = found + len(piece)
    return text.find("\n", position) < 0


@lru_cache(maxsize=4096)
def _expression(matcher: ServiceAccount | TrustDomainPattern | Template) -> re.Pattern[str]:
    match matcher:
        case ServiceAccount(namespace, name):
            # The first place where the namespace stands is as good as any later one. Not to go back to those keeps an
            # identity that names it a thousand times from costing as many tries.
            own = rf"(?>spiffe://.+?/ns/{re.escape(namespace)}/)"
            return re.compile(rf"{own}(?:.+/|)sa/{re.escape(name)}(?:/.+)?")
        case TrustDomainPattern(prefix, suffix):
            return re.compile(rf"spiffe://{re.escape(prefix)}[^/]*{re.escape(suffix)}/.*")
        case Template(value):
            parts = re.split(r"(\{\*\*?\})", value)
            return re.compile("".join(TEMPLATE_OPERATORS.get(part) or re.escape(part) for part in parts))


def namespaces_of(identity: str) -> tuple[str, ...]:
    """Every namespace that a `Namespace` of one piece without a slash or newline finds in `identity`."""
    if "\n" in identity:
        return ()
    # Found by hand: nearly every identity has one, and splitting it costs five times as much.
    found: list[str] = []
    start = identity.find("/ns/")
    while start >= 0:
        end = identity.find("/", start + 4)
        if end < 0:
            break
        found.append(identity[start + 4 : end])
        start = identity.find("/ns/", start + 1)
    return tuple(found)
