"""Wording: what an explanation says of one clause, in the words of ward."""

from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv6Address

from authz.attributes import Issued, ListItem, Value
from authz.explain import ClauseReport
from authz.secrecy import MASK
from parser.ward_printer import clause as ward_clause
from parser.ward_printer import print_values

__all__ = ["asked", "attribute_name", "change", "held", "is_meaningless", "seen", "seen_values"]

_HEADERS = "request.headers"
_CLAIMS = ("request.auth.claims", "request.auth.audiences", "request.auth.presenter")
# They read the whole identity of the caller.
_OF_IDENTITY = frozenset({"source.namespace", "source.serviceAccount", "source.trustDomain"})
_ANY = ("*",)
_FEW = 4
_LONGEST = 80


def attribute_name(clause: ClauseReport) -> str:
    """What a clause looks at, as ward and the keys of `when` call it."""
    if clause.attribute is None or clause.field.startswith(clause.attribute.key):
        return clause.field
    return clause.attribute.key


def asked(clause: ClauseReport) -> str:
    """What it asks for: `request.path in ["/items"]`."""
    wanted, unwanted = ((), clause.values) if clause.negated else (clause.values, ())
    return ward_clause(attribute_name(clause), wanted, unwanted)


def seen(clause: ClauseReport, secret_headers: Collection[str]) -> str:
    """What it saw: `is absent`, or `is "/admin"`. One that asks for nothing says so instead."""
    if is_meaningless(clause):
        return f"means nothing here: {_why_meaningless(clause)}"
    values = seen_values(clause, secret_headers)
    if not values:
        return "is absent, or no text" if _is_claim(clause) else "is absent"
    of = "is that of" if clause.attribute is not None and clause.attribute.key in _OF_IDENTITY else "is"
    return f"{of} {print_values(map(_cut, values))}"


def _is_claim(clause: ClauseReport) -> bool:
    """Whether it reads what may be there and yet have nothing to compare: a number, a truth value, an object."""
    return clause.attribute is not None and clause.attribute.key.startswith(_CLAIMS)


def is_meaningless(clause: ClauseReport) -> bool:
    """Whether none of its values can be expressed for this request, so that a rule that does not allow asks for nothing by it."""
    return bool(clause.values) and set(clause.meaningless) == set(clause.values)


def _why_meaningless(clause: ClauseReport) -> str:
    if clause.attribute is None:
        return "there is no such key"
    return "it is only known for HTTP" if clause.attribute.http_only else "no value of it can be read"


def seen_values(clause: ClauseReport, secret_headers: Collection[str]) -> list[str]:
    """The values that it saw as text, with a mask for those of headers that are nobody's to see, and for what a query holds."""
    attribute = clause.attribute
    if attribute is None or attribute.key != _HEADERS:
        return list(map(_text, clause.seen))
    (name,) = attribute.argument
    if name in secret_headers:
        return [MASK] * len(clause.seen)
    if name == ":path":
        return [_without_query(_text(value)) for value in clause.seen]
    return list(map(_text, clause.seen))


def _without_query(path: str) -> str:
    before, mark, _ = path.partition("?")
    return f"{before}?{MASK}" if mark else before


def held(clause: ClauseReport, secret_headers: Collection[str]) -> str:
    """What a clause that holds saw, and what it asks for: `request.path is "/items", in ["/items"]`."""
    said = f"{attribute_name(clause)} {seen(clause, secret_headers)}"
    if is_meaningless(clause) or clause.values in (_ANY, tuple(seen_values(clause, secret_headers))):
        return said
    return f"{said}, {'not ' if clause.negated else ''}in [{_few(clause.values)}]"


def change(clause: ClauseReport, secret_headers: Collection[str], *, trust_domains: Sequence[str] = ()) -> str:
    """What a clause that fails saw, and what it would have to see: `request.path is "/x", must be in ["/items"]`.

    `trust_domains` are those of the mesh: a principal stands for all of them, though not always for the one that it names.
    """
    if clause.values == _ANY:
        demand = "must be absent" if clause.negated else "must be present"
    else:
        demand = f"must {'not ' if clause.negated else ''}be in [{_few(clause.values)}]"
    said = f"{attribute_name(clause)} {seen(clause, secret_headers)}, {demand}"
    if not clause.negated and {f"spiffe://{value}" for value in clause.values} & set(clause.seen):
        said += f", where `cluster.local` stands for {print_values(trust_domains)}"
    return said


def _few(values: Sequence[str]) -> str:
    if len(values) <= _FEW:
        return print_values(map(_cut, values))
    return f"{print_values(map(_cut, values[: _FEW - 1]))}, … {len(values) - _FEW + 1} more"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _text(value: Value) -> str:
    match value:
        case Issued(issuer, subject):
            return f"{issuer}/{subject}"
        case ListItem(text):
            return f"[{text}]"
        case IPv4Address() | IPv6Address() | int():
            return str(value)
        case str():
            return value
