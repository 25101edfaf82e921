"""Recorded questions: CheckRequests as they were asked, read as the server reads them, for replaying."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from envoy.service.auth.v3 import external_auth_pb2
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from authz.attributes import Attributes
from extauthz.located import locate
from extauthz.tokens import payload_of
from extauthz.wire import Asked, MalformedRequestError, to_asked
from mesh.replaying.reading import Defaults, NoRecordError
from mesh.replaying.record import Record, RefusedRequestError
from mesh.snapshot import Snapshot
from parser.request import Destination, RequestDocument

__all__ = ["RecordedQuestions"]

_QUOTED = re.compile("`[^`]*`")


class RecordedQuestions:
    """Reads CheckRequests. Those that do not say which workload they are for are for that of `defaults`.

    What Envoy's own jwt_authn filter had verified counts as verified, where a question has it.
    """

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults

    def from_bytes(self, question: bytes) -> Record:
        """The record of a question in protobuf.

        Raises:
            NoRecordError: It is none, or one that the server denies unread.
        """
        try:
            return self._record(external_auth_pb2.CheckRequest.FromString(question))
        except DecodeError as error:
            raise NoRecordError("no CheckRequest") from error

    def from_json(self, line: bytes) -> Record:
        """The record of a question in JSON.

        Raises:
            NoRecordError: As `from_bytes`.
        """
        try:
            return self._record(json_format.Parse(line, external_auth_pb2.CheckRequest()))
        except (json_format.ParseError, UnicodeDecodeError) as error:
            help_ = "its fields are those of `envoy.service.auth.v3.CheckRequest`, in protobuf's JSON"
            raise NoRecordError("no CheckRequest", help=help_) from error

    def _record(self, request: external_auth_pb2.CheckRequest) -> Record:
        try:
            asked = to_asked(request)
        except MalformedRequestError as error:
            # What is quoted may be a secret, or half of one.
            raise NoRecordError(f"the server denies it unread: {_QUOTED.sub('`…`', str(error))}") from error
        claims = payload_of(asked.attributes)
        asked = asked._replace(attributes=self._completed(asked.attributes, claims))
        destination = asked.destination
        time = request.attributes.request.time
        return Record(
            document=RequestDocument(
                destination=Destination(
                    workload=self._defaults.workload if destination.workload is None else destination.workload,
                    principal=destination.principal,
                    address=destination.address,
                    service=destination.service,
                ),
                attributes=asked.attributes,
            ),
            at=time.seconds + time.nanos / 1e9 if time.seconds else None,
            ways=_Ways(asked, self._defaults),
        )

    def _completed(self, attributes: Attributes, claims: Mapping[str, object] | None) -> Attributes:
        identities = attributes.identities
        if not identities and self._defaults.principal is not None:
            identities = (self._defaults.principal,)
        return replace(attributes, claims=claims, identities=identities)


class _Ways:
    """All the ways to read one question, as the server does where it is decided."""

    __slots__ = ("_asked", "_workload")

    def __init__(self, asked: Asked, defaults: Defaults) -> None:
        self._asked = asked
        self._workload = defaults.workload if asked.destination.workload is None else asked.destination.workload

    def __call__(self, snapshot: Snapshot) -> Sequence[Attributes]:
        destination = self._asked.destination._replace(workload=self._workload)
        try:
            return locate(snapshot, self._asked, destination).ways
        except MalformedRequestError as error:
            raise RefusedRequestError(str(error)) from error
