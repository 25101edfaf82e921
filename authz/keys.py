"""The attribute registry: what a policy can read.

The fields of `from` and `to` and the keys of `when` read the same attributes, so each stands here once: `principals` is
`source.principal`, `paths` is `request.path`. To add a key, add one `AttributeKey` to the registry.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from authz import values
from authz.attributes import Attributes, Issued, ListItem, Value
from authz.errors import MalformedKeyError, UnknownKeyError
from authz.matcher import Matcher
from authz.values import Scope

__all__ = [
    "KEYS",
    "OPERATION_FIELDS",
    "SOURCE_FIELDS",
    "Argument",
    "Attribute",
    "AttributeKey",
    "key_of",
    "resolve",
]


class Argument(Enum):
    """What follows the name of a key."""

    NONE = ""
    NAME = "[name]"
    PATH = "[name][name]…"
    FILTER = "filter[name]"


class Use(Enum):
    """Where a key may be written."""

    WHEN = "when"
    FIELD = "field"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One thing that can be read: a key, with its argument where it takes one."""

    key: str
    argument: tuple[str, ...] = ()

    def read(self, attributes: Attributes) -> tuple[Value, ...]:
        """The values it has in `attributes`; none where it is absent."""
        return KEYS[self.key].read(attributes, self.argument)

    def matchers(self, value: str, scope: Scope) -> tuple[Matcher, ...]:
        """What `value` in a policy means: the attribute matches when one of the matchers does.

        Raises:
            UnsupportedValueError: The value means nothing here.
        """
        return KEYS[self.key].matchers(value, scope)

    @property
    def http_only(self) -> bool:
        """Whether it does not exist on TCP connections."""
        return KEYS[self.key].http_only


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeKey:
    """An entry of the registry.

    `names` are those under which a request may have a value, where the key takes a name: under any other it is absent. Those
    of pseudo-headers are left out.
    """

    name: str
    summary: str
    example: str
    read: Callable[[Attributes, tuple[str, ...]], tuple[Value, ...]]
    matchers: Callable[[str, Scope], tuple[Matcher, ...]]
    argument: Argument = Argument.NONE
    names: Callable[[Attributes], Collection[str]] | None = None
    http_only: bool = False
    use: Use = Use.WHEN


# What is read -----------------------------------------------------------------------------------------------------


def _read_identities(attributes: Attributes, _: tuple[str, ...]) -> tuple[Value, ...]:
    return attributes.identities


def _read_source_ip(attributes: Attributes, _: tuple[str, ...]) -> tuple[Value, ...]:
    return () if attributes.source_ip is None else (attributes.source_ip,)


def _read_remote_ip(attributes: Attributes, _: tuple[str, ...]) -> tuple[Value, ...]:
    return () if attributes.remote_ip is None else (attributes.remote_ip,)


def _read_destination_ip(attributes: Attributes, _: tuple[str, ...]) -> tuple[Value, ...]:
    return () if attributes.destination_ip is None else (attributes.destination_ip,)


def _read_destination_port(attributes: Attributes, _: tuple[str, ...]) -> tuple[Value, ...]:
    return () if attributes.destination_port is None else (attributes.destination_port,)


def _read_sni(attributes: Attributes, _: tuple[str, ...]) -> tuple[Value, ...]:
    # A handshake without a server name, or none at all: an empty name matches nothing. Envoy's TLS inspector lowers the
    # name before RBAC sees it, and hands it to ext_authz as the client wrote it: compared so, `API.shop` passed a DENY.
    return (values.ascii_lower(attributes.sni),) if attributes.sni else ()


def _read_host(attributes: Attributes, _: tuple[str, ...]) -> tuple[Value, ...]:
    return () if attributes.host is None else (values.ascii_lower(attributes.host),)


def _read_method(attributes: Attributes, _: tuple[str, ...]) -> tuple[Value, ...]:
    return () if attributes.method is None else (attributes.method,)


def _read_path(attributes: Attributes, _: tuple[str, ...]) -> tuple[Value, ...]:
    # Cut by hand, never by a URL parser: one that takes `//admin` for a host lost a path (CVE-2026-26205).
    return () if attributes.path is None else (attributes.path.partition("?")[0].partition("#")[0],)


def _read_header(attributes: Attributes, argument: tuple[str, ...]) -> tuple[Value, ...]:
    match argument[0]:
        case ":path":
            value = attributes.path
        case ":method":
            value = attributes.method
        case ":authority":
            value = attributes.host
        case ":scheme":
            value = attributes.scheme
        case name:
            return attributes.headers.get(name, ())
    return () if value is None else (value,)


