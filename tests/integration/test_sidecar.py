"""gRPC from a caller's sidecar over mTLS to the destination's, with HTTP/2 all the way."""

import tempfile
from concurrent import futures
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from ca import Authority
from demo import sidecar, tls
from demo.envoy import Envoy
from demo.sidecar import Destination, HttpVersion, InboundPort
from demo.wire import Endpoint
from identity import SpiffeId, TrustDomain
from tests.integration.recorder import Recorder, deny

TRUST_DOMAIN = TrustDomain("cluster.local")


def test_grpc_passes_when_allowed_and_is_told_when_denied() -> None:
    with ExitStack() as parts:
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="meshward-")))
        recorder = Recorder(directory / "ext-authz.sock")
        parts.callback(recorder.stop)
        web, api = (SpiffeId.for_workload(TRUST_DOMAIN, namespace="shop", service_account=sa) for sa in ("web", "api"))
        authority = Authority.create(TRUST_DOMAIN, at=datetime.now(UTC))
        files = {
            name: tls.save(
                authority.issue_with_new_key(name, at=datetime.now(UTC)), authority.bundle, directory / where
            )
            for name, where in ((web, "web-svid"), (api, "api-svid"))
        }
        server = grpc.server(futures.ThreadPoolExecutor(1))
        parts.callback(lambda: server.stop(None).wait())
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
        application = Endpoint("127.0.0.1", server.add_insecure_port("127.0.0.1:0"))
        server.start()

        inbound = InboundPort(
            name="inbound",
            tls=files[api],
            trust_domain=TRUST_DOMAIN,
            cluster="application",
            access_log=Envoy.access_log(directory / "api"),
        )
        destination = sidecar.bootstrap(
            "shop/api",
            listeners=[sidecar.inbound_http(inbound, workload="shop/api")],
            clusters=[
                sidecar.authorizer(directory / "ext-authz.sock"),
                sidecar.application("application", application, version=HttpVersion.HTTP_2),
            ],
        )
        envoy = parts.enter_context(Envoy("api", destination, directory / "api"))
        peer = Destination(envoy.listener("inbound"), api, "outbound_.8080_._.api.shop.svc.cluster.local")
        caller = sidecar.bootstrap(
            "shop/web",
            listeners=[sidecar.outbound_http("outbound", cluster="api")],
            clusters=[sidecar.peer("api", peer, tls=files[web], version=HttpVersion.HTTP_2)],
        )
        outbound = parts.enter_context(Envoy("web", caller, directory / "web")).listener("outbound")

        channel = parts.enter_context(grpc.insecure_channel(f"{outbound.host}:{outbound.port}"))
        check = health_pb2_grpc.HealthStub(channel).Check
        assert check(health_pb2.HealthCheckRequest(), timeout=10).status == health_pb2.HealthCheckResponse.SERVING
        asked = recorder.asked[-1].attributes
        assert (asked.source.principal, asked.destination.principal) == (str(web), str(api))
        assert (asked.request.http.path, asked.request.http.protocol) == ("/grpc.health.v1.Health/Check", "HTTP/2")

        recorder.answer = deny
        with pytest.raises(grpc.RpcError) as denial:
            check(health_pb2.HealthCheckRequest(), timeout=10)
        assert denial.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert denial.value.details() == "RBAC: access denied"
