"""The wire: CheckRequest to Attributes, Decision to CheckResponse. Pure; what it cannot read it refuses.

What Envoy puts where is described in `docs/envoy.md`, with what a real Envoy was seen to send.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import ip_address
from itertools import product
from urllib.parse import unquote

from cryptography import x509
from envoy.config.core.v3 import address_pb2, base_pb2
from envoy.service.auth.v3 import attribute_context_pb2, external_auth_pb2
from envoy.type.v3 import http_status_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from google.rpc import code_pb2, status_pb2

from authz.attributes import Address, Attributes, Protocol
from authz.decision import Decision, Verdict

__all__ = ["Asked", "Destination", "MalformedRequestError", "readings", "to_asked", "to_response"]

_BODY = "RBAC: access denied"
_PSEUDO = {":method", ":path", ":authority", ":scheme"}
_AMBIGUOUS_LIMIT = 4


class MalformedRequestError(Exception):
    """A CheckRequest that says something unreadable. It is denied; `str()` is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """What a CheckRequest says about where the request goes; the first that is given decides."""

    workload: str | None
    principal: str | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question: the facts, where the request goes, and whether its header lines came joined into one."""

    attributes: Attributes
    destination: Destination
    joined: bool


def to_asked(request: external_auth_pb2.CheckRequest) -> Asked:
    """Read what Envoy asks.

    Raises:
        MalformedRequestError: A fact is there and cannot be read. It never reads as an absent one.
    """
    context = request.attributes
    source_ip, _ = _address(context.source.address, "source")
    destination_ip, destination_port = _address(context.destination.address, "destination")
    destination = Destination(
        workload=context.context_extensions.get("workload") or context.destination.labels.get("workload") or None,
        principal=context.destination.principal or None,
        address=None if destination_ip is None else str(destination_ip),
    )
    metadata = {name: MessageToDict(value) for name, value in context.metadata_context.filter_metadata.items()}
    common = Attributes(
        identities=_identities(context.source),
        source_ip=source_ip,
        remote_ip=source_ip,
        destination_ip=destination_ip,
        destination_port=destination_port,
        sni=context.tls_session.sni or None,
        metadata=metadata or None,
    )
    if not (context.HasField("request") and context.request.HasField("http")):
        # The network filter also puts the server name into the service, and only there unless it is told otherwise.
        sni = context.tls_session.sni or context.destination.service or None
        return Asked(attributes=replace(common, protocol=Protocol.TCP, sni=sni), destination=destination, joined=False)
    return _http(context.request.http, common, destination)


def _http(
    http: attribute_context_pb2.AttributeContext.HttpRequest, common: Attributes, destination: Destination
) -> Asked:
    lines = _header_lines(http.header_map)
    joined = not lines
    if joined:
        lines = [(name, value) for name, value in http.headers.items()]
    pseudo = {name: value for name, value in lines if name in _PSEUDO}
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in lines:
        if not name.startswith(":"):
            headers[name] = (*headers.get(name, ()), value)
    attributes = replace(
        common,
        protocol=Protocol.HTTP,
        method=pseudo.get(":method") or http.method or None,
        path=pseudo.get(":path") or http.path or None,
        host=pseudo.get(":authority") or http.host or None,
        scheme=pseudo.get(":scheme") or http.scheme or None,
        headers=headers,
        remote_ip=_remote_ip(headers.get("x-forwarded-for", ()), common.source_ip),
    )
    return Asked(attributes=attributes, destination=destination, joined=joined)


def _header_lines(header_map: base_pb2.HeaderMap) -> list[tuple[str, str]]:
    lines = []
    for header in header_map.headers:
        raw = header.raw_value
        try:
            lines.append((header.key.lower(), raw.decode() if raw else header.value))
        except UnicodeDecodeError as error:
            raise MalformedRequestError(f"header `{header.key}` is not UTF-8") from error
    return lines


def _address(address: address_pb2.Address, whose: str) -> tuple[Address | None, int | None]:
    match address.WhichOneof("address"):
        case "socket_address":
            socket = address.socket_address
            try:
                # A zone is the host's own business; the address without it is what a policy can name.
                ip = ip_address(socket.address.partition("%")[0])
            except ValueError as error:
                raise MalformedRequestError(f"{whose} address is no IP address") from error
            return ip, socket.port_value
        case "pipe" | "envoy_internal_address":
            return None, None
        case None if not address.ByteSize():
            return None, None
        case _:
            raise MalformedRequestError(f"{whose} address is of an unknown type")


def _identities(peer: attribute_context_pb2.AttributeContext.Peer) -> tuple[str, ...]:
    if peer.certificate:
        return _names_in(peer.certificate)
    return (peer.principal,) if peer.principal else ()


@lru_cache(maxsize=1024)
def _names_in(certificate: str) -> tuple[str, ...]:
    """The names in a percent-encoded PEM certificate, in the order in which Envoy tries them (semantics 2.2)."""
    try:
        leaf = x509.load_pem_x509_certificate(unquote(certificate).encode())
        names = _subject_alternative_names(leaf)
        subject = leaf.subject.rfc4514_string()
    except ValueError as error:
        raise MalformedRequestError("the peer's certificate cannot be read") from error
    return (*names, subject) if subject else names


def _subject_alternative_names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return (*uris, *names.get_values_for_type(x509.DNSName))


def _remote_ip(forwarded_for: tuple[str, ...], peer: Address | None) -> Address | None:
    """The right-most address of `x-forwarded-for`, as a sidecar takes it; the peer where that is none (semantics 2.10)."""
    last = ",".join(forwarded_for).rpartition(",")[2].strip()
    try:
        return ip_address(last)
    except ValueError:
        return peer


def readings(asked: Asked, consulted: frozenset[str]) -> list[Attributes]:
    """Every way to read headers whose lines came joined with commas, as far as a policy looks at them.

    One reading where nothing is ambiguous. Who decides must take the most restrictive answer (semantics 2.7).

    Raises:
        MalformedRequestError: There are too many ways.
    """
    headers = asked.attributes.headers
    if not asked.joined:
        return [asked.attributes]
    ambiguous = [name for name in consulted if any("," in value for value in headers.get(name, ()))]
    if len(ambiguous) > _AMBIGUOUS_LIMIT:
        raise MalformedRequestError(
            "too many joined headers to tell apart: set encode_raw_headers in Envoy's ext_authz filter"
        )
    ways = [(headers[name], tuple(headers[name][0].split(","))) for name in ambiguous]
    return [
        replace(asked.attributes, headers={**headers, **dict(zip(ambiguous, way, strict=True))})
        for way in product(*ways)
    ]


def to_response(decision: Decision, *, revision: str) -> external_auth_pb2.CheckResponse:
    """The answer to Envoy, with what determined it as dynamic metadata."""
    facts: dict[str, str | float | bool] = {
        "verdict": decision.verdict.value,
        "stage": decision.stage.value,
        "reason": decision.reason,
        "revision": revision,
    }
    if decision.match is not None:
        facts["policy"] = decision.match.policy
        facts["rule"] = decision.match.rule
    if decision.audit:
        facts["audit"] = True
    if decision.verdict is Verdict.ALLOW:
        return external_auth_pb2.CheckResponse(
            status=status_pb2.Status(code=code_pb2.OK),
            ok_response=external_auth_pb2.OkHttpResponse(),
            dynamic_metadata=_struct(facts),
        )
    return _denied(decision.status, facts)


def _denied(status: int, facts: dict[str, str | float | bool]) -> external_auth_pb2.CheckResponse:
    return external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=code_pb2.PERMISSION_DENIED, message=_BODY),
        denied_response=external_auth_pb2.DeniedHttpResponse(
            status=http_status_pb2.HttpStatus(code=status),
            headers=[base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key="content-type", value="text/plain"))],
            body=_BODY,
        ),
        dynamic_metadata=_struct(facts),
    )


def _struct(facts: dict[str, str | float | bool]) -> Struct:
    struct = Struct()
    struct.update(facts)
    return struct
