"""Index: what hangs on those of many matchers of an attribute that hold for its values, without trying one after another.

Equality is a hash look-up; prefixes, suffixes and CIDR ranges are ladders (a range is a prefix of an address's bits);
the rarer matchers have probes. Only what nothing leads to is always tried, each distinct matcher once.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from operator import add, itemgetter
from typing import Generic, TypeVar

from authz.attributes import Issued, ListItem, Value
from authz.ladder import Rung, Within, cut_bits, cut_head, cut_tail, depths, ends, ladder, starts
from authz.matcher import (
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
    TextMatcher,
    TrustDomainPattern,
)
from authz.probes import (
    Probe,
    accounts,
    each,
    is_shaped,
    namespaces,
    spiffe_suffixes,
    templates,
    trust_domains,
    wide_namespaces,
)

__all__ = ["Index", "nested_deeper"]

T = TypeVar("T")

_MANY = 8
"""More than so many items are found as a set: who looks for some of them does not look at all."""


class Index(Generic[T]):
    """From the values of one attribute to what hangs on the matchers that hold for any of them.

    Its structures are there to be asked one by one, too: `exact` by a value; `prefixes`, `suffixes`, `v4` and `v6` are
    ladders of a text, a text and an address's bits, and first try the shortest key; `probes` take a value each.
    """

    __slots__ = ("exact", "find", "prefixes", "probes", "suffixes", "v4", "v6")

    def __init__(self, items: Mapping[Matcher, tuple[T, ...]], *, within: Within[T] = add) -> None:
        """Hang the items of each matcher on it.

        `within` says what is found where prefixes lie within each other: all that they hold, unless told otherwise.
        """
        groups = _Groups(items)
        self.exact: Mapping[Value, tuple[T, ...]] = groups.exact
        self.prefixes: Rung[T] | None = ladder(groups.prefixes, cut=cut_head, within=within)
        self.suffixes: Rung[T] | None = ladder(groups.suffixes, cut=cut_tail, within=within)
        self.v4: Rung[T] | None = ladder(groups.v4, cut=cut_bits, within=within)
        self.v6: Rung[T] | None = ladder(groups.v6, cut=cut_bits, within=within)
        self.probes: tuple[Probe[T], ...] = groups.probes(within)
        only_exact = len(self.exact) == len(items)
        self.find: Callable[[tuple[Value, ...]], Collection[T]] = _exactly(self.exact) if only_exact else self._find
        """What hangs on the matchers that hold for any of the values, each item once; a set where it is many."""

    def _find(self, values: tuple[Value, ...]) -> Collection[T]:
        return self._one(values[0]) if len(values) == 1 else _once(map(self._one, dict.fromkeys(values)))

    def _one(self, value: Value) -> Collection[T]:
        found: list[T] = []
        if self.exact and (held := self.exact.get(value)) is not None:
            found += held
        if isinstance(value, str):
            if self.prefixes is not None:
                found += starts(self.prefixes, value)
            if self.suffixes is not None:
                found += ends(self.suffixes, value)
        elif isinstance(value, IPv4Address):
            found += _network(self.v4, int(value), 32)
        elif isinstance(value, IPv6Address):
            found += _network(self.v6, int(value), 128)
        for probe in self.probes:
            found += probe(value)
        return found


def _exactly(items: Mapping[Value, tuple[T, ...]]) -> Callable[[tuple[Value, ...]], Collection[T]]:
    """`find` where equality is all there is, as for most attributes."""
    get = items.get

    def find(values: tuple[Value, ...]) -> Collection[T]:
        return get(values[0], ()) if len(values) == 1 else _once(get(value, ()) for value in dict.fromkeys(values))

    return find


def _once(found: Iterable[Iterable[T]]) -> Collection[T]:
    once = dict.fromkeys(chain.from_iterable(found))
    return set(once) if len(once) > _MANY else list(once)


def _network(rung: Rung[T] | None, bits: int, width: int) -> tuple[T, ...]:
    held: tuple[T, ...] = ()
    while rung is not None:
        length, table, rung = rung
        if (entry := table.get(bits >> width - length)) is not None:
            held, rung = entry
    return held


def nested_deeper(matchers: Iterable[Matcher], limit: int) -> frozenset[Matcher]:
    """Those that lie within `limit` others or more, as a prefix lies within those that it starts with.

    Where one holds, so does all that it lies within: an index finds as many at once as they are deep.
    """
    nests: dict[Hashable, list[tuple[str, Matcher]]] = {}
    for matcher in matchers:
        if (place := _nest(matcher)) is not None:
            nest, key = place
            nests.setdefault(nest, []).append((key, matcher))
    found: list[Matcher] = []
    for nested in nests.values():
        if len(nested) > limit:
            nested.sort(key=itemgetter(0))
            deep = depths([key for key, _ in nested])
            found += [matcher for (_, matcher), depth in zip(nested, deep, strict=True) if depth > limit]
    return frozenset(found)


def _nest(matcher: Matcher) -> tuple[Hashable, str] | None:
    """Where a matcher may lie within others: the ladder it stands on, and its key there."""
    match matcher:
        case Prefix(value):
            return "prefix", value
        case Suffix(value):
            return "suffix", value[::-1]
        case SpiffeSuffix(value):
            return "suffix behind the scheme", value[::-1]
        case Cidr(network):
            return network.version, _bits(network.network_address)[: network.prefixlen]
        case Namespace(pieces):
            return ("namespace", pieces[0]) if pieces[0] else ("end of namespace", pieces[-1][::-1])
        case TrustDomainPattern(prefix, suffix):
            return ("trust domain", prefix) if prefix else ("end of trust domain", suffix[::-1])
        case IssuedTo(issuer, subject):
            outer, inner = (issuer, subject) if _by_issuer(issuer) else (subject, issuer)
            place = _nest(inner)
            return None if place is None else ((outer, place[0]), place[1])
        case InList(inner):
            place = _nest(inner)
            return None if place is None else (("list", place[0]), place[1])
        case Exact() | Present() | Exists() | ServiceAccount() | Template() | Port():
            return None


class _Groups(Generic[T]):
    """The matchers of one attribute, by the structure that answers for them."""

    def __init__(self, items: Mapping[Matcher, tuple[T, ...]]) -> None:
        self.exact: dict[Value, tuple[T, ...]] = {}
        self.prefixes: dict[str, tuple[T, ...]] = {}
        self.suffixes: dict[str, tuple[T, ...]] = {}
        self.v4: dict[str, tuple[T, ...]] = {}
        self.v6: dict[str, tuple[T, ...]] = {}
        self.spiffe_suffixes: dict[str, tuple[T, ...]] = {}
        self.namespaces: dict[str, tuple[T, ...]] = {}
        self.wide_namespaces: dict[Namespace, tuple[T, ...]] = {}
        self.accounts: dict[str, dict[str, tuple[T, ...]]] = {}
        self.trust_domains: dict[TrustDomainPattern, tuple[T, ...]] = {}
        self.templates: dict[Template, tuple[T, ...]] = {}
        self.issued: dict[IssuedTo, tuple[T, ...]] = {}
        self.listed: dict[Matcher, tuple[T, ...]] = {}
        self.rest: dict[Matcher, tuple[T, ...]] = {}
        for matcher, held in items.items():
            self.add(matcher, held)

    def add(self, matcher: Matcher, held: tuple[T, ...]) -> None:  # noqa: C901, PLR0912  # one case a matcher
        match matcher:
            case Exact(value):
                self.exact[value] = held
            case Port(number):
                self.exact[number] = held
            case IssuedTo(Exact(issuer), Exact(subject)):
                self.exact[Issued(issuer, subject)] = held
            case InList(Exact(text)):
                self.exact[ListItem(text)] = held
            case Prefix(value) if value:
                self.prefixes[value] = held
            case Suffix(value) if value:
                self.suffixes[value[::-1]] = held
            case SpiffeSuffix(value) if value and "\n" not in value:
                self.spiffe_suffixes[value[::-1]] = held
            case Cidr(network):
                bits = _bits(network.network_address)[: network.prefixlen]
                (self.v4 if network.version == 4 else self.v6)[bits] = held
            case Namespace((name,)) if "/" not in name and "\n" not in name:
                self.namespaces[name] = held
            case Namespace((first, *_, last)) if first or last:
                self.wide_namespaces[matcher] = held
            case ServiceAccount(namespace, name) if "/" not in namespace + name:
                self.accounts.setdefault(namespace, {})[name] = held
            case TrustDomainPattern(prefix, suffix) if prefix + suffix and "/" not in prefix + suffix:
                self.trust_domains[matcher] = held
            case Template() if is_shaped(matcher):
                self.templates[matcher] = held
            case IssuedTo():
                self.issued[matcher] = held
            case InList(inner):
                self.listed[inner] = held
            case Prefix() | Suffix() | SpiffeSuffix() | Namespace() | ServiceAccount() | TrustDomainPattern():
                self.rest[matcher] = held
            case Present() | Exists() | Template():
                self.rest[matcher] = held

    def probes(self, within: Within[T]) -> tuple[Probe[T], ...]:
        """A probe for each of the rarer structures that holds anything."""
        probes: list[Probe[T]] = []
        if self.spiffe_suffixes:
            probes.append(spiffe_suffixes(self.spiffe_suffixes, within))
        if self.namespaces:
            probes.append(namespaces(self.namespaces))
        if self.wide_namespaces:
            probes.append(wide_namespaces(self.wide_namespaces))
        if self.accounts:
            probes.append(accounts(self.accounts))
        if self.trust_domains:
            probes.append(trust_domains(self.trust_domains))
        if self.templates:
            probes.append(templates(self.templates))
        if self.issued:
            probes.append(_issued(self.issued, within))
        if self.listed:
            probes.append(_listed(self.listed, within))
        if self.rest:
            probes.append(each(self.rest))
        return tuple(probes)


def _bits(address: IPv4Address | IPv6Address) -> str:
    return f"{int(address):032b}" if address.version == 4 else f"{int(address):0128b}"


def _by_issuer(issuer: TextMatcher) -> bool:
    """Whether to look at the issuer first and then at the subject, or the other way round: whichever parts them more."""
    return isinstance(issuer, Exact | Present)


def _issued(items: Mapping[IssuedTo, tuple[T, ...]], within: Within[T]) -> Probe[T]:
    by_issuer: dict[Matcher, dict[Matcher, tuple[T, ...]]] = {}
    by_subject: dict[Matcher, dict[Matcher, tuple[T, ...]]] = {}
    for matcher, held in items.items():
        if _by_issuer(matcher.issuer):
            by_issuer.setdefault(matcher.issuer, {})[matcher.subject] = held
        else:
            by_subject.setdefault(matcher.subject, {})[matcher.issuer] = held
    issuers = Index({issuer: (Index(subjects, within=within),) for issuer, subjects in by_issuer.items()})
    subjects = Index({subject: (Index(issuers, within=within),) for subject, issuers in by_subject.items()})

    def probe(value: Value) -> Collection[T]:
        if not isinstance(value, Issued):
            return ()
        issuer, subject = (value.issuer,), (value.subject,)
        found = [item for index in issuers.find(issuer) for item in index.find(subject)]
        found += [item for index in subjects.find(subject) for item in index.find(issuer)]
        return found

    return probe


def _listed(items: Mapping[Matcher, tuple[T, ...]], within: Within[T]) -> Probe[T]:
    index = Index(items, within=within)

    def probe(value: Value) -> Collection[T]:
        return index.find((value.text,)) if isinstance(value, ListItem) else ()

    return probe
