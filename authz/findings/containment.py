"""Containment: whether one matcher matches all that another does, or nothing that it does.

Both are told by the shape of the two alone. What says yes is right; what says no may only not have been seen: a union of several
that covers one, for instance. No value is taken to have a line break in it.
"""

import re

from authz.matcher import (
    SPIFFE,
    TEMPLATE_OPERATORS,
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
)

__all__ = ["TEMPLATE_OPERATOR", "covers", "disjoint"]

TEMPLATE_OPERATOR = re.compile(r"(\{\*\*?\})")
"""An operator of a path template; splitting by it gives literals and operators in turn."""

_SEGMENT = re.compile(f"(?:{TEMPLATE_OPERATORS['{*}']})")
_REST = re.compile(f"(?:{TEMPLATE_OPERATORS['{**}']})")


def covers(wide: Matcher, narrow: Matcher) -> bool:  # noqa: C901, PLR0912  # a case for each kind
    """Whether every value that `narrow` matches is one that `wide` matches."""
    if wide == narrow:
        return True
    match narrow:
        case Exact(value):
            return matches(wide, value)
        case Port():
            return False
        case Cidr(network):
            return isinstance(wide, Cidr) and _contains(wide, network.version, int(network[0]), int(network[-1]))
        case IssuedTo(issuer, subject):
            return isinstance(wide, IssuedTo) and covers(wide.issuer, issuer) and covers(wide.subject, subject)
        case InList(inner):
            return isinstance(wide, InList) and covers(wide.matcher, inner)
        case Exists():
            return False
        case Present():
            return isinstance(wide, Exists)
        case Prefix(start):
            match wide:
                case Exists():
                    return True
                case Present():
                    return start != ""
                case Prefix(other):
                    return start.startswith(other)
                case Namespace():
                    return matches(wide, start)
                case _:
                    return False
        case Suffix(end):
            match wide:
                case Exists():
                    return True
                case Present():
                    return end != ""
                case Suffix(other):
                    return end.endswith(other)
                case _:
                    return False
        case SpiffeSuffix(end):
            match wide:
                case Exists() | Present():
                    return True
                case Prefix(other):
                    return SPIFFE.startswith(other)
                case SpiffeSuffix(other) | Suffix(other):
                    return end.endswith(other)
                case Namespace():
                    return matches(wide, end)
                case _:
                    return False
        case Template(value):
            return _covers_template(wide, value)
        case Namespace() | ServiceAccount() | TrustDomainPattern():
            return _covers_identities(wide, narrow)


def _contains(wide: Cidr, version: int, first: int, last: int) -> bool:
    network = wide.network
    return network.version == version and int(network[0]) <= first and last <= int(network[-1])


def _covers_identities(wide: Matcher, narrow: Namespace | ServiceAccount | TrustDomainPattern) -> bool:
    match wide, narrow:
        case ((Exists() | Present()), _):
            return True
        case Namespace(), ServiceAccount(namespace, _):
            return matches(wide, f"/ns/{namespace}/")
        case Namespace(), Namespace((name,)):
            return matches(wide, f"/ns/{name}/")
        case Namespace(("", "")), Namespace():
            return True
        case Namespace((start, "")), Namespace((other, *_)):
            return other.startswith(start)
        case Namespace(("", end)), Namespace((*_, other)):
            return other.endswith(end)
        case Prefix(start), (ServiceAccount() | TrustDomainPattern()):
            return SPIFFE.startswith(start) or (
                isinstance(narrow, TrustDomainPattern) and (SPIFFE + narrow.prefix).startswith(start)
            )
        case TrustDomainPattern(prefix, suffix), TrustDomainPattern(other_prefix, other_suffix):
            return other_prefix.startswith(prefix) and other_suffix.endswith(suffix)
        case _:
            return False


def _covers_template(wide: Matcher, value: str) -> bool:
    first, *_, last = TEMPLATE_OPERATOR.split(value)
    match wide:
        case Exists() | Present():
            return True
        case Prefix(start):
            return first.startswith(start)
        case Suffix(end):
            return last.endswith(end)
        case Template(other):
            return _covers_segments(other.split("/"), value.split("/"))
        case _:
            return False


def _covers_segments(wide: list[str], narrow: list[str]) -> bool:
    for position, segment in enumerate(wide):
        if segment == "{**}":
            # Only the last one is looked at; a `{**}` that others follow may take any number of them.
            rest = "/".join(narrow[position:])
            return (
                position == len(wide) - 1
                and position < len(narrow)
                and _REST.fullmatch(_without_operators(rest)) is not None
            )
        if position >= len(narrow):
            return False
        other = narrow[position]
        if segment == "{*}":
            if other != "{*}" and (other == "{**}" or not _SEGMENT.fullmatch(other)):
                return False
        elif segment != other:
            return False
    return len(wide) == len(narrow)


def _without_operators(text: str) -> str:
    return TEMPLATE_OPERATOR.sub("", text)


def disjoint(one: Matcher, other: Matcher) -> bool:
    """Whether no value is matched by both."""
    match one, other:
        case Exact(value), _:
            return not matches(other, value)
        case _, Exact(value):
            return not matches(one, value)
        case Prefix(start), Prefix(other_start):
            return not start.startswith(other_start) and not other_start.startswith(start)
        case (Suffix(end), Suffix(other_end)) | (SpiffeSuffix(end), SpiffeSuffix(other_end)):
            return not end.endswith(other_end) and not other_end.endswith(end)
        case Template(value), (Prefix() | Template()):
            return disjoint(Prefix(TEMPLATE_OPERATOR.split(value)[0]), other)
        case Prefix(), Template(value):
            return disjoint(one, Prefix(TEMPLATE_OPERATOR.split(value)[0]))
        case Cidr(network), Cidr(other_network):
            return network.version != other_network.version or not network.overlaps(other_network)
        case Port(number), Port(other_number):
            return number != other_number
        case IssuedTo(issuer, subject), IssuedTo(other_issuer, other_subject):
            return disjoint(issuer, other_issuer) or disjoint(subject, other_subject)
        case _:
            return False
