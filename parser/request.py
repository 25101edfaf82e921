"""The request document: one request in a file or a line of JSON, to the facts that are decided, and back.

It is read in `check`, in policy tests and in recorded traffic, and written by the server's decision log: the same words
everywhere. What is not known is an error, for a misspelt fact would silently be an absent one.

There is one reader that says what documents mean, good ones and bad ones. Recorded traffic comes by the million and nearly all of
it in one shape, so that shape has a reader of its own, which leaves whatever is unusual to the other. Where it answers, it answers
the same.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType

from authz.attributes import Address, Attributes, Protocol
from authz.record import record
from authz.span import Path
from authz.values import ascii_lower
from authz.workload import ServiceRef

__all__ = ["Destination", "RequestDocument", "RequestError", "UnknownFieldError", "parse_request", "read_any"]


class RequestError(ValueError):
    """A request document that cannot be read: where in it, what is wrong, and what to do."""

    def __init__(self, path: Path, message: str, *, help: str | None = None) -> None:  # noqa: A002  # as in Diagnostic
        super().__init__(f"{_dotted(path)}: {message}" if path else message)
        self.path = path
        self.message = message
        self.help = help


class UnknownFieldError(RequestError):
    """A field that no request document has; `name` is it, and `path` ends with it."""

    def __init__(self, path: Path, name: str, known: frozenset[str]) -> None:
        near = get_close_matches(name, known, n=1)
        super().__init__(
            (*path, name),
            f"unknown field `{name}`",
            help=f"did you mean `{near[0]}`?" if near else f"known are: {', '.join(sorted(known))}",
        )
        self.name = name


@record
class Destination:
    """Where the request goes: the id of a workload, or a namespace with labels, or what the registry finds it by."""

    workload: str | None = None
    namespace: str | None = None
    labels: Mapping[str, str] | None = None
    principal: str | None = None
    address: str | None = None
    service: ServiceRef | None = None


@record
class RequestDocument:
    """One request: its destination and its facts; claims count as verified, and are as the token has them."""

    destination: Destination
    attributes: Attributes


def parse_request(data: object) -> RequestDocument:
    """Read a request document from plain data, as JSON or YAML give it.

    Raises:
        RequestError: It is not one.
    """
    return _read_usual(data) or read_any(data)


def read_any(data: object) -> RequestDocument:
    """As `parse_request`, which says the same and reads what is usual sooner.

    Raises:
        RequestError: It is not one.
    """
    document = _mapping(data, (), _DOCUMENT)
    given = document.get
    connection = _NOTHING if (value := given("connection")) is None else _mapping(value, ("connection",), _CONNECTION)
    protocol = _HTTP if (value := connection.get("protocol")) is None else _protocol(value)
    destination = (
        _NOTHING if (value := given("destination")) is None else _mapping(value, ("destination",), _DESTINATION)
    )
    source = _NOTHING if (value := given("source")) is None else _mapping(value, ("source",), _SOURCE)
    destination_ip = None if (value := destination.get("ip")) is None else _ip(value, ("destination", "ip"))
    source_ip = None if (value := source.get("ip")) is None else _ip(value, ("source", "ip"))
    remote_ip = source_ip if (value := source.get("remoteIp")) is None else _ip(value, ("source", "remoteIp"))
    identities = () if (value := source.get("principal")) is None else _identities(value)
    port = None if (value := destination.get("port")) is None else _port(value)
    sni = None if (value := connection.get("sni")) is None else _required_text(value, ("connection", "sni"))
    jwt = given("jwt")
    claims, token = (None, None) if jwt is None else _jwt(jwt)
    request = given("request")
    if protocol is _HTTP:
        method, path, host, scheme, headers = _http(request)
        if token is not None:
            headers = _with_token(headers, _required_text(token, ("jwt", "token")))
    else:
        for name, value in (("request", request), ("jwt", jwt)):
            if value is not None:
                raise RequestError((name,), "a TCP connection has none", help="drop it, or drop `protocol: tcp`")
        method = path = host = scheme = None
        headers = {}
    return RequestDocument(
        destination=_destination(given("workload"), destination),
        attributes=Attributes(
            protocol=protocol,
            identities=identities,
            source_ip=source_ip,
            remote_ip=remote_ip,
            destination_ip=destination_ip,
            destination_port=port,
            sni=sni,
            method=method,
            path=path,
            host=host,
            scheme=scheme,
            headers=headers,
            claims=claims,
        ),
    )


def _read_usual(data: object) -> RequestDocument | None:  # noqa: C901, PLR0912  # straight through, or out
    """An HTTP request to a named workload, by a caller with a SPIFFE id if with any, a line for each header; else none.

    Fields are counted rather than looked up among those that are known: if there are more than were read, one is unusual.
    """
    if type(data) is not dict:
        return None
    given = data.get
    workload, request, source, jwt = given("workload"), given("request"), given("source"), given("jwt")
    if type(workload) is not str or type(request) is not dict:
        return None
    if len(data) != 2 + (source is not None) + (jwt is not None):
        return None
    given = request.get
    method, path, host, lines = given("method"), given("path"), given("host"), given("headers")
    if type(method) is not str or type(path) is not str or type(host) is not str:
        return None
    if len(request) != 3 + (lines is not None):
        return None
    headers: dict[str, tuple[str, ...]] = {}
    if lines is not None:
        if type(lines) is not dict:
            return None
        for name, line in lines.items():
            if type(line) is not str or type(name) is not str or (lower := _header_name(name)) is None:
                return None
            headers[lower] = (line,)
        if len(headers) != len(lines):
            return None
    identities: tuple[str, ...] = ()
    source_ip = None
    if source is not None:
        if type(source) is not dict:
            return None
        principal, ip = source.get("principal"), source.get("ip")
        if len(source) != (principal is not None) + (ip is not None):
            return None
        if principal is not None:
            if type(principal) is not str or principal[:9] != "spiffe://":
                return None
            identities = (principal,)
        if ip is not None:
            if type(ip) is not str:
                return None
            try:
                source_ip = _address(ip)
            except ValueError:
                return None
    claims = None
    if jwt is not None and (type(jwt) is not dict or len(jwt) != 1 or type(claims := jwt.get("claims")) is not dict):
        return None
    return RequestDocument(
        destination=_named(workload),
        attributes=Attributes(
            identities=identities,
            source_ip=source_ip,
            remote_ip=source_ip,
            method=method,
            path=path,
            host=host,
            headers=headers,
            claims=claims,
        ),
    )


_DOCUMENT = frozenset({"workload", "destination", "source", "connection", "request", "jwt"})
_CONNECTION = frozenset({"protocol", "sni"})
_DESTINATION = frozenset({"namespace", "labels", "ip", "port", "principal", "service", "serviceEntry"})
_SOURCE = frozenset({"principal", "ip", "remoteIp"})
_REQUEST = frozenset({"method", "path", "host", "scheme", "headers"})
_JWT = frozenset({"token", "claims"})
_NOTHING: Mapping[str, object] = MappingProxyType({})
# Reading a member off its class costs as much as reading a fact.
_HTTP = Protocol.HTTP


def _destination(workload: object, destination: Mapping[str, object]) -> Destination:
    if not destination and isinstance(workload, str):
        return _named(workload)
    address = destination.get("ip")
    found = Destination(
        workload=_text(workload, ("workload",)),
        namespace=_text(destination.get("namespace"), ("destination", "namespace")),
        labels=_labels(destination.get("labels")),
        principal=_text(destination.get("principal"), ("destination", "principal")),
        address=_canonical(address) if isinstance(address, str) else None,
        service=_service(destination),
    )
    if found.workload is not None and found.namespace is not None:
        raise RequestError(
            ("destination", "namespace"), "the destination is named by `workload` already", help="drop one of the two"
        )
    if found.labels is not None and found.namespace is None:
        raise RequestError(("destination", "labels"), "labels without a `namespace`", help="give the namespace, too")
    if found.workload is None and found.namespace is None and found.principal is None and found.address is None:
        raise RequestError(
            (),
            "no destination",
            help="name one with `workload: namespace/name`, or spell it out: `destination: {namespace: …, labels: {…}}`",
        )
    return found


@lru_cache(maxsize=16_384)
def _named(workload: str) -> Destination:
    return Destination(workload=workload)


def _service(destination: Mapping[str, object]) -> ServiceRef | None:
    """The service whose chain of a waypoint the request is in."""
    given = [name for name in ("service", "serviceEntry") if destination.get(name) is not None]
    if not given:
        return None
    if len(given) > 1:
        raise RequestError(("destination", given[1]), "`service` is given as well", help="drop one of the two")
    path = ("destination", given[0])
    text = _required_text(destination[given[0]], path)
    namespace, slash, name = text.partition("/")
    if not (slash and namespace and name):
        raise RequestError(path, f"{text!r} is no service", help="write `namespace/name`")
    return ServiceRef(namespace=namespace, name=name, external=given[0] == "serviceEntry")


def _labels(value: object) -> Mapping[str, str] | None:
    if value is None:
        return None
    labels = _any_mapping(value, ("destination", "labels"))
    return {name: _required_text(label, ("destination", "labels", name)) for name, label in labels.items()}


def _http(value: object) -> tuple[str | None, str | None, str | None, str | None, Mapping[str, tuple[str, ...]]]:
    """Method, path, host, scheme and headers."""
    if isinstance(value, str):
        # `GET /items?page=2`, as tests write it.
        method, space, path = value.partition(" ")
        if not space or not method or not path.strip():
            raise RequestError(("request",), f"{value!r} is not `METHOD /path`")
        return method, path.strip(), None, None, {}
    given = _mapping(value, ("request",), _REQUEST).get
    if (method_given := given("method")) is None or (path_given := given("path")) is None:
        name = "method" if method_given is None else "path"
        raise RequestError(
            ("request",), f"`{name}` is missing", help="an HTTP request has one; for a connection: `protocol: tcp`"
        )
    return (
        method_given if isinstance(method_given, str) else _required_text(method_given, ("request", "method")),
        path_given if isinstance(path_given, str) else _required_text(path_given, ("request", "path")),
        None if (host := given("host")) is None else _required_text(host, ("request", "host")),
        None if (scheme := given("scheme")) is None else _required_text(scheme, ("request", "scheme")),
        {} if (headers := given("headers")) is None else _headers(headers),
    )


def _headers(value: object) -> dict[str, tuple[str, ...]]:
    headers: dict[str, tuple[str, ...]] = {}
    for name, lines in _any_mapping(value, ("request", "headers")).items():
        if (lower := _header_name(name)) is None:
            raise RequestError(
                ("request", "headers", name),
                f"`{name}` is no header here",
                help="method, path, host and scheme stand beside `headers`, under their own names",
            )
        if isinstance(lines, str):
            values: tuple[str, ...] = (lines,)
        else:
            listed = lines if isinstance(lines, list) else (lines,)
            values = tuple([_required_text(line, ("request", "headers", name)) for line in listed])
        headers[lower] = headers[lower] + values if lower in headers else values
    return headers


@lru_cache(maxsize=16_384)
def _header_name(name: str) -> str | None:
    """The name in lower case; none where it is that of a fact that stands elsewhere."""
    lower = ascii_lower(name)
    return None if lower == "host" or lower.startswith(":") else lower


def _jwt(value: object) -> tuple[Mapping[str, object] | None, object]:
    """What a token says that counts as verified, or else a token that is to be verified."""
    jwt = _mapping(value, ("jwt",), _JWT)
    claims, token = jwt.get("claims"), jwt.get("token")
    if (claims is None) is (token is None):
        help_ = "for a request without a token leave `jwt` out"
        raise RequestError(("jwt",), "give one of `token` and `claims`", help=help_)
    return None if claims is None else _any_mapping(claims, ("jwt", "claims")), token


def _with_token(headers: Mapping[str, tuple[str, ...]], token: str) -> Mapping[str, tuple[str, ...]]:
    """The headers of a request that carries the token where clients put it."""
    if "authorization" in headers:
        raise RequestError(
            ("jwt", "token"), "the request has an `authorization` header as well", help="drop one of the two"
        )
    return {**headers, "authorization": (f"Bearer {token}",)}


def _protocol(value: object) -> Protocol:
    if value == "http":
        return Protocol.HTTP
    if value == "tcp":
        return Protocol.TCP
    raise RequestError(("connection", "protocol"), f"unknown protocol {value!r}", help="`http` or `tcp`")


def _identities(value: object) -> tuple[str]:
    principal = _required_text(value, ("source", "principal"))
    if principal == "":
        raise RequestError(("source", "principal"), "it is empty", help="leave it out for a caller without certificate")
    # What begins with its scheme has one; the rest is for what may be an identity without.
    if not principal.startswith("spiffe://"):
        parts = principal.split("/")
        if len(parts) == 5 and parts[1::2] == ["ns", "sa"]:
            raise RequestError(
                ("source", "principal"), f"{principal!r} has no scheme", help=f"write `spiffe://{principal}`"
            )
    return (principal,)


def _ip(value: object, path: Path) -> Address:
    text = _required_text(value, path)
    try:
        return _address(text)
    except ValueError as error:
        raise RequestError(path, f"{text!r} is not an IP address") from error


# Recorded traffic comes from few addresses, and reading one costs as much as deciding about it.
@lru_cache(maxsize=16_384)
def _address(text: str) -> Address:
    return IPv6Address(text) if ":" in text else IPv4Address(text)


@lru_cache(maxsize=16_384)
def _canonical(address: str) -> str:
    return str(_address(address))


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise RequestError(("destination", "port"), f"{value!r} is not a port", help="a number from 0 to 65535")
    return value


def _text(value: object, path: Path) -> str | None:
    return None if value is None else _required_text(value, path)


def _required_text(value: object, path: Path) -> str:
    if isinstance(value, str):
        return value
    quotable = isinstance(value, (bool, int, float))
    raise RequestError(path, f"expected text, got {_kind(value)}", help=f'quote it: "{value}"' if quotable else None)


def _any_mapping(value: object, path: Path) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise RequestError(path, f"expected a mapping, got {_kind(value)}")
    return value


def _mapping(value: object, path: Path, known: frozenset[str]) -> Mapping[str, object]:
    """The mapping at `path`, whose keys are all `known`; absent and empty are the same."""
    if value is None:
        return {}
    mapping = _any_mapping(value, path)
    if not known.issuperset(mapping):
        raise UnknownFieldError(path, next(str(name) for name in mapping if name not in known), known)
    return mapping


_KINDS: tuple[tuple[type, Callable[[object], str]], ...] = (
    (bool, lambda value: f"the boolean {str(value).lower()}"),
    (int, lambda value: f"the number {value}"),
    (float, lambda value: f"the number {value}"),
    (str, lambda value: f"the text {value!r}"),
    (list, lambda _: "a list"),
    (dict, lambda _: "a mapping"),
)


def _kind(value: object) -> str:
    return next((say(value) for kind, say in _KINDS if isinstance(value, kind)), "nothing")


def _dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)
