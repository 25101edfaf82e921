"""Meshward behind real Envoys: what callers get to see, over every protocol."""

import io
import json
import os
import signal
import ssl
import tempfile
from collections.abc import Iterator
from concurrent import futures
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from rich.console import Console

from authz.mesh_config import PathNormalization
from ca import Authority
from demo import run, sidecar, tls, wire
from demo.envoy import Envoy
from demo.sidecar import Destination, HttpVersion, InboundPort, Json
from demo.upstream import EchoServer, HttpApplication
from identity import SpiffeId, TrustDomain
from tests.integration.serving import Served, policy, serving, workload

TRUST_DOMAIN = TrustDomain("cluster.local")
HOST = "api.shop:8080"
MANIFESTS = {
    "workloads.yaml": "".join(workload(name) for name in ("api", "db", "mail")),
    "api.yaml": policy(
        "api",
        "ALLOW",
        """
        rules:
          - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
            to: [{operation: {methods: [GET, HEAD], paths: [/items, "/items/*"]}}]
          - when: [{key: "request.headers[x-role]", values: [buyer]}]
          - to: [{operation: {paths: [/open]}}]
        """,
    )
    + policy("no-admin", "DENY", "rules: [{to: [{operation: {paths: [/admin, '/admin/*']}}]}]"),
    "mail.yaml": policy(
        "mail",
        "ALLOW",
        """
        rules:
          - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
            to: [{operation: {paths: [/grpc.health.v1.Health/Check]}}]
        """,
        app="mail",
    ),
    "db.yaml": policy(
        "db", "ALLOW", "rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]", app="db"
    ),
}


class Mesh:
    """One Envoy before all workloads, one that calls it, and the callers' ways."""

    def __init__(self, served: Served, parts: ExitStack) -> None:
        self.served = served
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="meshward-")))
        authority = Authority.create(TRUST_DOMAIN, at=datetime.now(UTC))

        def files(account: str) -> tls.TlsFiles:
            spiffe_id = SpiffeId.for_workload(TRUST_DOMAIN, namespace="shop", service_account=account)
            svid = authority.issue_with_new_key(spiffe_id, at=datetime.now(UTC))
            return tls.save(svid, authority.bundle, directory / f"{account}-svid")

        own, web = files("api"), files("web")
        self.web = web
        self.contexts: dict[str, ssl.SSLContext | None] = {
            "web": tls.client_context(web),
            "other": tls.client_context(files("other")),
            "nobody": None,
        }

        def port(name: str, cluster: str = "application") -> InboundPort:
            return InboundPort(
                name=name,
                tls=own,
                trust_domain=TRUST_DOMAIN,
                cluster=cluster,
                access_log=Envoy.access_log(directory / "envoy"),
            )

        def inbound(name: str, cluster: str = "application") -> Json:
            return sidecar.inbound_http(
                port(name, cluster), workload=f"shop/{name}", path_normalization=PathNormalization.MERGE_SLASHES
            )

        server = grpc.server(futures.ThreadPoolExecutor(2))
        parts.callback(lambda: server.stop(None).wait())
        health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
        mail = wire.Endpoint("127.0.0.1", server.add_insecure_port("127.0.0.1:0"))
        server.start()
        destination = sidecar.bootstrap(
            "shop/db",
            listeners=[
                inbound("api"),
                inbound("mail", "mail"),
                sidecar.inbound_tcp(port("db", "echo")),
            ],
            clusters=[
                sidecar.authorizer(served.socket),
                sidecar.application("application", parts.enter_context(HttpApplication()).endpoint),
                sidecar.application("echo", parts.enter_context(EchoServer()).endpoint),
                sidecar.application("mail", mail, version=HttpVersion.HTTP_2),
            ],
        )
        self.envoy = parts.enter_context(Envoy("destination", destination, directory / "envoy"))
        self.ports = {name: self.envoy.listener(name) for name in ("api", "mail", "db")}
        api = SpiffeId.for_workload(TRUST_DOMAIN, namespace="shop", service_account="api")
        caller = sidecar.bootstrap(
            "shop/web",
            listeners=[sidecar.outbound_http("outbound", cluster="mail")],
            clusters=[
                sidecar.peer("mail", Destination(self.ports["mail"], api, "mail"), tls=web, version=HttpVersion.HTTP_2)
            ],
        )
        outbound = parts.enter_context(Envoy("web", caller, directory / "web")).listener("outbound")
        self.outbound = f"{outbound.host}:{outbound.port}"

    def tls(self, caller: str) -> wire.Tls | None:
        context = self.contexts[caller]
        return None if context is None else wire.Tls(context, "api.shop")

    def ask(
        self,
        target: str,
        *headers: wire.Header,
        method: str = "GET",
        caller: str = "web",
        port: str = "api",
        host: str = HOST,
    ) -> wire.Answer:
        return wire.request(self.ports[port], method, target, [("Host", host), *headers], tls=self.tls(caller))


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with serving(MANIFESTS) as served, ExitStack() as parts:
        yield Mesh(served, parts)


def is_rbac_s_denial(answer: wire.Answer) -> bool:
    headers = dict(answer.headers)
    return (answer.status, answer.body, headers["content-type"], headers["content-length"]) == (
        403,
        b"RBAC: access denied",
        "text/plain",
        "19",
    )


# HTTP/1.1


def test_an_allowed_request_reaches_the_application_as_it_was(mesh: Mesh) -> None:
    answer = mesh.ask("/items?page=2", ("x-some", "thing"))
    assert answer.status == 200
    seen = json.loads(answer.body)
    assert (seen["method"], seen["target"]) == ("GET", "/items?page=2")
    assert ["x-some", "thing"] in seen["headers"]


