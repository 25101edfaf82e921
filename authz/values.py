"""What a value written in a policy means for the attribute it is written for: the matchers it stands for."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from authz.errors import UnsupportedValueError
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
    TextMatcher,
    TrustDomainPattern,
)

__all__ = [
    "Scope",
    "ascii_lower",
    "cidr",
    "header",
    "host",
    "metadata",
    "namespace",
    "path",
    "port",
    "principal",
    "request_principal",
    "service_account",
    "text",
    "trust_domain",
]


@dataclass(frozen=True, slots=True)
class Scope:
    """What the meaning of a value depends on besides its text.

    `namespace` is the policy's. `trust_domains` are the mesh's own and its aliases, the own first (semantics 2.5).
    """

    namespace: str
    trust_domains: tuple[str, ...]


def _affix(value: str) -> TextMatcher:
    # The leading star is looked at first: `*a*` is the suffix `a*`, star and all, and `a*b` is literal (semantics 2.1).
    if value.startswith("*"):
        return Suffix(value[1:])
    if value.endswith("*"):
        return Prefix(value[:-1])
    return Exact(value)


def _text_matcher(value: str) -> TextMatcher:
    return Present() if value == "*" else _affix(value)


def text(value: str, _: Scope) -> tuple[Matcher, ...]:
    """The kinds of 2.1: `*`, `*suffix`, `prefix*`, exact."""
    return (_text_matcher(value),)


def header(value: str, _: Scope) -> tuple[Matcher, ...]:
    """As `text`, but `*` holds for an empty value, too."""
    return (Exists() if value == "*" else _affix(value),)


def host(value: str, scope: Scope) -> tuple[Matcher, ...]:
    """As `header`, whatever the case."""
    return header(ascii_lower(value), scope)


def path(value: str, scope: Scope) -> tuple[Matcher, ...]:
    """As `text`, or a template where it holds `{*}` or `{**}` (semantics 2.4).

    Raises:
        UnsupportedValueError: It is not one.
    """
    if "{*}" not in value and "{**}" not in value:
        return text(value, scope)
    # Envoy refuses the whole listener for a template that Istio let through, so the shape is checked in full here.
    if not _TEMPLATE.fullmatch(value):
        raise UnsupportedValueError(value, "not a path template: each `/segment` is `{*}`, `{**}` or plain text")
    if "{**}" in value and "{" in value.split("{**}", 1)[1]:
        raise UnsupportedValueError(value, "`{**}` is not the last operator of the template")
    return (Template(value),)


# One slash may end it, and is then compared like any other. A star stands only in braces.
_TEMPLATE = re.compile(r"(?:/(?:\{\*\*?\}|[a-zA-Z0-9\-._~%!$&'()+,;:@=]+))+/?")


def cidr(value: str, _: Scope) -> tuple[Matcher, ...]:
    """An address or a range; host bits may be set.

    Raises:
        UnsupportedValueError: It is not one.
    """
    return (Cidr(_network(value)),)


def _network(value: str) -> IPv4Network | IPv6Network:
    address, slash, length = value.partition("/")
    # The standard library also reads netmasks after the slash and zones in the address; Istio reads neither.
    if "%" in address or (slash and not _PREFIX_LENGTH.fullmatch(length)):
        raise UnsupportedValueError(value, "not an IP address or a CIDR range")
    try:
        return ip_network(value, strict=False)
    except ValueError as error:
        raise UnsupportedValueError(value, "not an IP address or a CIDR range") from error


_PREFIX_LENGTH = re.compile(r"0|[1-9][0-9]{0,2}")


def port(value: str, _: Scope) -> tuple[Matcher, ...]:
    """One port.

    Raises:
        UnsupportedValueError: It is not one.
    """
    if not _DIGITS.fullmatch(value) or int(value) > 65535:
        raise UnsupportedValueError(value, "not a port: a number from 0 to 65535, no ranges and no `*`")
    return (Port(int(value)),)


_DIGITS = re.compile(r"[0-9]{1,18}")


def principal(value: str, scope: Scope) -> tuple[Matcher, ...]:
    """An identity without `spiffe://`, in each of the trust domains that it stands for (semantics 2.5)."""
    return tuple(_one_principal(name) for name in _in_trust_domains(value, scope.trust_domains))


def _one_principal(value: str) -> Matcher:
    match _text_matcher(value):
        case Suffix(literal):
            return SpiffeSuffix(literal)
        case Prefix(literal):
            return Prefix(SPIFFE + literal)
        case Exact(literal):
            return Exact(SPIFFE + literal)
        case other:
            return other


def _in_trust_domains(value: str, trust_domains: tuple[str, ...]) -> tuple[str, ...]:
    """A principal of this mesh is one in each of its trust domains; `cluster.local` always names this mesh."""
    parts = value.split("/")
    if len(parts) != 5 or parts[0] == "*":
        return (value,)
    own, rest = parts[0], "/".join(parts[1:])
    if own != "cluster.local" and not any(_alike(own, other) for other in trust_domains):
        return (value,)
    expanded = (
        value if own.startswith("*") and domain.endswith(own[1:]) else f"{domain}/{rest}" for domain in trust_domains
    )
    return tuple(dict.fromkeys(expanded))


def _alike(one: str, other: str) -> bool:
    return other in (one, "*") or _wild(one, other) or _wild(other, one)


def _wild(pattern: str, text: str) -> bool:
    return (pattern.startswith("*") and text.endswith(pattern[1:])) or (
        pattern.endswith("*") and text.startswith(pattern[:-1])
    )


def namespace(value: str, _: Scope) -> tuple[Matcher, ...]:
    """A namespace, with any number of `*` anywhere."""
    return (Namespace(tuple(value.split("*"))),)


def service_account(value: str, scope: Scope) -> tuple[Matcher, ...]:
    """`name` in the policy's namespace, or `namespace/name`.

    Raises:
        UnsupportedValueError: It is not one.
    """
    match value.split("/"):
        case [name] if name:
            return (ServiceAccount(scope.namespace, name),)
        case [namespace, name] if namespace and name:
            return (ServiceAccount(namespace, name),)
        case _:
            raise UnsupportedValueError(value, "not a service account: `name` or `namespace/name`")


def trust_domain(value: str, scope: Scope) -> tuple[Matcher, ...]:
    """A trust domain with at most one `*`; one of the mesh's own stands for all of them."""
    names = scope.trust_domains if value in scope.trust_domains else (value,)
    return tuple(_one_trust_domain(name) for name in dict.fromkeys(names))


