"""The question that an external authorizer is asked: a CheckRequest as Envoy under Istio would send it (semantics 6.5)."""

from collections.abc import Mapping

from envoy.service.auth.v3 import attribute_context_pb2, external_auth_pb2

from authz.attributes import Attributes
from authz.extension_provider import BodyCheck

__all__ = ["BodyTooLargeError", "body_for", "joined_headers", "to_question", "utf8"]

_PARTIAL_BODY = "x-envoy-auth-partial-body"


class BodyTooLargeError(Exception):
    """The body is longer than the authorizer may see, and part of it will not do."""


def to_question(
    asked: external_auth_pb2.CheckRequest, attributes: Attributes, body: BodyCheck | None
) -> external_auth_pb2.CheckRequest:
    """What Envoy asked meshward, as an authorizer that was written for Istio expects it.

    The request is as the stages before left it. Header lines are joined, and what Istio does not let Envoy send is left out:
    certificates, the TLS session, metadata and the settings of the route.

    Raises:
        BodyTooLargeError: As `body_for`.
    """
    context = attribute_context_pb2.AttributeContext()
    context.CopyFrom(asked.attributes)
    for left_out in ("metadata_context", "route_metadata_context", "tls_session", "context_extensions"):
        context.ClearField(left_out)
    context.source.ClearField("certificate")
    context.destination.ClearField("labels")
    if context.request.HasField("http"):
        http = context.request.http
        http.ClearField("header_map")
        http.headers.clear()
        for name, value in joined_headers(attributes).items():
            http.headers[name] = utf8(value)
        http.method, http.path, http.host, http.scheme = (
            utf8(fact or "") for fact in (attributes.method, attributes.path, attributes.host, attributes.scheme)
        )
        seen = body_for(asked, body)
        http.ClearField("body")
        http.ClearField("raw_body")
        if seen and body is not None and body.pack_as_bytes:
            http.raw_body = seen
        elif seen:
            http.body = seen.decode("utf-8", "replace")
        if body is not None:
            http.headers[_PARTIAL_BODY] = "true" if len(seen) < _length(asked) else "false"
    return external_auth_pb2.CheckRequest(attributes=context)


def joined_headers(attributes: Attributes) -> Mapping[str, str]:
    """The headers with their pseudo-headers, the lines of each joined with commas."""
    pseudo = {
        ":authority": attributes.host,
        ":path": attributes.path,
        ":method": attributes.method,
        ":scheme": attributes.scheme,
    }
    given = {name: value for name, value in pseudo.items() if value is not None}
    return given | {name: ",".join(lines) for name, lines in attributes.headers.items()}


def body_for(asked: external_auth_pb2.CheckRequest, body: BodyCheck | None) -> bytes:
    """As much of the request's body as the authorizer may see.

    Raises:
        BodyTooLargeError: There is more of it, and a part will not do.
    """
    if body is None:
        return b""
    http = asked.attributes.request.http
    sent: bytes = http.raw_body or http.body.encode()
    if len(sent) > body.max_request_bytes or _length(asked) > len(sent):
        if not body.allow_partial_message:
            raise BodyTooLargeError
        return sent[: body.max_request_bytes]
    return sent


def _length(asked: external_auth_pb2.CheckRequest) -> int:
    """How long the whole body is; Envoy says -1 where it does not know."""
    http = asked.attributes.request.http
    return int(max(http.size, len(http.raw_body), len(http.body.encode())))


def utf8(text: str) -> str:
    """`text` fit for a protobuf string: what is no UTF-8 in it becomes `!`, as Envoy does it."""
    return text if text.isascii() else text.translate(_NO_UTF8)


_NO_UTF8 = dict.fromkeys(range(56448, 56576), "!")
