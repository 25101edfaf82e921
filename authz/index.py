"""Index: which of many matchers of one attribute hold for its values, without trying one after the other.

Equality is a hash look-up; prefixes, suffixes and CIDR ranges are tries (a range is a prefix of an address's bits); the
namespace and the service account of an ordinary SPIFFE id are hash look-ups, too. What is left is tried, each distinct
matcher once.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address

from authz.attributes import Issued, Value
from authz.matcher import (
    SPIFFE,
    Cidr,
    Exact,
    Exists,
    InList,
    IssuedTo,
    Matcher,
    Namespace,
    Port,
    Prefix,
    Present,
    ServiceAccount,
    SpiffeSuffix,
    Suffix,
    Template,
    TrustDomainPattern,
    matches,
    namespaces_of,
)
from authz.trie import Trie

__all__ = ["Index"]

Probe = Callable[[Value], int]


class Index:
    """From the values of one attribute to the lanes whose matchers hold for any of them."""

    __slots__ = ("_probes",)

    def __init__(self, lanes: Mapping[Matcher, int]) -> None:
        groups = _Groups()
        for matcher, bits in lanes.items():
            groups.add(matcher, bits)
        self._probes = groups.probes()

    def lookup(self, values: tuple[Value, ...]) -> int:
        """The lanes of every matcher that holds for at least one of `values`."""
        found = 0
        for value in values:
            for probe in self._probes:
                found |= probe(value)
        return found


class _Groups:
    """The matchers of one attribute, by the structure that answers for them."""

    def __init__(self) -> None:
        self.exact: dict[Value, int] = {}
        self.prefixes: dict[str, int] = {}
        self.suffixes: dict[str, int] = {}
        self.spiffe_suffixes: dict[str, int] = {}
        self.networks: dict[str, int] = {}
        self.namespaces: dict[str, int] = {}
        self.accounts: dict[ServiceAccount, int] = {}
        self.rest: dict[Matcher, int] = {}

    def add(self, matcher: Matcher, lanes: int) -> None:  # noqa: C901  # one case a matcher
        match matcher:
            case Exact(value):
                self.exact[value] = lanes
            case Port(number):
                self.exact[number] = lanes
            case IssuedTo(Exact(issuer), Exact(subject)):
                self.exact[Issued(issuer, subject)] = lanes
            case Prefix(value):
                self.prefixes[value] = lanes
            case Suffix(value):
                self.suffixes[value[::-1]] = lanes
            case SpiffeSuffix(value) if "\n" not in value:
                self.spiffe_suffixes[value[::-1]] = lanes
            case Cidr(network):
                bits = _bits(network.network_address)
                self.networks[bits[: 1 + network.prefixlen]] = lanes
            case Namespace((name,)) if "/" not in name and "\n" not in name:
                self.namespaces[name] = lanes
            case ServiceAccount():
                self.accounts[matcher] = lanes
            case Present() | Exists() | SpiffeSuffix() | Namespace() | TrustDomainPattern():
                self.rest[matcher] = lanes
            case Template() | IssuedTo() | InList():
                self.rest[matcher] = lanes

    def probes(self) -> tuple[Probe, ...]:
        """A probe for each structure that holds anything."""
        probes: list[Probe] = []
        if self.exact:
            probes.append(_exact(self.exact))
        if self.prefixes:
            probes.append(_prefix(Trie(self.prefixes)))
        if self.suffixes:
            probes.append(_suffix(Trie(self.suffixes)))
        if self.spiffe_suffixes:
            probes.append(_spiffe_suffix(Trie(self.spiffe_suffixes)))
        if self.networks:
            probes.append(_network(Trie(self.networks)))
        if self.namespaces:
            probes.append(_namespace(self.namespaces))
        if self.accounts:
            probes.append(_account(self.accounts))
        if self.rest:
            probes.append(_each(self.rest))
        return tuple(probes)


def _exact(lanes: Mapping[Value, int]) -> Probe:
    def probe(value: Value) -> int:
        return lanes.get(value, 0)

    return probe


def _prefix(trie: Trie) -> Probe:
    def probe(value: Value) -> int:
        return trie.lookup(value) if isinstance(value, str) else 0

    return probe


def _suffix(trie: Trie) -> Probe:
    def probe(value: Value) -> int:
        return trie.lookup(value[::-1]) if isinstance(value, str) else 0

    return probe


def _spiffe_suffix(trie: Trie) -> Probe:
    def probe(value: Value) -> int:
        # The suffix may not reach into the scheme: `*//a` does not match `spiffe://a`.
        if not isinstance(value, str) or not value.startswith(SPIFFE) or "\n" in value:
            return 0
        return trie.lookup(value[: len(SPIFFE) - 1 : -1])

    return probe


def _network(trie: Trie) -> Probe:
    def probe(value: Value) -> int:
        return trie.lookup(_bits(value)) if isinstance(value, (IPv4Address, IPv6Address)) else 0

    return probe


def _bits(address: IPv4Address | IPv6Address) -> str:
    """The address as text of its bits behind one letter for its version, so that the versions never meet in a trie."""
    return f"4{int(address):032b}" if address.version == 4 else f"6{int(address):0128b}"


def _namespace(lanes: Mapping[str, int]) -> Probe:
    def probe(value: Value) -> int:
        found = 0
        if isinstance(value, str):
            for name in namespaces_of(value):
                found |= lanes.get(name, 0)
        return found

    return probe


_ORDINARY = re.compile(r"spiffe://[^/\n]+/ns/([^/\n]+)/sa/([^/\n]+)")


def _account(lanes: Mapping[ServiceAccount, int]) -> Probe:
    every = _each(lanes)

    def probe(value: Value) -> int:
        if not isinstance(value, str):
            return 0
        # An identity of five parts names one account. The expression that Istio writes also finds accounts in longer
        # ones, which no Istio authority issues: those take the slow way.
        if (ordinary := _ORDINARY.fullmatch(value)) is not None:
            return lanes.get(ServiceAccount(*ordinary.groups()), 0)
        return every(value)

    return probe


def _each(lanes: Mapping[Matcher, int] | Mapping[ServiceAccount, int]) -> Probe:
    pairs: tuple[tuple[Matcher, int], ...] = tuple(lanes.items())

    def probe(value: Value) -> int:
        found = 0
        for matcher, bits in pairs:
            if matches(matcher, value):
                found |= bits
        return found

    return probe
