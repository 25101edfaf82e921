"""Asking an external authorizer by Envoy's own protocol."""

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2
from google.protobuf import json_format

from authz.attributes import Attributes
from authz.changes import Changes, edit_query
from authz.decision import Denial
from authz.extension_provider import GrpcProvider
from authz.values import ascii_lower
from extauthz.answer import MAX_ANSWER, Answer, Authorized, BadAnswerError, Refused

__all__ = ["GrpcAuthorizer"]

_CHECK = "/envoy.service.auth.v3.Authorization/Check"
# No proxy from the environment: who decides is who the mesh configuration names.
_OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", MAX_ANSWER))


class GrpcAuthorizer:
    """A connection to one authorizer."""

    def __init__(self, provider: GrpcProvider) -> None:
        self._name = provider.name
        host = f"[{provider.host}]" if ":" in provider.host else provider.host
        self._channel = grpc.aio.insecure_channel(f"{host}:{provider.port}", options=_OPTIONS)
        self._check = self._channel.unary_unary(
            _CHECK,
            request_serializer=external_auth_pb2.CheckRequest.SerializeToString,
            response_deserializer=external_auth_pb2.CheckResponse.FromString,
        )

    async def ask(self, question: external_auth_pb2.CheckRequest, attributes: Attributes, *, seconds: float) -> Answer:
        """What it says about `question`, whose facts are `attributes`, within `seconds`.

        Raises:
            BadAnswerError: Nothing that can be used.
        """
        try:
            response = await self._check(question, timeout=seconds)
        except grpc.aio.AioRpcError as error:
            raise BadAnswerError(f"{error.code().name}: {error.details()}") from error
        if response.status.code != 0:
            return self._refused(response.denied_response)
        ok = response.ok_response
        return Authorized(
            changes=_changes(ok, attributes),
            response_headers=tuple(map(_line, ok.response_headers_to_add)),
            metadata=json_format.MessageToDict(response.dynamic_metadata),
        )

    def _refused(self, denied: external_auth_pb2.DeniedHttpResponse) -> Refused:
        denial = Denial(denied.status.code or 403, denied.body.encode(), tuple(map(_line, denied.headers)))
        return Refused(denial=denial, reason=f"authorizer {self._name} refuses")

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()


def _line(option: base_pb2.HeaderValueOption) -> tuple[str, str]:
    return ascii_lower(option.header.key), option.header.value


def _changes(ok: external_auth_pb2.OkHttpResponse, attributes: Attributes) -> Changes:
    """What Envoy 1.40 was seen to make of the edits: those that set come first, then those that append, then the removals.

    `append` goes to the first line of a header that is there, and is void for one that is not. `append_action` counts for
    nothing, nor does `raw_value`.
    """
    headers: dict[str, tuple[str, ...]] = {}
    for option in ok.headers:
        if not option.append.value:
            name, value = _line(option)
            headers[name] = (value,)
    for option in ok.headers:
        if option.append.value:
            name, value = _line(option)
            if lines := headers.get(name, attributes.headers.get(name, ())):
                headers[name] = (f"{lines[0]},{value}", *lines[1:])
    for removed in ok.headers_to_remove:
        name = ascii_lower(removed)
        if name != "host" and not name.startswith(":"):
            headers[name] = ()
    path = headers[":path"][0] if headers.get(":path") else attributes.path
    if path is not None and (ok.query_parameters_to_set or ok.query_parameters_to_remove):
        set_ = {parameter.key: parameter.value for parameter in ok.query_parameters_to_set}
        headers[":path"] = (edit_query(path, removed=ok.query_parameters_to_remove, changed=set_),)
    return Changes(headers=headers)