def test_a_denied_request_gets_what_rbac_would_answer(mesh: Mesh) -> None:
    assert is_rbac_s_denial(mesh.ask("/items", method="DELETE"))
    assert is_rbac_s_denial(mesh.ask("/items", caller="other"))
    assert is_rbac_s_denial(mesh.ask("/items", caller="nobody"))
    head = mesh.ask("/elsewhere", method="HEAD")
    assert (head.status, head.body) == (403, b"")


def test_the_access_log_says_which_rule_decided(mesh: Mesh) -> None:
    mesh.ask("/admin/users", ("x-request-id", "denied-by-rule"))
    entry = mesh.envoy.wait_for_entry(lambda entry: entry["request_id"] == "denied-by-rule")
    decision = entry["decision"]
    assert (decision["policy"], decision["rule"], decision["stage"]) == ("shop/no-admin", 0, "deny")
    assert decision["revision"] in mesh.served.printed
    assert (entry["details"], entry["flags"]) == ("ext_authz_denied", "UAEX")


def test_each_line_of_a_repeated_header_counts_on_its_own(mesh: Mesh) -> None:
    assert mesh.ask("/x", ("x-role", "guest"), ("x-role", "buyer")).status == 200
    assert is_rbac_s_denial(mesh.ask("/x", ("x-role", "guest,buyer")))


def test_a_header_that_is_not_utf8_is_compared_by_its_bytes(mesh: Mesh) -> None:
    assert mesh.ask("/open", ("x-some", "caf\xe9")).status == 200
    assert mesh.ask("/x", ("x-role", "buyer")).status == 200
    assert is_rbac_s_denial(mesh.ask("/x", ("x-role", "buyer\xe9")))
    assert is_rbac_s_denial(mesh.ask("/x", ("x-role", "\xe9buyer")))


@pytest.mark.parametrize(
    "target",
    [
        *("/admin", "/admin/", "/items/../admin", "//admin", "/%61dmin", "/items/%2e%2e/admin", "/items\\..\\admin"),
        *("/admin#x", "/admin?x", "/./admin/users", "/items/..;/admin", "http://other/admin", "/admin/%2e%2e/admin/x"),
    ],
)
def test_no_way_of_writing_it_leads_to_the_admin_pages(mesh: Mesh, target: str) -> None:
    # Whoever is a buyer may go anywhere else.
    assert mesh.ask("/elsewhere", ("x-role", "buyer")).status == 200
    assert is_rbac_s_denial(mesh.ask(target, ("x-role", "buyer")))


# HTTP/2 and gRPC


def test_http2_is_decided_as_http1_is(mesh: Mesh) -> None:
    port = mesh.ports["api"]
    # A context of its own: httpx changes it.
    context = tls.client_context(mesh.web)
    with httpx.Client(http1=False, http2=True, verify=context, base_url=f"https://{port.host}:{port.port}") as client:
        allowed = client.get("/items")
        assert (allowed.status_code, allowed.http_version) == (200, "HTTP/2")
        denied = client.delete("/items")
        assert (denied.status_code, denied.content, denied.http_version) == (403, b"RBAC: access denied", "HTTP/2")
        assert denied.headers["content-type"] == "text/plain"
        assert client.get("/x", headers=[("x-role", "guest"), ("x-role", "buyer")]).status_code == 200
        assert client.get("/x", headers=[("x-role", "guest,buyer")]).status_code == 403
        assert client.get("/open", headers={b"x-some": b"caf\xe9"}).status_code == 200
        assert client.get("/x", headers={b"x-role": b"buyer\xe9"}).status_code == 403
        assert client.get("/open", headers={b"x-some": "café".encode()}).status_code == 200


def test_a_grpc_call_is_passed_on_or_denied_with_its_own_status(mesh: Mesh) -> None:
    with grpc.insecure_channel(mesh.outbound) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as denial:
            next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=10))
        assert denial.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert denial.value.details() == "RBAC: access denied"


# TCP


def test_a_connection_is_passed_on_or_closed(mesh: Mesh) -> None:
    assert wire.exchange(mesh.ports["db"], b"hello", tls=mesh.tls("web")) == b"hello"
    assert wire.exchange(mesh.ports["db"], b"hello", tls=mesh.tls("other")) == b""
    assert wire.exchange(mesh.ports["db"], b"hello", tls=None) == b""
    decision = mesh.served.decisions()[-1]
    assert (decision["workload"], decision["connection"]["protocol"]) == ("shop/db", "tcp")
    assert decision["decision"]["reason"] == "no ALLOW rule matches"
    entry = mesh.envoy.wait_for_entry(
        lambda entry: "bytes_received" in entry and entry["filter_chain"] == "mtls" and entry["flags"] == "UAEX"
    )
    assert entry["decision"]["stage"] == "allow"


# Without an answer


def test_whatever_happens_to_meshward_nothing_is_allowed_meanwhile() -> None:
    with serving({"workloads.yaml": workload("api") + workload("db")}) as served, ExitStack() as parts:
        mesh = Mesh(served, parts)

        def allowed() -> tuple[int, bytes]:
            return mesh.ask("/items").status, wire.exchange(mesh.ports["db"], b"hi", tls=mesh.tls("web"))

        assert allowed() == (200, b"hi")
        process = served.server._process.pid
        os.kill(process, signal.SIGSTOP)
        try:
            assert allowed() == (403, b"")
        finally:
            os.kill(process, signal.SIGCONT)
        assert allowed() == (200, b"hi")
        served.server.stop()
        assert allowed() == (403, b"")
        assert mesh.envoy.wait_for_entry(lambda entry: entry["details"] == "ext_authz_error")


# The demo


def test_every_scene_of_the_demo_goes_as_expected() -> None:
    console = Console(file=io.StringIO(), width=160)
    assert run.run(console) is True
