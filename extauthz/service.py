"""The service that Envoy asks: `envoy.service.auth.v3.Authorization/Check`."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import grpc
from envoy.service.auth.v3 import external_auth_pb2
from google.protobuf.message import DecodeError

from authz.attributes import Attributes
from authz.decision import Decision, Stage, Verdict
from authz.workload import Workload
from extauthz.decision_log import DecisionLog, request_document
from extauthz.wire import Asked, Destination, MalformedRequestError, readings, to_asked, to_response
from mesh.deciding import decide_for, decision_document
from mesh.errors import UnknownWorkloadError
from mesh.snapshot import Snapshot

__all__ = ["AuthorizationService"]

_logger = logging.getLogger("meshward")


class _Decided(NamedTuple):
    """A decision, and what is known of the request, for the log."""

    decision: Decision
    destination: Destination | None = None
    attributes: Attributes | None = None
    consulted: frozenset[str] = frozenset()


class AuthorizationService:
    """Answers each question from the snapshot that is in force when it comes in.

    `workload` fixes the destination of every question, as for a server beside one sidecar. Whatever goes wrong denies, a
    decision that cannot be logged included.
    """

    def __init__(
        self, snapshot: Callable[[], Snapshot], *, workload: str | None = None, log: DecisionLog | None = None
    ) -> None:
        self._snapshot = snapshot
        self._workload = workload
        self._log = log

    async def check(self, question: bytes, context: grpc.aio.ServicerContext) -> external_auth_pb2.CheckResponse:
        """Decide one request: `question` is a CheckRequest as it came, for bytes that are none are answered, too."""
        del context
        started = time.perf_counter()
        snapshot = self._snapshot()
        try:
            decided = self._decide(question, snapshot)
        except Exception:  # what nobody foresaw denies, and says so where the operator looks
            _logger.exception("denied: a request could not be decided")
            decided = _Decided(_refusal("internal error"))
        if self._log is not None:
            try:
                _write(self._log, decided, snapshot.revision, started)
            except OSError as error:
                decided = _refused(f"the decision log cannot be written: {error.strerror}")
        return to_response(decided.decision, revision=snapshot.revision)

    def _decide(self, question: bytes, snapshot: Snapshot) -> _Decided:
        try:
            asked = to_asked(external_auth_pb2.CheckRequest.FromString(question))
        except DecodeError:
            return _refused("the question is no CheckRequest")
        except MalformedRequestError as error:
            return _refused(str(error))
        destination = asked.destination
        if self._workload is not None:
            destination = replace(destination, workload=self._workload)
        try:
            workload = snapshot.find(
                workload=destination.workload, principal=destination.principal, address=destination.address
            )
            consulted = snapshot.tree(workload).headers
            attributes, decision = _most_restrictive(snapshot, workload, asked, consulted)
        except (MalformedRequestError, UnknownWorkloadError) as error:
            return _refused(str(error), destination, asked.attributes)
        return _Decided(decision, replace(destination, workload=workload.id), attributes, consulted)


def _refused(reason: str, destination: Destination | None = None, attributes: Attributes | None = None) -> _Decided:
    _logger.warning("denied: %s", reason)
    return _Decided(_refusal(reason), destination, attributes)


def _refusal(reason: str) -> Decision:
    return Decision(verdict=Verdict.DENY, stage=Stage.NONE, action=None, match=None, reason=reason)


def _write(log: DecisionLog, decided: _Decided, revision: str, started: float) -> None:
    decision, destination, attributes, consulted = decided
    request: dict[str, object] = {}
    if destination is not None and attributes is not None:
        request = request_document(destination, attributes, consulted)
    duration_us = (time.perf_counter() - started) * 1e6
    log.write(request, decision_document(decision, revision=revision), duration_us=duration_us)


def _most_restrictive(
    snapshot: Snapshot, workload: Workload, asked: Asked, consulted: frozenset[str]
) -> tuple[Attributes, Decision]:
    """The decision, and the reading of the request that led to it: the first that denies, where there are several."""
    decided = [(attributes, decide_for(snapshot, workload, attributes)) for attributes in readings(asked, consulted)]
    return next((each for each in decided if each[1].verdict is Verdict.DENY), decided[0])
