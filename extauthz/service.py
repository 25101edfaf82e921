"""The service that Envoy asks: `envoy.service.auth.v3.Authorization/Check`."""

import logging
import time
from collections.abc import Callable, Mapping

import grpc
from envoy.service.auth.v3 import external_auth_pb2, external_auth_pb2_grpc

from authz.attributes import Attributes
from authz.decision import Decision, Stage, Verdict
from authz.tree import DecisionTree
from authz.workload import Workload
from extauthz.decision_log import DecisionLog, request_document
from extauthz.wire import Asked, MalformedRequestError, readings, to_asked, to_response
from mesh.deciding import decision_document
from mesh.errors import UnknownWorkloadError
from mesh.snapshot import Snapshot

__all__ = ["AuthorizationService"]

_logger = logging.getLogger("meshward")


class AuthorizationService(external_auth_pb2_grpc.AuthorizationServicer):  # type: ignore[misc]  # generated, untyped
    """Answers each question from the snapshot that is in force when it comes in.

    `workload` fixes the destination of every question, as for a server beside one sidecar. Whatever goes wrong denies.
    """

    def __init__(
        self, snapshot: Callable[[], Snapshot], *, workload: str | None = None, log: DecisionLog | None = None
    ) -> None:
        self._snapshot = snapshot
        self._workload = workload
        self._log = log

    async def Check(  # noqa: N802  # the method's name on the wire
        self, request: external_auth_pb2.CheckRequest, context: grpc.aio.ServicerContext
    ) -> external_auth_pb2.CheckResponse:
        """Decide one request."""
        del context
        started = time.perf_counter()
        snapshot = self._snapshot()
        try:
            return self._check(request, snapshot, started)
        except (MalformedRequestError, UnknownWorkloadError) as error:
            return self._refuse(str(error), snapshot, started)
        except Exception:  # what nobody foresaw denies, and says so where the operator looks
            _logger.exception("denied: a request could not be decided")
            return self._refuse("internal error", snapshot, started)

    def _check(
        self, request: external_auth_pb2.CheckRequest, snapshot: Snapshot, started: float
    ) -> external_auth_pb2.CheckResponse:
        asked = to_asked(request)
        workload = self._destination(asked, snapshot)
        tree = snapshot.tree(workload)
        attributes, decision = _most_restrictive(tree, asked)
        if self._log is not None:
            document = request_document(workload.id, attributes, tree.headers)
            self._write(self._log, document, decision, snapshot, started)
        return to_response(decision, revision=snapshot.revision)

    def _destination(self, asked: Asked, snapshot: Snapshot) -> Workload:
        destination = asked.destination
        return snapshot.find(
            workload=self._workload or destination.workload,
            principal=destination.principal,
            address=destination.address,
        )

    def _refuse(self, reason: str, snapshot: Snapshot, started: float) -> external_auth_pb2.CheckResponse:
        _logger.warning("denied: %s", reason)
        decision = Decision(verdict=Verdict.DENY, stage=Stage.NONE, action=None, match=None, reason=reason)
        if self._log is not None:
            self._write(self._log, {}, decision, snapshot, started)
        return to_response(decision, revision=snapshot.revision)

    @staticmethod
    def _write(
        log: DecisionLog, request: Mapping[str, object], decision: Decision, snapshot: Snapshot, started: float
    ) -> None:
        duration_us = (time.perf_counter() - started) * 1e6
        log.write(request, decision_document(decision, revision=snapshot.revision), duration_us=duration_us)


def _most_restrictive(tree: DecisionTree, asked: Asked) -> tuple[Attributes, Decision]:
    """The decision, and the reading of the request that led to it: the first that denies, where there are several."""
    decided = [(attributes, tree.decide(attributes)) for attributes in readings(asked, tree.headers)]
    return next((each for each in decided if each[1].verdict is Verdict.DENY), decided[0])
