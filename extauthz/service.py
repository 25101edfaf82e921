"""The service that Envoy asks: `envoy.service.auth.v3.Authorization/Check`."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import grpc
from envoy.service.auth.v3 import external_auth_pb2
from google.protobuf.message import DecodeError

from authz.attributes import Attributes
from authz.decision import Decision, Stage, Verdict
from authz.model import Action
from authz.workload import ProxyKind
from extauthz.answer import Authorized, Refused
from extauthz.authorizers import Authorizers
from extauthz.decision_log import DecisionLog, request_document
from extauthz.wire import Destination, MalformedRequestError, at_gateway, readings, to_asked, to_response
from mesh.deciding import decision_document, refused_at_port, with_identity
from mesh.errors import UnknownWorkloadError
from mesh.snapshot import Guard, Snapshot

__all__ = ["AuthorizationService"]

_logger = logging.getLogger("meshward")

# Where Envoy's own filter puts what an authorizer says beside its verdict, for later filters to look at.
_EXT_AUTHZ = "envoy.filters.http.ext_authz"


_UNTOUCHED = Authorized()


class _Decided(NamedTuple):
    """A decision, what is known of the request, for the log, and what is done to it if it goes on."""

    decision: Decision
    destination: Destination | None = None
    attributes: Attributes | None = None
    consulted: frozenset[str] = frozenset()
    passed: Authorized = _UNTOUCHED


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
        self._authorizers = Authorizers()

    async def check(self, question: bytes, context: grpc.aio.ServicerContext) -> external_auth_pb2.CheckResponse:
        """Answer one call of Envoy's."""
        remaining = context.time_remaining()
        return await self.answer(question, seconds=math.inf if remaining is None else remaining)

    async def answer(self, question: bytes, *, seconds: float = math.inf) -> external_auth_pb2.CheckResponse:
        """Decide one request: `question` is a CheckRequest as it came, for bytes that are none are answered, too.

        Envoy waits for the answer for `seconds`.
        """
        started = time.perf_counter()
        snapshot = self._snapshot()
        try:
            decided = await self._decide(question, snapshot, seconds)
        except Exception:  # what nobody foresaw denies, and says so where the operator looks
            _logger.exception("denied: a request could not be decided")
            decided = _Decided(_refusal("internal error"))
        if self._log is not None:
            try:
                _write(self._log, decided, snapshot.revision, started)
            except OSError as error:
                decided = _refused(f"the decision log cannot be written: {error.strerror}")
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
        await self._authorizers.close()

    async def _decide(self, question: bytes, snapshot: Snapshot, seconds: float) -> _Decided:
        try:
            request = external_auth_pb2.CheckRequest.FromString(question)
            asked = to_asked(request)
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
            if workload.proxy is ProxyKind.GATEWAY:
                asked = at_gateway(asked, trusted_proxies=snapshot.config.trusted_proxies)
            guard = snapshot.guard(workload, destination.service)
            consulted = guard.tree.headers
            ways = [with_identity(guard, way) for way in readings(asked, consulted)]
        except (MalformedRequestError, UnknownWorkloadError) as error:
            return _refused(str(error), destination, asked.attributes)
        told = replace(destination, workload=workload.id)
        if (refused := refused_at_port(guard, ways[0])) is not None:
            return _Decided(refused, told, ways[0], consulted)
        passed = _UNTOUCHED
        if guard.tree.providers:
            answer = await self._ask_authorizers(guard, request, ways, time.monotonic() + seconds)
            if isinstance(answer, Decision):
                return _Decided(answer, told, ways[0], consulted)
            passed = answer
            ways = [_after(answer, way) for way in ways]
        attributes, decision = _most_restrictive(guard, ways)
        return _Decided(decision, told, attributes, consulted, passed)

    async def _ask_authorizers(
        self, guard: Guard, request: external_auth_pb2.CheckRequest, ways: Sequence[Attributes], deadline: float
    ) -> Authorized | Decision:
        """What the external authorizers say to whom CUSTOM policies leave the request, each after the other (0.2).

        One is asked if any way to read the request triggers it, and hears of the request as those before it left it.
        """
        passed = _UNTOUCHED
        allowed = guard.authorizers.passed(ways[0].protocol)
        for name in sorted(guard.tree.providers):
            triggers = [trigger for way in ways for trigger in guard.tree.triggered(way) if trigger.provider == name]
            if not triggers or name in allowed:
                continue
            provider = guard.authorizers.asked.get(name)
            if provider is None:
                return _most_restrictive(guard, ways, allowed)[1]
            answer = await self._authorizers.ask(
                provider, request, ways[0], seconds=max(deadline - time.monotonic(), 0.0)
            )
            if isinstance(answer, Refused):
                return Decision(
                    verdict=Verdict.DENY,
                    stage=Stage.CUSTOM,
                    action=Action.CUSTOM,
                    match=triggers[0].match,
                    reason=answer.reason,
                    denied_with=answer.denial,
                )
            ways = [_after(answer, way) for way in ways]
            passed = passed.then(answer)
            allowed |= {name}
        return passed


def _after(answer: Authorized, attributes: Attributes) -> Attributes:
    """The facts as the filters after ext_authz see them: with the changes, and what it wrote into the metadata."""
    changed = answer.changes.applied_to(attributes)
    if not answer.metadata:
        return changed
    before = attributes.metadata or {}
    written = {**before.get(_EXT_AUTHZ, {}), **answer.metadata}
    return replace(changed, metadata={**before, _EXT_AUTHZ: written})


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


def _most_restrictive(
    guard: Guard, ways: Sequence[Attributes], allowed_by: frozenset[str] | None = None
) -> tuple[Attributes, Decision]:
    """The decision, and the reading of the request that led to it: the first that denies, where there are several."""
    allowed = guard.tree.providers if allowed_by is None else allowed_by
    decided = [(way, guard.tree.decide(way, allowed_by=allowed)) for way in ways]
    return next((each for each in decided if each[1].verdict is Verdict.DENY), decided[0])
