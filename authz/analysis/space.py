"""Space: all requests that there can be, as far as policies can tell them apart.

It gives every predicate a literal, over the axes that it reads, and finds a request for any set of literals that can hold
together. What requests there are is said here, and printed with every answer (`ASSUMED`).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from authz.analysis.axes import AddressAxis, Domain, NumberAxis, TextAxis
from authz.analysis.circuit import FALSE, TRUE, Circuit
from authz.analysis.language import Characters, Language, Optional, Repeat
from authz.analysis.respelling import Respelling, Spell, in_another_case, with_other_slashes
from authz.analysis.splicing import Part, spliced
from authz.attributes import Attributes, Protocol
from authz.invariants import Spelling
from authz.keys import Attribute
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
)
from authz.mesh_config import PathNormalization
from authz.predicates import Predicate

__all__ = ["ASSUMED", "Callers", "Case", "Space"]

ASSUMED = (
    "a caller shows one SPIFFE ID, or none (plaintext); one that is not as Istio issues them has no `/ns/` in it, unless a policy names such a one",
    "a method is a token, a host is in lower case, and a path begins with `/`, as Envoy hands them on",
    "a token is valid, and of an issuer that a RequestAuthentication names; its `iss` and `sub` are strings",
)
"""What is taken for granted of every request, a clause each."""


class Callers(Enum):
    """Which identities there are."""

    SPIFFE = "any SPIFFE ID"
    ISTIO = "spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT, as Istio issues them"


_LOWER = "abcdefghijklmnopqrstuvwxyz"
_UPPER = _LOWER.upper()
_DIGITS = "0123456789"
_TRUST_DOMAIN = Characters(frozenset(_LOWER + _DIGITS + "-._"))
_SEGMENT = Characters(frozenset(_LOWER + _UPPER + _DIGITS + "-._"))
_SEGMENTS = Characters(_SEGMENT.named | {"/"})
_TOKEN = Characters(frozenset(_LOWER + _UPPER + _DIGITS + "!#$%&'*+-.^_`|~"))
_CONTROL = frozenset(map(chr, [*range(33), 127]))
_IN_PATH = Characters(_CONTROL | {"?", "#"}, others=True)
_IN_QUERY = Characters(_CONTROL | {"#"}, others=True)
_IN_HOST = Characters(_CONTROL | frozenset(_UPPER + "/?#@\\"), others=True)
_IN_ANY_HOST = Characters(_CONTROL | frozenset("/?#@\\"), others=True)
_IN_HEADER = Characters(frozenset(map(chr, [*range(9), *range(10, 32), 127])), others=True)
_ANYTHING = Characters(frozenset(), others=True)


def _some(characters: Characters) -> Language:
    return Language((Repeat(characters, 1),))


_ISTIO = Language(
    ("spiffe://", Repeat(_TRUST_DOMAIN, 1), "/ns/", Repeat(_SEGMENT, 1), "/sa/", Repeat(_SEGMENT, 1)),
)
_PARTS = re.compile("spiffe://([^/]+)/ns/([^/]+)/sa/([^/]+)")
_SPIFFE = Language(("spiffe://", Repeat(_TRUST_DOMAIN, 1), Optional(("/", Repeat(_SEGMENTS, 1)))))
_AUTHORITY = ("spiffe://", Repeat(_TRUST_DOMAIN))
_NO_ID = tuple(
    Language((*_AUTHORITY, *pieces))
    for pieces in (
        (Repeat(_ANYTHING), "//", Repeat(_ANYTHING)),
        ("/", Repeat(_ANYTHING), "/"),
        (Repeat(_ANYTHING), "/.", Optional((".",))),
        (Repeat(_ANYTHING), "/.", Optional((".",)), "/", Repeat(_ANYTHING)),
    )
)
_NO_SEGMENT = (Language((".", Optional((".",)))),)

_HEADER_TEXT = Domain(_IN_HEADER, Language((Repeat(_IN_HEADER),)))
_CLAIM_TEXT = Domain(_ANYTHING, Language((Repeat(_ANYTHING),)))


def _contains(*texts: str) -> tuple[Language, ...]:
    return tuple(Language((Repeat(_ANYTHING), text, Repeat(_ANYTHING))) for text in texts)


def _ends_with(*texts: str) -> tuple[Language, ...]:
    return tuple(Language((Repeat(_ANYTHING), text)) for text in texts)


# What no path holds after normalization, as `authz.normalization` does it.
_DOTS = (*_contains("/./", "/../", "\\"), *_ends_with("/.", "/.."))
_NOT_NORMAL: Mapping[PathNormalization, tuple[Language, ...]] = {
    PathNormalization.NONE: (),
    PathNormalization.BASE: _DOTS,
    PathNormalization.MERGE_SLASHES: (*_DOTS, *_contains("//")),
    PathNormalization.DECODE_AND_MERGE_SLASHES: (*_DOTS, *_contains("//", "%2F", "%2f", "%5C", "%5c")),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A request, what each external authorizer that is asked would say, and which literals hold in it.

    `respelt` is the same request spelt otherwise, where that was asked about.
    """

    attributes: Attributes
    allowed_by: frozenset[str]
    holds: Sequence[int]
    respelt: Attributes | None = None


