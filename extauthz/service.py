"""The service that Envoy asks: `envoy.service.auth.v3.Authorization/Check`."""

import logging
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import grpc
from envoy.service.auth.v3 import external_auth_pb2
from google.protobuf.message import DecodeError

from authz.attributes import Attributes
from authz.decision import Decision, Stage, Verdict
from authz.workload import ProxyKind
from extauthz.answer import Authorized
from extauthz.decision_log import DecisionLog, request_document
from extauthz.stages import Stages
from extauthz.tally import Refusal, Tally
from extauthz.tokens import TokenReader
from extauthz.wire import Destination, MalformedRequestError, at_gateway, readings, to_asked, to_response
from mesh.deciding import decision_document
from mesh.errors import UnknownWorkloadError
from mesh.snapshot import Snapshot

__all__ = ["AuthorizationService"]

_logger = logging.getLogger("meshward")


class _Decided(NamedTuple):
    """A decision, what is known of the request, for the log, and what is done to it if it goes on."""

    decision: Decision
    destination: Destination | None = None
    attributes: Attributes | None = None
    consulted: frozenset[str] = frozenset()
    passed: Authorized = Authorized()


class AuthorizationService:
    """Answers each question from the snapshot that is in force when it comes in.

    `workload` fixes the destination of every question, as for a server beside one sidecar. Whatever goes wrong denies, a
    decision that cannot be logged included.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        *,
        tokens: TokenReader,
        workload: str | None = None,
        log: DecisionLog | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._tally = tally or Tally()
        self._stages = Stages(tokens, self._tally)
        self._workload = workload
        self._log = log

    async def check(self, question: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Answer one call of Envoy's."""
        remaining = context.time_remaining()
        return await self.answer(question, seconds=math.inf if remaining is None else remaining)

    async def answer(self, question: bytes, *, seconds: float = math.inf) -> bytes:
        """Decide one request: `question` is a CheckRequest as it came, for bytes that are none are answered, too.

        The answer is a CheckResponse.

        Envoy waits for the answer for `seconds`.
        """
        started = time.perf_counter()
        snapshot = self._snapshot()
        try:
            decided = await self._decide(question, snapshot, seconds)
        except Exception:  # what nobody foresaw denies, and says so where the operator looks
            _logger.exception("denied: a request could not be decided")
            self._tally.count(Refusal.INTERNAL_ERROR)
            decided = _Decided(_refusal("internal error"))
        if self._log is not None:
            try:
                _write(self._log, decided, snapshot.revision, started)
            except OSError as error:
                self._tally.count(Refusal.UNLOGGED)
                decided = _refused(f"the decision log cannot be written: {error.strerror}")
        self._tally.answered(decided.decision, time.perf_counter() - started)
        passed = decided.passed
        return to_response(
            decided.decision,
            revision=snapshot.revision,
            changes=passed.changes,
            response_headers=passed.response_headers,
            metadata=passed.metadata,
        )

    async def close(self) -> None:
        """Close the connections to external authorizers."""
        await self._stages.close()

    async def _decide(self, question: bytes, snapshot: Snapshot, seconds: float) -> _Decided:
        try:
            request = external_auth_pb2.CheckRequest.FromString(question)
            asked = to_asked(request)
        except DecodeError:
            self._tally.count(Refusal.UNDECODABLE)
            return _refused("the question is no CheckRequest")
        except MalformedRequestError as error:
            self._tally.count(Refusal.MALFORMED)
            return _refused(str(error))
        destination = asked.destination
        if self._workload is not None:
            destination = destination._replace(workload=self._workload)
        try:
            workload = snapshot.find(
                workload=destination.workload, principal=destination.principal, address=destination.address
            )
            if workload.proxy is ProxyKind.GATEWAY:
                asked = at_gateway(asked, trusted_proxies=snapshot.config.trusted_proxies)
            guard = snapshot.guard(workload, destination.service)
            consulted = guard.tree.headers
            ways = readings(asked, consulted)
        except (MalformedRequestError, UnknownWorkloadError) as error:
            unknown = isinstance(error, UnknownWorkloadError)
            self._tally.count(Refusal.UNKNOWN_WORKLOAD if unknown else Refusal.MALFORMED)
            return _refused(str(error), destination, asked.attributes)
        decision, attributes, passed = await self._stages.decide(guard, request, ways, seconds=seconds)
        if self._log is not None:
            destination = destination._replace(workload=workload.id)
        return _Decided(decision, destination, attributes, consulted, passed)


def _refused(reason: str, destination: Destination | None = None, attributes: Attributes | None = None) -> _Decided:
    _logger.warning("denied: %s", reason)
    return _Decided(_refusal(reason), destination, attributes)


def _refusal(reason: str) -> Decision:
    return Decision(verdict=Verdict.DENY, stage=Stage.NONE, action=None, match=None, reason=reason)


def _write(log: DecisionLog, decided: _Decided, revision: str, started: float) -> None:
    decision, destination, attributes, consulted, _ = decided
    request: dict[str, object] = {}
    if destination is not None and attributes is not None:
        request = request_document(destination, attributes, consulted)
    duration_us = (time.perf_counter() - started) * 1e6
    log.write(request, decision_document(decision, revision=revision), duration_us=duration_us)
