"""An ext_authz server that records what Envoy asks and answers what it is told: for learning what Envoy does."""

from collections.abc import Callable
from concurrent import futures
from pathlib import Path

import grpc
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse
from envoy.service.auth.v3.external_auth_pb2_grpc import AuthorizationServicer, add_AuthorizationServicer_to_server

FACTS = {"policy": "shop/some", "rule": 1, "reason": 'said "so"', "revision": "r1"}


def allow(_: CheckRequest) -> CheckResponse:
    response = CheckResponse()
    response.ok_response.SetInParent()
    response.dynamic_metadata.update(FACTS)
    return response


def deny(_: CheckRequest) -> CheckResponse:
    response = CheckResponse()
    response.status.code = grpc.StatusCode.PERMISSION_DENIED.value[0]
    response.denied_response.status.code = 403
    response.denied_response.body = "RBAC: access denied"
    response.dynamic_metadata.update(FACTS)
    return response


class Recorder(AuthorizationServicer):  # type: ignore[misc]  # grpc's generated code has no types
    """Listens on `address`: the path of a Unix socket, or `host:port`, where port 0 is a free one."""

    def __init__(self, address: Path | str) -> None:
        self.asked: list[CheckRequest] = []
        self.answer: Callable[[CheckRequest], CheckResponse] = allow
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        add_AuthorizationServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"unix:{address}" if isinstance(address, Path) else address)
        self._server.start()

    def Check(self, request: CheckRequest, context: grpc.ServicerContext) -> CheckResponse:  # noqa: ARG002, N802  # gRPC's
        self.asked.append(request)
        return self.answer(request)

    def stop(self) -> None:
        self._server.stop(None).wait()
