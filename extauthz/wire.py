"""The wire: CheckRequest to Attributes, Decision to CheckResponse. Pure; what it cannot read it refuses.

What Envoy puts where is described in `docs/envoy.md`, with what a real Envoy was seen to send.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Address
from itertools import product
from typing import NamedTuple
from urllib.parse import unquote

from cryptography import x509
from cryptography.x509.oid import NameOID
from envoy.config.core.v3 import address_pb2, base_pb2
from envoy.service.auth.v3 import attribute_context_pb2, external_auth_pb2
from envoy.type.v3 import http_status_pb2
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from google.rpc import code_pb2, status_pb2

from authz.attributes import Address, Attributes, Protocol
from authz.changes import NO_CHANGES, Changes
from authz.decision import Decision, Denial, Match, Stage, Verdict
from authz.remote_address import parse_address, remote_address
from authz.values import ascii_lower
from authz.workload import ProxyKind, ServiceRef
from extauthz.headers import Headers, Raw, raw_lines
from extauthz.question import utf8
from parser.diagnostics import quoted

__all__ = [
    "Asked",
    "Destination",
    "MalformedRequestError",
    "at_gateway",
    "forget_answers",
    "readings",
    "to_asked",
    "to_response",
]

_MAX_PORT = 65535
# Two ways to read each comma, and a decision for each way.
_COMMAS_LIMIT = 6
_UNREADABLE_CERTIFICATE = (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)


class MalformedRequestError(Exception):
    """A CheckRequest that says something unreadable. It is denied; `str()` is the reason."""


class Destination(NamedTuple):
    """What a CheckRequest says about where the request goes; the first that is given decides."""

    workload: str | None
    principal: str | None
    address: str | None
    service: ServiceRef | None = None


class Asked(NamedTuple):
    """A question: the facts, where the request goes, and whether its header lines came joined into one.

    Its remote address is as a sidecar takes it.
    """

    attributes: Attributes
    destination: Destination
    joined: bool


def to_asked(request: external_auth_pb2.CheckRequest) -> Asked:
    """Read what Envoy asks.

    Raises:
        MalformedRequestError: A fact that Envoy always gives is missing, or one is there and cannot be read. Neither ever
            reads as an absent one, which would satisfy every `not…`.
    """
    context = request.attributes
    source = _peer_of(context.source, "source")
    target = _peer_of(context.destination, "destination")
    source_ip = source.ip
    extensions = context.context_extensions
    # One that is given and empty is unknown, not absent: whoever set it meant to name one.
    destination = Destination(
        workload=extensions.get("workload", target.workload),
        principal=target.principal,
        address=target.address,
        service=_service(extensions),
    )
    # In upb a message that is looked at becomes an object, which costs more than to ask whether it is there.
    sni = (context.tls_session.sni or None) if context.HasField("tls_session") else None
    if context.HasField("request"):
        asked = context.request
        if not asked.HasField("http"):
            raise MalformedRequestError("the request is of an unknown kind")
        http = _http(asked.http)
        forwarded_for = http.headers.get("x-forwarded-for")
        remote_ip: Address | None = source_ip
        if forwarded_for is not None:
            remote_ip = remote_address(forwarded_for, source_ip, ProxyKind.SIDECAR, trusted_proxies=0)
    else:
        http, remote_ip = _NO_HTTP, source_ip
        # The network filter also puts the server name into the service, and only there unless it is told otherwise.
        sni = sni or context.destination.service or None
    attributes = Attributes(
        protocol=_TCP if http is _NO_HTTP else _HTTP,
        identities=source.identities,
        source_ip=source_ip,
        remote_ip=remote_ip,
        destination_ip=target.ip,
        destination_port=target.port,
        sni=sni,
        method=http.method,
        path=http.path,
        host=http.host,
        scheme=http.scheme,
        headers=http.headers,
        metadata=_metadata(context.metadata_context.filter_metadata) if context.HasField("metadata_context") else None,
    )
    return Asked(attributes, destination, http.joined)


class _Http(NamedTuple):
    """What there is of a request beside its connection."""

    method: str | None
    path: str | None
    host: str | None
    scheme: str | None
    headers: Mapping[str, tuple[str, ...]]
    joined: bool


_NO_HTTP = _Http(None, None, None, None, {}, joined=False)
# Looked up in each request, a member of an enumeration costs as much as a header.
_HTTP, _TCP = Protocol.HTTP, Protocol.TCP


def _http(http: attribute_context_pb2.AttributeContext.HttpRequest) -> _Http:
    lines, joined = _header_lines(http)
    pseudo = _taken_out(lines)
    method = _given_twice(":method", pseudo, http.method)
    path = _given_twice(":path", pseudo, http.path) or None
    host = _given_twice(":authority", pseudo, http.host)
    # Envoy lets no request through without these; the host may be empty, and CONNECT alone may have no path.
    if not method or host is None or (path is None and method != "CONNECT"):
        raise MalformedRequestError("the request lacks a method, a path or a host")
    # Nor one whose path has no slash in front, which policies would not know by its name (CVE-2026-33186).
    if path is not None and path[:1] != "/":
        raise MalformedRequestError(f"the path {quoted(path)} does not begin with a slash")
    return _Http(method, path, host, _given_twice(":scheme", pseudo, http.scheme), Headers(lines), joined)


def _header_lines(
    http: attribute_context_pb2.AttributeContext.HttpRequest,
) -> tuple[dict[str, Raw], bool]:
    """The lines by lower-case names, apart and in order where Envoy gives them so, else as it joined them; and which of both."""
    given = http.header_map.headers
    # What a line says is read when somebody looks.
    lines: dict[str, Raw] = {line.key: line for line in given}
    if not lines:
        return _in_lower_case((name, value.encode()) for name, value in http.headers.items()), True
    # Envoy writes them in lower case, and looking at all of them at once costs less than at each.
    names = "".join(lines)
    if len(lines) == len(given) and names.isascii() and names == names.lower():
        return lines, False
    return _in_lower_case((line.key, line.raw_value or line.value.encode()) for line in given), False


def _in_lower_case(pairs: Iterable[tuple[str, bytes]]) -> dict[str, Raw]:
    lines: dict[str, list[bytes]] = {}
    for name, value in pairs:
        lines.setdefault(ascii_lower(name), []).append(value)
    return {**lines}


def _taken_out(lines: dict[str, Raw]) -> dict[str, str]:
    """The pseudo-headers, which are no headers from then on."""
    pseudo: dict[str, str] = {}
    for name in [name for name in lines if name[:1] == ":"]:
        values = raw_lines(lines.pop(name))
        if len(values) > 1 and len(set(values)) > 1:
            raise MalformedRequestError(f"header {quoted(name)} has two values")
        pseudo[name] = values[0].decode("utf-8", "surrogateescape")
    return pseudo


def _given_twice(name: str, pseudo: Mapping[str, str], field: str) -> str | None:
    """A fact that stands both among the headers and in a field of its own, unless the filter leaves headers out."""
    line = pseudo.get(name)
    # A field holds text, so that Envoy puts something else there for bytes that are none.
    if line is not None and field and field != line and field != utf8(line):
        raise MalformedRequestError(f"header {quoted(name)} is not what the request says beside it")
    return (field or None) if line is None else line


class _Peer(NamedTuple):
    """One end of a connection: where it is, and who. `address` is as the registry writes it."""

    ip: Address
    port: int
    address: str
    principal: str | None
    identities: tuple[str, ...]
    workload: str | None


_LARGEST_KEPT = 4096
"""In bytes: an end of a connection with a certificate has two to three thousand. Who sends more may, and takes no memory for it."""


def _peer_of(peer: attribute_context_pb2.AttributeContext.Peer, whose: str) -> _Peer:
    """The end of a connection that Envoy describes. The many requests of a connection have their ends in common."""
    text = peer.SerializeToString()
    return _kept_peer(text, whose) if len(text) <= _LARGEST_KEPT else _peer(text, whose)


def _peer(text: bytes, whose: str) -> _Peer:
    peer = attribute_context_pb2.AttributeContext.Peer.FromString(text)
    ip, port = _address(peer.address, whose)
    return _Peer(
        ip=ip,
        port=port,
        address=_canonical(peer.address.socket_address.address, ip),
        principal=peer.principal or None,
        identities=_identities(peer) if whose == "source" else (),
        workload=peer.labels.get("workload"),
    )


_kept_peer = lru_cache(maxsize=512)(_peer)


_SERVICES = (("service", False), ("service_entry", True))


def _service(extensions: Mapping[str, str]) -> ServiceRef | None:
    """The service whose chain of a waypoint asks."""
    for name, external in _SERVICES:
        if name in extensions:
            namespace, slash, service = extensions[name].partition("/")
            if not (slash and namespace and service):
                raise MalformedRequestError(f"the {name} {quoted(extensions[name])} is no `namespace/name`")
            return ServiceRef(namespace=namespace, name=service, external=external)
    return None


def _address(address: address_pb2.Address, whose: str) -> tuple[Address, int]:
    if not address.HasField("socket_address"):
        kind = address.WhichOneof("address")
        # RBAC finds a pipe in no CIDR range, so that it passes every `notIpBlocks`.
        found = "missing" if kind is None else f"of kind `{kind}`, where policies compare IP addresses"
        raise MalformedRequestError(f"the {whose} address is {found}")
    socket = address.socket_address
    try:
        ip = parse_address(socket.address)
    except ValueError as error:
        raise MalformedRequestError(f"the {whose} address {quoted(socket.address)} is no IP address") from error
    port = socket.port_value
    if port > _MAX_PORT or not (port or socket.HasField("port_value")):
        raise MalformedRequestError(f"the {whose} address has no port")
    return ip, port


def _canonical(text: str, address: Address) -> str:
    """The address as the registry writes it. That of version 4 has but one form."""
    return text if isinstance(address, IPv4Address) else str(address)


def _metadata(filters: Mapping[str, Struct]) -> dict[str, dict[str, object]] | None:
    if not filters:
        return None
    try:
        return {name: json_format.MessageToDict(value) for name, value in filters.items()}
    except (ValueError, json_format.Error) as error:  # numbers that JSON does not have
        raise MalformedRequestError("the dynamic metadata cannot be read") from error


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
        subject = _subject(leaf.subject)
    except _UNREADABLE_CERTIFICATE as error:
        raise MalformedRequestError("the peer's certificate cannot be read") from error
    return (*names, subject) if subject else names


def _subject(name: x509.Name) -> str:
    """The subject as Envoy writes it: OpenSSL's RFC 2253, measured on Envoy 1.40.

    `source.namespace` looks anywhere in a name, so that here, too, each byte counts.
    """
    text = ",".join("+".join(map(_attribute, relative)) for relative in reversed(name.rdns))
    return "".join(c if " " <= c <= "~" else "".join(f"\\{byte:02X}" for byte in c.encode()) for c in text)


def _attribute(attribute: x509.NameAttribute[str | bytes]) -> str:
    if attribute.oid in _SHORT_NAMES or attribute.rfc4514_attribute_name != attribute.oid.dotted_string:
        return attribute.rfc4514_string(_SHORT_NAMES)
    # Of a type without a name the value is written as the bytes of its DER, so that text in it is none.
    return f"{attribute.oid.dotted_string}=#{_value_in_der(attribute).hex().upper()}"


def _value_in_der(attribute: x509.NameAttribute[str | bytes]) -> bytes:
    """The DER of the value alone: it is the last of the elements nested in a name, behind the type."""
    rest = x509.Name([attribute]).public_bytes()
    for _ in range(3):  # the name, the relative name, the attribute
        rest = rest[_header_length(rest) :]
    return rest[_header_length(rest) + rest[1] :]


def _header_length(der: bytes) -> int:
    # In the long form the first byte says how many more the length has; a type is always short.
    return 2 + (der[1] & 0x7F if der[1] & 0x80 else 0)


_SHORT_NAMES = {
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.TITLE: "title",
    NameOID.GIVEN_NAME: "GN",
    NameOID.SURNAME: "SN",
    NameOID.INITIALS: "initials",
    NameOID.DN_QUALIFIER: "dnQualifier",
    NameOID.PSEUDONYM: "pseudonym",
    NameOID.STREET_ADDRESS: "street",
    NameOID.POSTAL_CODE: "postalCode",
    NameOID.BUSINESS_CATEGORY: "businessCategory",
    NameOID.GENERATION_QUALIFIER: "generationQualifier",
    NameOID.UNSTRUCTURED_NAME: "unstructuredName",
    NameOID.X500_UNIQUE_IDENTIFIER: "x500UniqueIdentifier",
}


def _subject_alternative_names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return (*uris, *names.get_values_for_type(x509.DNSName))


def at_gateway(asked: Asked, *, trusted_proxies: int) -> Asked:
    """What a gateway asks: there the remote address is another (semantics 2.10)."""
    attributes = asked.attributes
    # By the time it asks, a gateway has put its own peer behind what it was sent.
    arrived = ",".join(attributes.headers.get("x-forwarded-for", ())).rpartition(",")[0]
    remote = remote_address((arrived,), attributes.source_ip, ProxyKind.GATEWAY, trusted_proxies=trusted_proxies)
    return asked._replace(attributes=replace(attributes, remote_ip=remote))


def readings(asked: Asked, consulted: frozenset[str]) -> list[Attributes]:
    """Every way to read headers whose lines came joined with commas, as far as a policy looks at them.

    One reading where nothing is ambiguous. Who decides must take the most restrictive answer (semantics 2.7).

    Raises:
        MalformedRequestError: There are too many ways.
    """
    if not asked.joined:
        return [asked.attributes]
    headers = asked.attributes.headers
    values = {name: ",".join(headers[name]) for name in consulted if name in headers}
    ambiguous = {name: value for name, value in values.items() if "," in value}
    if sum(value.count(",") for value in ambiguous.values()) > _COMMAS_LIMIT:
        raise MalformedRequestError(
            f"too many commas in {', '.join(map(quoted, sorted(ambiguous)))} to tell header lines apart: "
            "set `encode_raw_headers` in Envoy's ext_authz filter"
        )
    return [
        replace(asked.attributes, headers={**headers, **dict(zip(ambiguous, way, strict=True))})
        for way in product(*map(_splits, ambiguous.values()))
    ]


def _splits(value: str) -> Iterator[tuple[str, ...]]:
    """Every sequence of lines that is `value` once they are joined, from the one line to a line for each piece.

    Neither end is enough: `a,b` and `c` are lines of `a,b,c`, too.
    """
    first, *others = value.split(",")
    for apart in product((False, True), repeat=len(others)):
        lines = [first]
        for new, piece in zip(apart, others, strict=True):
            if new:
                lines.append(piece)
            else:
                lines[-1] += f",{piece}"
        yield tuple(lines)


def to_response(
    decision: Decision,
    *,
    revision: str,
    changes: Changes = NO_CHANGES,
    response_headers: tuple[tuple[str, str], ...] = (),
    metadata: Mapping[str, object] | None = None,
) -> bytes:
    """The answer to Envoy, a CheckResponse, with what determined it as dynamic metadata, beside `metadata`.

    Where the request goes on, it does so with `changes`, and the caller gets `response_headers` besides the application's.
    """
    facts = (decision.verdict, decision.stage, decision.reason, revision, decision.match, decision.audit)
    if decision.verdict is Verdict.DENY:
        return _denied(facts, decision.denied_with, metadata)
    if metadata:
        return bytes(_allowed(facts, changes, response_headers, metadata).SerializeToString())
    if not changes and not response_headers:
        return _unchanged(facts)
    # A message is its fields one after the other, and the larger half of this one is the same for thousands of requests.
    if response_headers or any(changes.headers.values()):
        return _without_changes(facts) + _changes(changes, response_headers)
    return _without_changes(facts) + _removals(tuple(changes.headers))


def forget_answers() -> None:
    """Let go of the answers that are kept. Each names the revision that it is by, so that those of an older one only take memory."""
    for kept in (_unchanged, _without_changes, _refusal):
        kept.cache_clear()


_Facts = tuple[Verdict, Stage, str, str, Match | None, bool]


# Most answers are one of few, whatever was asked, and building one costs more than deciding.
@lru_cache(maxsize=4096)
def _unchanged(facts: _Facts) -> bytes:
    return bytes(_allowed(facts, NO_CHANGES, (), None).SerializeToString())


@lru_cache(maxsize=4096)
def _without_changes(facts: _Facts) -> bytes:
    answer = _allowed(facts, NO_CHANGES, (), None)
    answer.ClearField("ok_response")
    return bytes(answer.SerializeToString())


def _changes(changes: Changes, response_headers: Iterable[tuple[str, str]]) -> bytes:
    answer = external_auth_pb2.CheckResponse(ok_response=_ok(changes, response_headers))
    return bytes(answer.SerializeToString())


@lru_cache(maxsize=1024)
def _removals(names: tuple[str, ...]) -> bytes:
    return _changes(Changes(headers=dict.fromkeys(names, ())), ())


def _allowed(
    facts: _Facts,
    changes: Changes,
    response_headers: Iterable[tuple[str, str]],
    metadata: Mapping[str, object] | None,
) -> external_auth_pb2.CheckResponse:
    return external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=code_pb2.OK),
        ok_response=_ok(changes, response_headers),
        dynamic_metadata=_struct(facts, metadata),
    )


def _denied(facts: _Facts, denial: Denial, metadata: Mapping[str, object] | None) -> bytes:
    return _refusal(facts, denial) if not metadata else bytes(_refused(facts, denial, metadata).SerializeToString())


@lru_cache(maxsize=4096)
def _refusal(facts: _Facts, denial: Denial) -> bytes:
    return bytes(_refused(facts, denial, None).SerializeToString())


def _ok(changes: Changes, response_headers: Iterable[tuple[str, str]]) -> external_auth_pb2.OkHttpResponse:
    # Envoy 1.40 sets a header to one value, whatever the answer says of appending: several lines go as one.
    return external_auth_pb2.OkHttpResponse(
        headers=[_header(name, ",".join(lines)) for name, lines in changes.headers.items() if lines],
        headers_to_remove=[name for name, lines in changes.headers.items() if not lines],
        response_headers_to_add=[_header(name, value) for name, value in response_headers],
    )


def _refused(facts: _Facts, denial: Denial, metadata: Mapping[str, object] | None) -> external_auth_pb2.CheckResponse:
    body = utf8(denial.body.decode("utf-8", "surrogateescape"))
    return external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=code_pb2.PERMISSION_DENIED, message=body),
        denied_response=external_auth_pb2.DeniedHttpResponse(
            status=http_status_pb2.HttpStatus(code=denial.status),
            headers=[_header(name, value) for name, value in denial.headers],
            body=body,
        ),
        dynamic_metadata=_struct(facts, metadata),
    )


def _header(name: str, value: str) -> base_pb2.HeaderValueOption:
    return base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key=name, value=utf8(value)))


def _struct(facts: _Facts, metadata: Mapping[str, object] | None) -> Struct:
    verdict, stage, reason, revision, match, audit = facts
    said: dict[str, object] = {
        **(metadata or {}),
        "verdict": verdict.value,
        "stage": stage.value,
        "reason": utf8(reason),
        "revision": revision,
    }
    if match is not None:
        said |= {"policy": match.policy, "rule": match.rule}
    if audit:
        said["audit"] = True
    return json_format.ParseDict(said, Struct())
