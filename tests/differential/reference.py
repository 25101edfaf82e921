"""The reference in the server's place: each question is decided by `authz.semantics` and nothing faster."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

from authz import semantics
from authz.decision import Decision, Stage, Verdict
from authz.selection import select
from authz.workload import ProxyKind
from extauthz.wire import MalformedRequestError, at_gateway, to_asked, to_response
from mesh.deciding import decision_document
from mesh.registry import Registry
from parser.manifests import parse_manifests
from tests.integration.recorder import Recorder
from tests.integration.serving import Manifests

__all__ = ["Reference", "deciding_by_the_reference"]


class Reference:
    """Answers on `socket` by the reference, with the policies of `manifests`."""

    def __init__(self, manifests: Manifests, socket: Path) -> None:
        read = parse_manifests((name, text.encode()) for name, text in manifests.items())
        assert not read.errors, read.diagnostics
        assert read.mesh_config is not None
        self._policies, self._config = read.policies, read.mesh_config
        self._registry = Registry(read.workloads)
        self._decisions: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self.socket = socket
        self._server = Recorder(socket)
        self._server.answer = self._answer

    def _answer(self, question: CheckRequest) -> CheckResponse:
        try:
            asked = to_asked(question)
        except MalformedRequestError as error:
            refusal = Decision(verdict=Verdict.DENY, stage=Stage.NONE, action=None, match=None, reason=str(error))
            return CheckResponse.FromString(to_response(refusal, revision=""))
        named, address = asked.destination.workload, asked.destination.address
        found = (
            self._registry.candidates(principal=None, address=address) if named is None else self._registry.named(named)
        )
        (workload,) = found
        if workload.proxy is ProxyKind.GATEWAY:
            asked = at_gateway(asked, trusted_proxies=self._config.trusted_proxies)
        decision = semantics.decide(
            select(self._policies, workload, root_namespace=self._config.root_namespace),
            asked.attributes,
            trust_domains=self._config.trust_domains,
        )
        with self._lock:
            self._decisions.append({"workload": workload.id, "decision": decision_document(decision, revision="")})
        return CheckResponse.FromString(to_response(decision, revision=""))

    def decisions(self) -> list[dict[str, Any]]:
        """What it decided so far, as the decision log would have it."""
        return self._decisions

    def stop(self) -> None:
        self._server.stop()


@contextmanager
def deciding_by_the_reference(manifests: Manifests) -> Iterator[Reference]:
    """A `Reference`, until the end of the `with`."""
    with TemporaryDirectory(prefix="meshward-") as directory:
        reference = Reference(manifests, Path(directory) / "ext-authz.sock")
        try:
            yield reference
        finally:
            reference.stop()
