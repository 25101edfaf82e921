"""The request document: one request in a file or a line of JSON, to the facts that are decided, and back.

It is read in `check`, in policy tests and in recorded traffic, and written by the server's decision log: the same words
everywhere. What is not known is an error, for a misspelt fact would silently be an absent one.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from ipaddress import ip_address

from authz.attributes import Address, Attributes, Protocol
from authz.record import record
from authz.span import Path
from authz.values import ascii_lower
from authz.workload import ServiceRef

__all__ = ["Destination", "RequestDocument", "RequestError", "UnknownFieldError", "parse_request"]


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
    document = _mapping(data, (), _DOCUMENT)
    connection = _mapping(document.get("connection"), ("connection",), _CONNECTION)
    protocol = _protocol(connection.get("protocol"))
    destination = _mapping(document.get("destination"), ("destination",), _DESTINATION)
    source = _mapping(document.get("source"), ("source",), _SOURCE)
    destination_ip = _ip(destination.get("ip"), ("destination", "ip"))
    source_ip = _ip(source.get("ip"), ("source", "ip"))
    remote_ip = _ip(source.get("remoteIp"), ("source", "remoteIp"))
    principal = _text(source.get("principal"), ("source", "principal"))
    facts: dict[str, object] = {
        "protocol": protocol,
        "identities": () if principal is None else (_identity(principal),),
        "source_ip": source_ip,
        "remote_ip": source_ip if remote_ip is None else remote_ip,
        "destination_ip": destination_ip,
        "destination_port": _port(destination.get("port"), ("destination", "port")),
        "sni": _text(connection.get("sni"), ("connection", "sni")),
        "claims": _claims(document.get("jwt")),
    }
    if protocol is Protocol.HTTP:
        facts |= _http(document.get("request"))
        if (token := _token(document.get("jwt"))) is not None:
            facts["headers"] = _with_token(facts.get("headers", {}), token)
    else:
        for name in ("request", "jwt"):
            if document.get(name) is not None:
                raise RequestError((name,), "a TCP connection has none", help="drop it, or drop `protocol: tcp`")
    return RequestDocument(
        destination=_destination(document.get("workload"), destination, destination_ip),
        attributes=Attributes(**facts),  # type: ignore[arg-type]  # each value has the type of its field; a dict cannot say so
    )


_DOCUMENT = frozenset({"workload", "destination", "source", "connection", "request", "jwt"})
_CONNECTION = frozenset({"protocol", "sni"})
_DESTINATION = frozenset({"namespace", "labels", "ip", "port", "principal", "service", "serviceEntry"})
_SOURCE = frozenset({"principal", "ip", "remoteIp"})
_REQUEST = frozenset({"method", "path", "host", "scheme", "headers"})
_JWT = frozenset({"token", "claims"})


def _destination(workload: object, destination: Mapping[str, object], address: Address | None) -> Destination:
    found = Destination(
        workload=_text(workload, ("workload",)),
        namespace=_text(destination.get("namespace"), ("destination", "namespace")),
        labels=_labels(destination.get("labels")),
        principal=_text(destination.get("principal"), ("destination", "principal")),
        address=None if address is None else str(address),
        service=_service(destination),
    )
    if found.workload is not None and found.namespace is not None:
        raise RequestError(
            ("destination", "namespace"), "the destination is named by `workload` already", help="drop one of the two"
        )
    if found.labels is not None and found.namespace is None:
        raise RequestError(("destination", "labels"), "labels without a `namespace`", help="give the namespace, too")
    if found.workload is None and found.namespace is None and found.principal is None and address is None:
        raise RequestError(
            (),
            "no destination",
            help="name one with `workload: namespace/name`, or spell it out: `destination: {namespace: …, labels: {…}}`",
        )
    return found


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


def _http(value: object) -> dict[str, object]:
    if isinstance(value, str):
        # `GET /items?page=2`, as tests write it.
        method, space, path = value.partition(" ")
        if not space or not method or not path.strip():
            raise RequestError(("request",), f"{value!r} is not `METHOD /path`")
        return {"method": method, "path": path.strip()}
    request = _mapping(value, ("request",), _REQUEST)
    for name in ("method", "path"):
        if request.get(name) is None:
            raise RequestError(
                ("request",), f"`{name}` is missing", help="an HTTP request has one; for a connection: `protocol: tcp`"
            )
    return {
        "method": _text(request.get("method"), ("request", "method")),
        "path": _text(request.get("path"), ("request", "path")),
        "host": _text(request.get("host"), ("request", "host")),
        "scheme": _text(request.get("scheme"), ("request", "scheme")),
        "headers": _headers(request.get("headers")),
    }


def _headers(value: object) -> dict[str, tuple[str, ...]]:
    headers: dict[str, tuple[str, ...]] = {}
    for name, lines in ({} if value is None else _any_mapping(value, ("request", "headers"))).items():
        lower = ascii_lower(name)
        if lower == "host" or lower.startswith(":"):
            raise RequestError(
                ("request", "headers", name),
                f"`{name}` is no header here",
                help="method, path, host and scheme stand beside `headers`, under their own names",
            )
        values = tuple(lines) if isinstance(lines, list) else (lines,)
        for line in values:
            if not isinstance(line, str):
                _required_text(line, ("request", "headers", name))
        headers[lower] = headers[lower] + values if lower in headers else values
    return headers


def _claims(value: object) -> Mapping[str, object] | None:
    """What a token says that counts as verified."""
    jwt = _mapping(value, ("jwt",), _JWT)
    if value is not None and len([name for name in _JWT if jwt.get(name) is not None]) != 1:
        help_ = "for a request without a token leave `jwt` out"
        raise RequestError(("jwt",), "give one of `token` and `claims`", help=help_)
    claims = jwt.get("claims")
    return None if claims is None else _any_mapping(claims, ("jwt", "claims"))


def _token(value: object) -> str | None:
    """A token that is to be verified."""
    return _text(_mapping(value, ("jwt",), _JWT).get("token"), ("jwt", "token"))


def _with_token(headers: object, token: str) -> Mapping[str, tuple[str, ...]]:
    """The headers of a request that carries the token where clients put it."""
    before = headers if isinstance(headers, dict) else {}
    if "authorization" in before:
        raise RequestError(
            ("jwt", "token"), "the request has an `authorization` header as well", help="drop one of the two"
        )
    return {**before, "authorization": (f"Bearer {token}",)}


def _protocol(value: object) -> Protocol:
    if value is None or value == "http":
        return Protocol.HTTP
    if value == "tcp":
        return Protocol.TCP
    raise RequestError(("connection", "protocol"), f"unknown protocol {value!r}", help="`http` or `tcp`")


def _identity(principal: str) -> str:
    if principal == "":
        raise RequestError(("source", "principal"), "it is empty", help="leave it out for a caller without certificate")
    parts = principal.split("/")
    if len(parts) == 5 and parts[1::2] == ["ns", "sa"]:
        raise RequestError(
            ("source", "principal"), f"{principal!r} has no scheme", help=f"write `spiffe://{principal}`"
        )
    return principal


def _ip(value: object, path: Path) -> Address | None:
    if value is None:
        return None
    text = _required_text(value, path)
    try:
        return _address(text)
    except ValueError as error:
        raise RequestError(path, f"{text!r} is not an IP address") from error


@lru_cache(maxsize=4096)
def _address(text: str) -> Address:
    # Recorded traffic comes from few addresses, and reading one costs as much as deciding about it.
    return ip_address(text)


def _port(value: object, path: Path) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 65535:
        raise RequestError(path, f"{value!r} is not a port", help="a number from 0 to 65535")
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
    if not mapping.keys() <= known:
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
