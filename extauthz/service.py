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
from authz.decision import Decision
from extauthz.answer import Authorized
from extauthz.decision_log import Consulted, DecisionLog, request_document
from extauthz.located import locate
from extauthz.refusing import refusal
from extauthz.shadowing import Noting, Shadowed, Shadowing
from extauthz.stages import Stages
from extauthz.tally import Refusal, Tally
from extauthz.tokens import TokenReader
from extauthz.wire import Asked, Destination, MalformedRequestError, to_asked, to_response
from mesh.deciding import decision_document
from mesh.errors import UnknownWorkloadError
from mesh.snapshot import Snapshot

__all__ = ["AuthorizationService"]

_logger = logging.getLogger("meshward")
_NOTHING = Consulted()


class _Decided(NamedTuple):
    """A decision, what is known of the request, for the log, and what is done to it if it goes on.

    `request` and `asked` are there if the question could be read, and `noted` is what authorizers said about it.
    """

    decision: Decision
    destination: Destination | None = None
    attributes: Attributes | None = None
    consulted: Consulted = _NOTHING
    passed: Authorized = Authorized()
    request: external_auth_pb2.CheckRequest | None = None
    asked: Asked | None = None
    noted: Noting | None = None


class AuthorizationService:
    """Answers each question from the snapshot that is in force when it comes in.

    `workload` fixes the destination of every question, as for a server beside one sidecar. Whatever goes wrong denies, a
    decision that cannot be logged included. `shadow` decides it by another version, too, which makes no difference to the answer.
    """

    def __init__(  # noqa: PLR0913  # what it is made of
        self,
        snapshot: Callable[[], Snapshot],
        *,
        tokens: TokenReader,
        workload: str | None = None,
        log: DecisionLog | None = None,
        tally: Tally | None = None,
        shadow: Shadowing | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._tally = tally or Tally()
        self._stages = Stages(tokens, self._tally)
        self._workload = workload
        self._log = log
        self._shadow = shadow

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
            decided = _Decided(refusal("internal error"))
        shadowed = None if self._shadow is None else await self._by_shadow(self._shadow, decided)
        if self._log is not None:
            try:
                _write(self._log, decided, shadowed, snapshot.revision, started)
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

    async def _by_shadow(self, shadow: Shadowing, decided: _Decided) -> Shadowed | None:
        """What the other version decides of a question that could be read."""
        if decided.request is None or decided.asked is None:
            return None
        destination = self._destination(decided.asked)
        return await shadow.decide(
            decided.request, decided.asked, destination, decided.noted or Noting(), decided.decision
        )

    def _destination(self, asked: Asked) -> Destination:
        destination = asked.destination
        return destination if self._workload is None else destination._replace(workload=self._workload)

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
        destination = self._destination(asked)
        try:
            located = locate(snapshot, asked, destination)
        except (MalformedRequestError, UnknownWorkloadError) as error:
            unknown = isinstance(error, UnknownWorkloadError)
            self._tally.count(Refusal.UNKNOWN_WORKLOAD if unknown else Refusal.MALFORMED)
            return _refused(str(error), destination, asked.attributes)._replace(request=request, asked=asked)
        guard = located.guard
        noted = None if self._shadow is None else Noting()
        decision, attributes, passed = await self._stages.decide(
            guard, request, located.ways, seconds=seconds, asker=None if noted is None else noted.through
        )
        consulted = _NOTHING
        if self._log is not None:
            destination = destination._replace(workload=located.workload.id)
            consulted = Consulted(headers=guard.tree.headers, claims=guard.tree.claims)
        return _Decided(decision, destination, attributes, consulted, passed, request, asked, noted)


def _refused(reason: str, destination: Destination | None = None, attributes: Attributes | None = None) -> _Decided:
    _logger.warning("denied: %s", reason)
    return _Decided(refusal(reason), destination, attributes)


def _write(log: DecisionLog, decided: _Decided, shadowed: Shadowed | None, revision: str, started: float) -> None:
    decision, destination, attributes, consulted = decided[:4]
    request: dict[str, object] = {}
    if destination is not None and attributes is not None:
        # What either version looks at, for the line to be decided again by both.
        request = request_document(
            destination, attributes, consulted if shadowed is None else consulted | shadowed.consulted
        )
    shadow = None if shadowed is None else shadowed.differing
    duration_us = (time.perf_counter() - started) * 1e6
    log.write(request, decision_document(decision, revision=revision), duration_us=duration_us, shadow=shadow)