def _header_names(attributes: Attributes) -> Collection[str]:
    return attributes.headers.keys()


def _read_issued(attributes: Attributes, _: tuple[str, ...]) -> tuple[Value, ...]:
    claims = attributes.claims or {}
    match (claims.get("iss"), claims.get("sub")):
        case (str() as issuer, str() as subject):
            return (Issued(issuer, subject),)
        case _:
            return ()


def _read_claim(attributes: Attributes, argument: tuple[str, ...]) -> tuple[Value, ...]:
    found: object = attributes.claims
    for name in argument:
        # A claim set read from JSON is a `dict`; asking that first is a third of the cost of reading a claim.
        found = found.get(name) if type(found) is dict or isinstance(found, Mapping) else None
    # Numbers, booleans, objects and null never match anything (semantics 2.7).
    match found:
        case str():
            return (found,)
        case list() | tuple():
            return tuple([item for item in found if isinstance(item, str)])
        case _:
            return ()


def _claim_names(attributes: Attributes) -> Collection[str]:
    return (attributes.claims or {}).keys()


def _read_audience(attributes: Attributes, _: tuple[str, ...]) -> tuple[Value, ...]:
    return _read_claim(attributes, ("aud",))


def _read_presenter(attributes: Attributes, _: tuple[str, ...]) -> tuple[Value, ...]:
    return _read_claim(attributes, ("azp",))


def _read_metadata(attributes: Attributes, argument: tuple[str, ...]) -> tuple[Value, ...]:
    found = (attributes.metadata or {}).get(argument[0], {}).get(argument[1])
    match found:
        case str():
            return (found,)
        case list() | tuple():
            return tuple(ListItem(item) for item in found if isinstance(item, str))
        case _:
            return ()


def _filter_names(attributes: Attributes) -> Collection[str]:
    return (attributes.metadata or {}).keys()


# The registry ---------------------------------------------------------------------------------------------------------

_REGISTRY = (
    AttributeKey(
        name="source.principal",
        summary="who calls, by the names in its certificate, written without `spiffe://`",
        example="cluster.local/ns/shop/sa/web",
        read=_read_identities,
        matchers=values.principal,
    ),
    AttributeKey(
        name="source.namespace",
        summary="the namespace in the caller's identity",
        example="shop",
        read=_read_identities,
        matchers=values.namespace,
    ),
    AttributeKey(
        name="source.serviceAccount",
        summary="the service account in the caller's identity, of the policy's namespace unless it names one",
        example="shop/web",
        read=_read_identities,
        matchers=values.service_account,
    ),
    AttributeKey(
        name="source.trustDomain",
        summary="the trust domain in the caller's identity",
        example="cluster.local",
        read=_read_identities,
        matchers=values.trust_domain,
    ),
    AttributeKey(
        name="source.ip",
        summary="the address of the connection's peer",
        example="10.1.0.0/16",
        read=_read_source_ip,
        matchers=values.cidr,
    ),
    AttributeKey(
        name="remote.ip",
        summary="the address of the client after the PROXY protocol and trusted `x-forwarded-for`",
        example="198.51.100.0/24",
        read=_read_remote_ip,
        matchers=values.cidr,
    ),
    AttributeKey(
        name="request.auth.principal",
        summary="who the verified token speaks for, as `issuer/subject`",
        example="https://idp.example/alice",
        read=_read_issued,
        matchers=values.request_principal,
        http_only=True,
    ),
    AttributeKey(
        name="request.auth.audiences",
        summary="the verified token's `aud` claim",
        example="shop",
        read=_read_audience,
        matchers=values.text,
        http_only=True,
    ),
    AttributeKey(
        name="request.auth.presenter",
        summary="the verified token's `azp` claim",
        example="web-client",
        read=_read_presenter,
        matchers=values.text,
        http_only=True,
    ),
    AttributeKey(
        name="request.auth.claims",
        summary="a claim of the verified token, nested ones by a name each",
        example="buyer",
        read=_read_claim,
        matchers=values.text,
        argument=Argument.PATH,
        names=_claim_names,
        http_only=True,
    ),
    AttributeKey(
        name="request.headers",
        summary="a request header, each of its values on its own",
        example="beta",
        read=_read_header,
        matchers=values.header,
        argument=Argument.NAME,
        names=_header_names,
        http_only=True,
    ),
    AttributeKey(
        name="destination.ip",
        summary="the local address of the connection at the proxy",
        example="10.0.0.9",
        read=_read_destination_ip,
        matchers=values.cidr,
    ),
    AttributeKey(
        name="destination.port",
        summary="the local port of the connection at the proxy",
        example="8080",
        read=_read_destination_port,
        matchers=values.port,
    ),
    AttributeKey(
        name="connection.sni",
        summary="the server name the client asked for in the TLS handshake",
        example="api.example.com",
        read=_read_sni,
        matchers=values.text,
    ),
    AttributeKey(
        name="experimental.envoy.filters.",
        summary="dynamic metadata that another Envoy filter wrote: a string, or `[value]` for an element of a list",
        example="[payments.v1]",
        read=_read_metadata,
        matchers=values.metadata,
        argument=Argument.FILTER,
        names=_filter_names,
    ),
    AttributeKey(
        name="request.host",
        summary="the authority asked for, port included, whatever its case",
        example="api.example.com:8080",
        read=_read_host,
        matchers=values.host,
        http_only=True,
        use=Use.FIELD,
    ),
    AttributeKey(
        name="request.method",
        summary="the HTTP method",
        example="GET",
        read=_read_method,
        matchers=values.header,
        http_only=True,
        use=Use.FIELD,
    ),
    AttributeKey(
        name="request.path",
        summary="the path without query and fragment",
        example="/items/*",
        read=_read_path,
        matchers=values.path,
        http_only=True,
        use=Use.FIELD,
    ),
)