def _one_trust_domain(value: str) -> Matcher:
    if value == "*":
        return Prefix(SPIFFE)
    if "*" not in value:
        return Prefix(f"{SPIFFE}{value}/")
    prefix, suffix = value.split("*", 1)
    return TrustDomainPattern(prefix, suffix)


def request_principal(value: str, _: Scope) -> tuple[Matcher, ...]:
    """`issuer/subject`, either with a `*` (semantics 2.6)."""
    # The table of semantics 2.6, row by row. The split is at the last slash, so a subject with a slash in it cannot be named.
    issuer, slash, subject = value.rpartition("/")
    if value == "*":
        return (IssuedTo(Present(), Present()),)
    if value.startswith("*"):
        if not slash:
            return (IssuedTo(Present(), Suffix(value[1:])),)
        return (IssuedTo(Present() if issuer == "*" else Suffix(issuer[1:]), Exact(subject)),)
    if value.endswith("*"):
        if not slash:
            return (IssuedTo(Prefix(value[:-1]), Present()),)
        return (IssuedTo(Exact(issuer), Present() if subject == "*" else Prefix(subject[:-1])),)
    return (IssuedTo(Exact(issuer), Exact(subject)) if slash else IssuedTo(Exact(value), Exact("")),)


def metadata(value: str, _: Scope) -> tuple[Matcher, ...]:
    """As `text` for a string, or `[value]` for an element of a list."""
    if value.startswith("[") and value.endswith("]"):
        return (InList(_text_matcher(value.strip("[]"))),)
    return (_text_matcher(value),)


def ascii_lower(text: str) -> str:
    """`text` with A-Z lowered and nothing else: Unicode's lower case would make a host out of a Kelvin sign."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
