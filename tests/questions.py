"""CheckRequests as Envoy puts them, for asking meshward directly."""

from collections.abc import Callable, Iterable, Mapping

from envoy.config.core.v3.address_pb2 import Address, EnvoyInternalAddress, Pipe, SocketAddress
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest

WEB = "spiffe://cluster.local/ns/shop/sa/web"


def http(
    method: str = "GET",
    path: str = "/items",
    *,
    host: str = "api.shop:8080",
    headers: Iterable[tuple[str, str | bytes]] = (),
    joined: Mapping[str, str] | None = None,
    workload: str | None = "shop/api",
    source: str = WEB,
    destination: str = "",
    source_ip: str = "10.1.2.3",
    destination_ip: str = "10.0.0.9",
) -> CheckRequest:
    """A request with its header lines apart, or in one map if `joined` is given, as without `encode_raw_headers`."""
    question = connection(
        source=source, destination=destination, source_ip=source_ip, destination_ip=destination_ip, workload=None
    )
    if workload is not None:
        question.attributes.context_extensions["workload"] = workload
    request = question.attributes.request.http
    request.method, request.path, request.host, request.scheme = method, path, host, "https"
    pseudo = {":method": method, ":path": path, ":authority": host, ":scheme": "https"}
    if joined is not None:
        request.headers.update({**pseudo, **joined})
        return question
    for name, value in [*pseudo.items(), *headers]:
        request.header_map.headers.add(key=name, raw_value=value.encode() if isinstance(value, str) else value)
    return question


def connection(
    *,
    source: str = WEB,
    destination: str = "",
    source_ip: str = "10.1.2.3",
    destination_ip: str = "10.0.0.9",
    port: int = 8080,
    workload: str | None = "shop/db",
    sni: str = "",
) -> CheckRequest:
    """A TCP connection."""
    question = CheckRequest()
    attributes = question.attributes
    attributes.source.address.CopyFrom(address(source_ip, 40000))
    attributes.source.principal = source
    attributes.destination.address.CopyFrom(address(destination_ip, port))
    attributes.destination.principal = destination
    attributes.destination.service = sni
    if workload is not None:
        attributes.destination.labels["workload"] = workload
    return question


def address(ip: str, port: int) -> Address:
    made = Address()
    made.socket_address.address = ip
    made.socket_address.port_value = port
    return made


# A field that no message of today has.
_TO_COME = b"\xa2\x06\x03abc"


def _at(whose: str, address: Address) -> Callable[[CheckRequest], None]:
    return lambda question: getattr(question.attributes, whose).address.CopyFrom(address)


def _line(name: str, value: bytes) -> Callable[[CheckRequest], None]:
    return lambda question: question.attributes.request.http.header_map.headers.add(key=name, raw_value=value)


def _number(value: float) -> Callable[[CheckRequest], None]:
    return lambda question: question.attributes.metadata_context.filter_metadata["envoy.x"].update({"n": value})


def _certificate(text: str) -> Callable[[CheckRequest], None]:
    def change(question: CheckRequest) -> None:
        question.attributes.source.certificate = text

    return change


def _path(text: str) -> Callable[[CheckRequest], None]:
    def change(question: CheckRequest) -> None:
        question.attributes.request.http.path = text

    return change


FAULTS: Mapping[str, tuple[Callable[[CheckRequest], None], str]] = {
    "no source address": (
        lambda question: question.attributes.source.ClearField("address"),
        "the source address is missing",
    ),
    "no destination": (
        lambda question: question.attributes.ClearField("destination"),
        "the destination address is missing",
    ),
    "pipe": (
        _at("source", Address(pipe=Pipe(path="/run/x.sock"))),
        "the source address is of kind `pipe`, where policies compare IP addresses",
    ),
    "internal address": (
        _at("destination", Address(envoy_internal_address=EnvoyInternalAddress(server_listener_name="inner"))),
        "the destination address is of kind `envoy_internal_address`, where policies compare IP addresses",
    ),
    "address of a kind to come": (
        lambda question: question.attributes.source.address.ParseFromString(_TO_COME),
        "the source address is missing",
    ),
    "empty socket address": (
        _at("source", Address(socket_address=SocketAddress())),
        "the source address `` is no IP address",
    ),
    "host name": (_at("source", address("web.shop", 80)), "the source address `web.shop` is no IP address"),
    "named port": (
        _at("source", Address(socket_address=SocketAddress(address="10.0.0.1", named_port="http"))),
        "the source address has no port",
    ),
    "port out of range": (_at("destination", address("10.0.0.9", 65536)), "the destination address has no port"),
    "two paths": (_line(":path", b"/admin"), "header `:path` has two values"),
    "path that is not the header": (_path("/admin"), "header `:path` is not what the request says beside it"),
    "request of a kind to come": (
        lambda question: question.attributes.request.ParseFromString(_TO_COME),
        "the request is of an unknown kind",
    ),
    "request of no kind": (
        lambda question: question.attributes.request.ClearField("http"),
        "the request is of an unknown kind",
    ),
    "infinite number": (_number(float("inf")), "the dynamic metadata cannot be read"),
    "no number": (_number(float("nan")), "the dynamic metadata cannot be read"),
    "cut certificate": (_certificate("-----BEGIN%20CERTIFICATE-----"), "the peer's certificate cannot be read"),
    "certificate that is none": (_certificate("%00%ff"), "the peer's certificate cannot be read"),
}
"""What may be wrong with an HTTP question, and what is to be said of it."""
