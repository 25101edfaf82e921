"""Asking meshward as Envoy would, in this process: the bytes of a question in, the answer out."""

import asyncio
import re
from enum import Enum
from types import TracebackType
from typing import Self

from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

from authz.attributes import Attributes, Protocol
from authz.mesh_config import MeshConfig
from authz.workload import ServiceRef, Workload
from extauthz.service import AuthorizationService
from extauthz.tokens import TrustingEnvoy
from mesh.snapshot import Snapshot
from parser.manifests import parse_manifests
from tests import questions

__all__ = ["API", "Asking", "Lines", "question_of", "snapshot_of"]

API = Workload(namespace="shop", name="api", labels={"app": "api"}, service_account="api")

_JWT_AUTHN = "envoy.filters.http.jwt_authn"
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


class Lines(Enum):
    """How the filter passes header lines on."""

    APART = "encode_raw_headers"
    JOINED = "without"


def question_of(seen: Attributes, lines: Lines, *, sni: str | None, service: ServiceRef | None = None) -> CheckRequest:
    """What Envoy asks about a request that its filters see so; `sni` is the server name as the client wrote it."""
    if seen.protocol is Protocol.TCP:
        question = questions.connection(workload=None, sni=(sni or "").lower())
    else:
        headers = seen.headers.items()
        apart = [(name, _bytes(value)) for name, values in headers for value in values]
        joined = {name: _text(",".join(values)) for name, values in headers} if lines is Lines.JOINED else None
        path = _text(seen.path or "")
        question = questions.http(
            seen.method or "", path, host=seen.host or "", headers=apart, joined=joined, workload=None
        )
        for header in question.attributes.request.http.header_map.headers:
            if header.key == ":path":
                header.raw_value = _bytes(seen.path or "")
    attributes = question.attributes
    attributes.source.principal = seen.identities[0] if seen.identities else ""
    attributes.source.address.socket_address.address = str(seen.source_ip)
    attributes.destination.address.socket_address.address = str(seen.destination_ip)
    attributes.tls_session.sni = sni or ""
    attributes.destination.address.socket_address.port_value = seen.destination_port or 0
    if seen.claims is not None:
        attributes.metadata_context.filter_metadata[_JWT_AUTHN].update({"payload": dict(seen.claims)})
    if service is not None:
        key = "service_entry" if service.external else "service"
        attributes.context_extensions[key] = f"{service.namespace}/{service.name}"
    return question


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(text: str) -> str:
    """What Envoy puts where there may be only text."""
    return _NOT_UTF8.sub("!", text)


def snapshot_of(manifests: str, *, config: MeshConfig | None = None) -> Snapshot:
    """What these manifests declare, which have no error, and `shop/api` besides."""
    found = parse_manifests([("attack.yaml", manifests.encode())])
    assert not found.errors, found.diagnostics
    return Snapshot(
        policies=found.policies,
        workloads=(API, *found.workloads),
        config=config or found.mesh_config or MeshConfig(),
        revision="r1",
        request_authentications=found.request_authentications,
        peer_authentications=found.peer_authentications,
    )


class Asking:
    """Services to ask, one for each snapshot, on one event loop."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._services: dict[tuple[int, str], tuple[Snapshot, AuthorizationService]] = {}

    def ask(self, snapshot: Snapshot, question: CheckRequest | bytes, *, workload: str = "shop/api") -> CheckResponse:
        """The answer about a request to `workload`."""
        key = id(snapshot), workload
        if key not in self._services:
            service = AuthorizationService(lambda: snapshot, tokens=TrustingEnvoy(), workload=workload)
            # The snapshot is kept, so that its id stays its own.
            self._services[key] = snapshot, service
        data = question if isinstance(question, bytes) else question.SerializeToString()
        return CheckResponse.FromString(self._runner.run(self._services[key][1].answer(data)))

    def allowed(self, snapshot: Snapshot, question: CheckRequest | bytes, *, workload: str = "shop/api") -> bool:
        """Whether it lets the request pass."""
        return bool(self.ask(snapshot, question, workload=workload).status.code == 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()
