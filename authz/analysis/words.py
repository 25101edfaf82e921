"""Words: what a predicate says, as a policy would write it."""

from authz.keys import Attribute
from authz.matcher import (
    SPIFFE,
    Cidr,
    Exact,
    Exists,
    InList,
    IssuedTo,
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
from authz.predicates import Predicate

__all__ = ["key_in_words", "value_in_words"]


def key_in_words(attribute: Attribute) -> str:
    """The key, as a condition names it."""
    if attribute.key == "experimental.envoy.filters.":
        name, inner = attribute.argument
        return f"{attribute.key}{name.removeprefix('envoy.filters.')}[{inner}]"
    return attribute.key + "".join(f"[{name}]" for name in attribute.argument)


def value_in_words(predicate: Predicate) -> str:  # noqa: C901  # one case each
    """The value for which a policy asks by this predicate."""
    match predicate.matcher:
        case Cidr(network):
            return str(network.network_address) if network.num_addresses == 1 else str(network)
        case Port(number):
            return str(number)
        case IssuedTo(issuer, subject):
            return _issued(issuer, subject)
        case InList(inner):
            return f"[{_text(inner)}]"
        case Namespace(pieces):
            return "*".join(pieces)
        case ServiceAccount(namespace, name):
            return f"{namespace}/{name}"
        case TrustDomainPattern(prefix, suffix):
            return f"{prefix}*{suffix}"
        case Template(value):
            return value
        case SpiffeSuffix(value):
            return f"*{value}"
        case Exact() | Prefix() | Suffix() | Present() | Exists() as matcher:
            return _of_key(predicate.attribute.key, _text(matcher))


def _of_key(key: str, text: str) -> str:
    """Identities are written without their scheme, and trust domains without their path."""
    if key == "source.trustDomain":
        return text.removeprefix(SPIFFE).removesuffix("*").removesuffix("/") or "*"
    return text.removeprefix(SPIFFE) if key == "source.principal" else text


def _text(matcher: TextMatcher) -> str:
    match matcher:
        case Exact(value):
            return value
        case Prefix(value):
            return f"{value}*"
        case Suffix(value):
            return f"*{value}"
        case Present() | Exists():
            return "*"


def _issued(issuer: TextMatcher, subject: TextMatcher) -> str:
    match issuer, subject:
        case Present(), Present():
            return "*"
        case Present(), Suffix(value):
            return f"*{value}"
        case Prefix(value), Present():
            return f"{value}*"
        case _:
            return f"{_text(issuer)}/{_text(subject)}"