_One = Callable[[TextAxis], str | None]


class Space:
    """The requests of one protocol. Ask for literals, `settle`, then find cases.

    `issuers` are those of whose tokens anything is known; a token of another is taken by nobody.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        normalization: PathNormalization,
        issuers: Iterable[str],
        callers: Callers = Callers.SPIFFE,
    ) -> None:
        self.protocol = protocol
        self.circuit = circuit = Circuit()
        self._settled = False
        self._literals: dict[Predicate, int] = {}
        self._authorizers: dict[str, int] = {}
        self._http = protocol is Protocol.HTTP
        self._normalization = normalization
        self._respellings: list[Respelling] = []
        self._repeated: dict[str, TextAxis] = {}

        self._trust_domain = TextAxis(
            circuit, Domain(_TRUST_DOMAIN, _some(_TRUST_DOMAIN), words=("cluster.local", "x"))
        )
        self._namespace = TextAxis(circuit, Domain(_SEGMENT, _some(_SEGMENT), _NO_SEGMENT))
        self._account = TextAxis(circuit, Domain(_SEGMENT, _some(_SEGMENT), _NO_SEGMENT))
        other = Domain(_ANYTHING, _SPIFFE, (_ISTIO, *_NO_ID), "spiffe://", words=("x", "x/y"))
        self._other = TextAxis(circuit, other)
        self._odd = False
        self._as_istio: tuple[str | Part, ...] = (
            "spiffe://",
            Part(self._trust_domain, _TRUST_DOMAIN),
            "/ns/",
            Part(self._namespace, _SEGMENT),
            "/sa/",
            Part(self._account, _SEGMENT),
        )
        self.identified = circuit.any_of((self._trust_domain.there, self._other.there))
        """Whether the caller shows an identity."""
        for axis in (self._namespace, self._account):
            circuit.imply(axis.there, self._trust_domain.there)
            circuit.imply(self._trust_domain.there, axis.there)
        circuit.imply(self._trust_domain.there, -self._other.there)
        if callers is Callers.ISTIO:
            circuit.require((-self._other.there,))

        without = _NOT_NORMAL[normalization]
        path = Language(("/", Repeat(_IN_PATH)))
        self._path = TextAxis(circuit, Domain(_IN_PATH, path, without, "/"), always=self._http)
        self._query = TextAxis(circuit, Domain(_IN_QUERY, Language((Repeat(_IN_QUERY),))))
        self._method = TextAxis(
            circuit, Domain(_TOKEN, _some(_TOKEN), words=("GET", "POST", "PUT", "X")), always=self._http
        )
        self._host = TextAxis(circuit, Domain(_IN_HOST, _some(_IN_HOST)), always=self._http)
        self._scheme = TextAxis(circuit, Domain(_TOKEN, _some(_TOKEN), words=("http",)), always=self._http)
        name = Characters(_CONTROL | frozenset(_UPPER), others=True)
        self._sni = TextAxis(circuit, Domain(name, _some(name)))
        self._headers: dict[str, TextAxis] = {}
        self._metadata: dict[tuple[str, ...], tuple[TextAxis, TextAxis]] = {}
        self._source, self._remote, self._destination = (AddressAxis(circuit) for _ in range(3))
        self._port = NumberAxis(circuit)

        issuers = tuple(dict.fromkeys(issuers))
        self.token = circuit.variable() if issuers and self._http else FALSE
        """Whether the caller shows a token that one of the issuers has signed, and that is valid now."""
        self._issuer = TextAxis(circuit, _CLAIM_TEXT)
        self._subject = TextAxis(circuit, _CLAIM_TEXT)
        self._claims: dict[tuple[str, ...], TextAxis] = {}
        circuit.imply(self._issuer.there, self.token)
        circuit.imply(self.token, self._issuer.there)
        circuit.imply(self._subject.there, self.token)
        circuit.require((-self.token, *[self._issuer.test(Exact(issuer)) for issuer in issuers]))

    # Literals ---------------------------------------------------------------------------------------------------------

    def literal(self, predicate: Predicate) -> int:
        """The literal that holds where the predicate does."""
        known = self._literals.get(predicate)
        if known is None:
            if self._settled:
                raise RuntimeError("a space that is settled takes no more predicates")
            attribute = predicate.attribute
            absent = attribute.http_only and not self._http
            untold = attribute.key.startswith("request.auth.") and self.token == FALSE
            possible = not absent and not untold
            known = self._literals[predicate] = self._literal(attribute, predicate.matcher) if possible else FALSE
        return known

    def authorizer(self, name: str) -> int:
        """The literal that holds where this external authorizer lets a request through."""
        if name not in self._authorizers:
            self._authorizers[name] = self.circuit.variable()
        return self._authorizers[name]

    def vocabulary(self) -> Iterable[tuple[Predicate, int]]:
        """Every predicate that was asked for and may hold or not, with its literal."""
        return ((each, literal) for each, literal in self._literals.items() if literal not in (TRUE, FALSE))

    def authorizers(self) -> Iterable[tuple[str, int]]:
        """Every external authorizer that was asked for, with the literal of its letting a request through."""
        return self._authorizers.items()

    def _literal(self, attribute: Attribute, matcher: Matcher) -> int:  # noqa: C901, PLR0912  # one case each
        match attribute.key, matcher:
            case "source.ip", Cidr(network):
                return self._source.test(network)
            case "remote.ip", Cidr(network):
                return self._remote.test(network)
            case "destination.ip", Cidr(network):
                return self._destination.test(network)
            case "destination.port", Port(number):
                return self._port.test(number)
            case (("source.principal" | "source.namespace" | "source.serviceAccount" | "source.trustDomain"), _):
                return self._identity(matcher)
            case "request.auth.principal", IssuedTo(issuer, subject):
                both = (self._issuer.there, self._subject.there)
                return self.circuit.all_of((*both, self._issuer.test(issuer), self._subject.test(subject)))
            case "request.auth.audiences", _:
                return self._claim(("aud",)).test(matcher)
            case "request.auth.presenter", _:
                return self._claim(("azp",)).test(matcher)
            case "request.auth.claims", _:
                return self._claim(attribute.argument).test(matcher)
            case "request.headers", _:
                return self._header(attribute.argument[0], matcher)
            case "connection.sni", _:
                return self._sni.test(matcher)
            case "request.host", _:
                return self._host.test(matcher)
            case "request.method", _:
                return self._method.test(matcher)
            case "request.path", _:
                return self._path.test(matcher)
            case "experimental.envoy.filters.", _:
                return self._of_filter(attribute.argument, matcher)
            case other:
                raise NotImplementedError(other)

    def _identity(self, matcher: Matcher) -> int:
        if isinstance(matcher, (Present, Exists)):
            return self.identified
        all_of = self.circuit.all_of
        istio = all_of((self._trust_domain.there, self._istio_identity(matcher)))
        if isinstance(matcher, (Exact, Prefix, SpiffeSuffix)) and istio == FALSE and "/ns/" in matcher.value:
            self._odd = self._odd or self._other.has_any(matcher)
        return self.circuit.any_of((istio, all_of((self._other.there, self._other.test(matcher)))))

    def _istio_identity(self, matcher: Matcher) -> int:
        """What a test of an identity asks of its three parts. The usual ones are told without trying every way to read them."""
        match matcher:
            case Exact(value):
                parts = _PARTS.fullmatch(value)
                if parts is None:
                    return FALSE
                axes = (self._trust_domain, self._namespace, self._account)
                return self.circuit.all_of(
                    [axis.test(Exact(part)) for axis, part in zip(axes, parts.groups(), strict=True)]
                )
            case ServiceAccount(namespace, name) if "/" not in namespace + name:
                return self.circuit.all_of((self._namespace.test(Exact(namespace)), self._account.test(Exact(name))))
            case Namespace((name,)) if "/" not in name and name not in ("ns", "sa"):
                return self._namespace.test(Exact(name))
            case _:
                return spliced(self.circuit, matcher, self._as_istio)

    def _header(self, name: str, matcher: Matcher) -> int:
        match name:
            case ":method":
                return self._method.test(matcher)
            case ":authority":
                return self._host.test(matcher)
            case ":scheme":
                return self._scheme.test(matcher)
            case ":path":
                path, query = Part(self._path, _IN_PATH), Part(self._query, _IN_QUERY)
                alone = self.circuit.all_of((-self._query.there, spliced(self.circuit, matcher, (path,))))
                longer = spliced(self.circuit, matcher, (path, "?", query))
                return self.circuit.any_of((alone, self.circuit.all_of((self._query.there, longer))))
            case _:
                if name not in self._headers:
                    self._headers[name] = TextAxis(self.circuit, _HEADER_TEXT, many=True)
                return self._headers[name].test(matcher)

    def _claim(self, names: tuple[str, ...]) -> TextAxis:
        if names == ("iss",):
            return self._issuer
        if names == ("sub",):
            return self._subject
        if names not in self._claims:
            axis = self._claims[names] = TextAxis(self.circuit, _CLAIM_TEXT, many=True)
            self.circuit.imply(axis.there, self.token)
            # A claim that is a text or a list holds no claims.
            outer = [names[:length] for length in range(1, len(names))]
            for other, its in [*self._claims.items(), (("iss",), self._issuer), (("sub",), self._subject)]:
                if other in outer or (other != names and other[: len(names)] == names):
                    self.circuit.require((-axis.there, -its.there))
        return self._claims[names]

    def _of_filter(self, argument: tuple[str, ...], matcher: Matcher) -> int:
        if argument not in self._metadata:
            text, items = (TextAxis(self.circuit, _CLAIM_TEXT), TextAxis(self.circuit, _CLAIM_TEXT, many=True))
            self.circuit.require((-text.there, -items.there))
            self._metadata[argument] = text, items
        text, items = self._metadata[argument]
        return items.test(matcher.matcher) if isinstance(matcher, InList) else text.test(matcher)

    def respelt(self, spelling: Spelling) -> Callable[[Predicate], int]:
        """What gives the literal of a predicate for the same request, spelt otherwise."""
        if spelling is Spelling.HEADER_DUPLICATION:
            return self._with_more_lines
        keys, own, spell = self._spelt(spelling)
        domain = own.domain
        if spelling is Spelling.HOST_CASE:
            domain = Domain(_IN_ANY_HOST, _some(_IN_ANY_HOST))
        elif spelling is Spelling.PATH_NORMALIZATION:
            own.leave_out_languages(_NOT_NORMAL[PathNormalization.DECODE_AND_MERGE_SLASHES])
        other = TextAxis(self.circuit, domain, always=self._http)
        self._respellings.append(Respelling(own, other, spell))

        def literal(predicate: Predicate) -> int:
            attribute = predicate.attribute
            header = attribute.key == "request.headers" and attribute.argument[0] == keys[1]
            if not self._http or (attribute.key != keys[0] and not header):
                return self.literal(predicate)
            return other.test(predicate.matcher)

        return literal

    def _spelt(self, spelling: Spelling) -> tuple[tuple[str, str], TextAxis, Spell]:
        """The attribute and the header that read what is spelt otherwise, its axis, and how."""
        match spelling:
            case Spelling.METHOD_CASE:
                return ("request.method", ":method"), self._method, in_another_case
            case Spelling.HOST_CASE:
                # Hosts are compared in lower case; only as a header is one compared as it is written.
                return ("", ":authority"), self._host, in_another_case
            case _:
                return ("request.path", ":path"), self._path, with_other_slashes(self._normalization)

    def _with_more_lines(self, predicate: Predicate) -> int:
        attribute = predicate.attribute
        if not self._http or attribute.key != "request.headers" or attribute.argument[0].startswith(":"):
            return self.literal(predicate)
        self.literal(predicate)
        name = attribute.argument[0]
        if name not in self._repeated:
            more = self._repeated[name] = TextAxis(self.circuit, _HEADER_TEXT, many=True)
            own = self._headers[name]
            self.circuit.imply(more.there, own.there)
            self.circuit.imply(own.there, more.there)
        self.circuit.imply(self._headers[name].test(predicate.matcher), self._repeated[name].test(predicate.matcher))
        return self._repeated[name].test(predicate.matcher)

    # Cases ------------------------------------------------------------------------------------------------------------

    def _axes(self) -> Iterable[TextAxis]:
        yield from (self._trust_domain, self._namespace, self._account, self._other)
        yield from (self._path, self._query, self._method, self._host, self._scheme, self._sni)
        yield from self._headers.values()
        yield from self._repeated.values()
        yield from (each.other for each in self._respellings)
        yield from (self._issuer, self._subject)
        yield from self._claims.values()
        for both in self._metadata.values():
            yield from both

    def settle(self) -> None:
        """Say what can hold together, of all the literals that were asked for."""
        if self._settled:
            return
        self._settled = True
        if not self._odd:
            # To look for namespaces anywhere in an identity costs a hundred times as much, and few have any there.
            self._other.leave_out("/ns/", (Namespace, ServiceAccount))
        for axis in self._axes():
            axis.settle()
        for address in (self._source, self._remote, self._destination):
            address.settle()
        self._port.settle()

    def find(self, *literals: int, simplest: bool = False) -> Case | None:
        """A request for which all of `literals` hold; nothing if there is none, and then there is none.

        The `simplest` has as few facts as can be: no token, no header and so on, where one will do without.
        """
        self.settle()
        assumed = [literal for literal in literals if literal != TRUE]
        if FALSE in assumed or (model := self._model(assumed)) is None:
            return None
        if simplest:
            for fact in self._facts():
                if (model[abs(fact)] > 0) == (fact > 0):
                    assumed.append(fact)
                elif (simpler := self._model([*assumed, fact])) is not None:
                    model = simpler
                    assumed.append(fact)
        return self._case(model)

    def _facts(self) -> Iterable[int]:
        """What a request would rather be, the most important first."""
        optional = [*self._claims.values(), *self._headers.values(), self._query, self._sni, self._other]
        yield from (-axis.there for axis in optional)
        yield -self.token
        yield from (-axis.there for both in self._metadata.values() for axis in both)
        yield from (-axis.there for axis in (self._remote, self._destination, self._source))

    def possible(self, *literals: int) -> bool:
        """Whether any request meets all of `literals`."""
        self.settle()
        return FALSE not in literals and self._model([each for each in literals if each != TRUE]) is not None

    def core(self) -> list[int]:
        """Those of the literals that were asked about last, in vain, that no request meets together."""
        return self.circuit.core()

    def _model(self, assumed: Sequence[int]) -> list[int] | None:
        """A model in which every axis has a value; what the clauses did not tell is learnt on the way."""
        while (model := self.circuit.solve(assumed)) is not None:
            learnt = [found for axis in self._axes() if isinstance(found := axis.values(model), list)]
            learnt += [found for each in self._respellings if isinstance(found := each.values(model), list)]
            if not learnt:
                return model
            for contradiction in learnt:
                self.circuit.require([-literal for literal in contradiction])
        return None

    def _case(self, model: list[int]) -> Case:
        def one(axis: TextAxis) -> str | None:
            found = axis.values(model)
            return found[0] if isinstance(found, tuple) and found else None

        allowed = frozenset(name for name, literal in self._authorizers.items() if model[literal] > 0)
        facts = {**self._connection(model, one), **self._request(model, one)}
        if not self._respellings and not self._repeated:
            return Case(Attributes(**facts), allowed, model)
        spelt = dict(facts)
        for each in self._respellings:
            pair = each.values(model)
            if isinstance(pair, tuple):
                name = {id(self._method): "method", id(self._host): "host", id(self._path): "path"}[id(each.one)]
                rest = str(facts[name]).removeprefix(one(each.one) or "")
                facts[name], spelt[name] = pair[0] + rest, pair[1] + rest
        for name, more in self._repeated.items():
            values = more.values(model)
            if isinstance(values, tuple) and name in facts["headers"]:
                lines = tuple(dict.fromkeys((*facts["headers"][name], *values)))
                spelt["headers"] = {**spelt["headers"], name: lines}
        return Case(Attributes(**facts), allowed, model, Attributes(**spelt))

    def _connection(self, model: list[int], one: _One) -> dict[str, Any]:
        return {
            "protocol": self.protocol,
            "identities": self._identities(one),
            "source_ip": self._source.value(model),
            "remote_ip": self._remote.value(model),
            "destination_ip": self._destination.value(model),
            "destination_port": self._port.value(model),
            "sni": one(self._sni),
            "metadata": self._filters(model, one),
        }

    def _request(self, model: list[int], one: _One) -> dict[str, Any]:
        if not self._http:
            return {}
        query = one(self._query)
        path = one(self._path) or "/"
        return {
            "method": one(self._method),
            "path": path if query is None else f"{path}?{query}",
            "host": one(self._host),
            "scheme": one(self._scheme),
            "headers": {
                name: values
                for name, axis in self._headers.items()
                if isinstance(values := axis.values(model), tuple) and values
            },
            "claims": self._token(model, one),
        }

    def _identities(self, one: _One) -> tuple[str, ...]:
        other = one(self._other)
        if other is not None:
            return (other,)
        domain = one(self._trust_domain)
        if domain is None:
            return ()
        return (f"spiffe://{domain}/ns/{one(self._namespace)}/sa/{one(self._account)}",)

    def _token(self, model: list[int], one: _One) -> dict[str, object] | None:
        if self.token == FALSE or model[self.token] < 0:
            return None
        claims: dict[str, Any] = {"iss": one(self._issuer)}
        if (subject := one(self._subject)) is not None:
            claims["sub"] = subject
        for names, axis in self._claims.items():
            values = axis.values(model)
            if not isinstance(values, tuple) or not values:
                continue
            inner: dict[str, Any] = claims
            for name in names[:-1]:
                inner = inner.setdefault(name, {})
            inner[names[-1]] = values[0] if len(values) == 1 and " " not in values[0] else list(values)
        return claims

    def _filters(self, model: list[int], one: _One) -> dict[str, dict[str, object]] | None:
        found: dict[str, dict[str, object]] = {}
        for (name, key), (text, items) in self._metadata.items():
            values = items.values(model)
            if (value := one(text)) is not None:
                found.setdefault(name, {})[key] = value
            elif isinstance(values, tuple) and values:
                found.setdefault(name, {})[key] = list(values)
        return found or None