KEYS: Mapping[str, AttributeKey] = {key.name: key for key in _REGISTRY}
"""Every attribute by name."""

SOURCE_FIELDS: Mapping[str, Attribute] = {
    "principals": Attribute("source.principal"),
    "request_principals": Attribute("request.auth.principal"),
    "namespaces": Attribute("source.namespace"),
    "service_accounts": Attribute("source.serviceAccount"),
    "trust_domains": Attribute("source.trustDomain"),
    "ip_blocks": Attribute("source.ip"),
    "remote_ip_blocks": Attribute("remote.ip"),
}
"""What each field of `Source` reads; `not_<field>` reads the same."""

OPERATION_FIELDS: Mapping[str, Attribute] = {
    "hosts": Attribute("request.host"),
    "methods": Attribute("request.method"),
    "paths": Attribute("request.path"),
    "ports": Attribute("destination.port"),
}
"""What each field of `Operation` reads; `not_<field>` reads the same."""


def key_of(text: str) -> AttributeKey | None:
    """The registry's entry that a `when` key names, well-formed or not."""
    if (exact := KEYS.get(text)) is not None and exact.use is Use.WHEN and exact.argument is Argument.NONE:
        return exact
    for key in _REGISTRY:
        if key.argument is not Argument.NONE and text.startswith(key.name):
            return key
    return None


def resolve(text: str) -> Attribute:
    """The attribute that a `when` key names.

    Raises:
        UnknownKeyError: No such key.
        MalformedKeyError: A key that takes a name in brackets, without one or with an empty one.
    """
    key = key_of(text)
    if key is None:
        raise UnknownKeyError(text)
    rest = text.removeprefix(key.name)
    match key.argument:
        case Argument.NONE:
            return Attribute(key.name)
        case Argument.NAME:
            return Attribute(key.name, (_header_name(_in_brackets(text, rest)),))
        case Argument.PATH:
            inside = _in_brackets(text, rest)
            names = tuple(inside.split("]["))
            # Not cleanly bracketed: then the whole inside is one name, as Istio reads it.
            if any("[" in name or "]" in name for name in names):
                return Attribute(key.name, (inside,))
            if "" in names:
                raise MalformedKeyError(text)
            return Attribute(key.name, names)
        case Argument.FILTER:
            filter_name, bracket, inner = rest.partition("[")
            if not filter_name:
                raise MalformedKeyError(text)
            return Attribute(key.name, ("envoy.filters." + filter_name, _in_brackets(text, bracket + inner)))


def _in_brackets(text: str, rest: str) -> str:
    if len(rest) < 3 or not rest.startswith("[") or not rest.endswith("]"):
        raise MalformedKeyError(text)
    return rest[1:-1]


def _header_name(name: str) -> str:
    lower = values.ascii_lower(name)
    # Envoy keeps Host under its HTTP/2 name, whichever of the two a policy says.
    return ":authority" if lower == "host" else lower
