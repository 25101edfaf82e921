"""What `docs/envoy.md` says of Envoy, on the two configurations that it shows."""

import re
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from ca import Authority
from demo import tls, wire
from demo.envoy import Envoy
from demo.upstream import EchoServer, HttpApplication
from identity import SpiffeId, TrustDomain
from tests.integration.recorder import Recorder, deny

PAGE = Path(__file__).parents[2] / "docs" / "envoy.md"
TRUST_DOMAIN = TrustDomain("cluster.local")
HTTP, TCP = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL))


class Sidecar:
    """One configuration of the page, with the paths and ports of this machine, and both callers."""

    def __init__(
        self, configuration: dict[str, Any], workload: str, application: wire.Endpoint, parts: ExitStack
    ) -> None:
        # Not pytest's own directory: its path is too long for a Unix socket.
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="meshward-")))
        authority = Authority.create(TRUST_DOMAIN, at=datetime.now(UTC))

        def files(account: str) -> tls.TlsFiles:
            spiffe_id = SpiffeId.for_workload(TRUST_DOMAIN, namespace="shop", service_account=account)
            svid = authority.issue_with_new_key(spiffe_id, at=datetime.now(UTC))
            return tls.save(svid, authority.bundle, directory / account)

        self.recorder = Recorder(directory / "ext-authz.sock")
        parts.callback(self.recorder.stop)
        own = files(workload)
        places = {
            "/run/meshward/ext-authz.sock": str(directory / "ext-authz.sock"),
            "/etc/meshward/svid.pem": str(own.chain),
            "/etc/meshward/svid.key": str(own.private_key),
            "/etc/meshward/bundle.pem": str(own.bundle),
            "/dev/stdout": str(Envoy.access_log(directory / "envoy")),
        }
        local = replaced(configuration, places)
        local["static_resources"]["clusters"][1]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"] = {
            "address": {"socket_address": {"address": application.host, "port_value": application.port}},
        }
        local["static_resources"]["listeners"][0]["address"] = {
            "socket_address": {"address": "127.0.0.1", "port_value": 0},
        }
        self.envoy = parts.enter_context(Envoy(workload, local, directory / "envoy"))
        self.port = self.envoy.listener("inbound")
        self.web = tls.client_context(files("web"))

    @property
    def last(self) -> Any:
        return self.recorder.asked[-1].attributes

    def entry(self, number: int) -> dict[str, Any]:
        return self.envoy.wait_for_entry(lambda _: True, skip=number)


def replaced(value: Any, places: dict[str, str]) -> Any:
    match value:
        case dict():
            return {key: replaced(item, places) for key, item in value.items()}
        case list():
            return [replaced(item, places) for item in value]
        case str():
            return places.get(value, value)
        case _:
            return value


@pytest.fixture
def http() -> Iterator[Sidecar]:
    with ExitStack() as parts:
        application = parts.enter_context(HttpApplication())
        yield Sidecar(HTTP, "api", application.endpoint, parts)


@pytest.fixture
def tcp() -> Iterator[Sidecar]:
    with ExitStack() as parts:
        application = parts.enter_context(EchoServer())
        yield Sidecar(TCP, "db", application.endpoint, parts)


def get(sidecar: Sidecar, target: str, *headers: wire.Header, sni: str | None = None) -> wire.Answer:
    return wire.request(
        sidecar.port, "GET", target, [("Host", "api.shop:8080"), *headers], tls=wire.Tls(sidecar.web, sni)
    )


def test_http_over_mtls_says_who_calls_whom(http: Sidecar) -> None:
    assert get(http, "/items?page=2", sni="api.shop").status == 200
    asked = http.last
    assert asked.source.principal == "spiffe://cluster.local/ns/shop/sa/web"
    assert unquote(asked.source.certificate).count("BEGIN CERTIFICATE") == 1
    assert asked.destination.principal == "spiffe://cluster.local/ns/shop/sa/api"
    assert asked.tls_session.sni == "api.shop"
    assert dict(asked.context_extensions) == {"workload": "shop/api"}
    request = asked.request.http
    assert (request.method, request.path, request.query, request.host) == ("GET", "/items?page=2", "", "api.shop:8080")


def test_http_in_plaintext_names_nobody_and_still_has_a_tls_session(http: Sidecar) -> None:
    assert wire.request(http.port, "GET", "/items", [("Host", "api")]).status == 200
    assert http.last.source.principal == ""
    assert http.last.source.certificate == ""
    assert http.last.destination.principal == ""
    assert http.last.HasField("tls_session")
    assert http.last.tls_session.sni == ""


def test_every_header_line_comes_apart_and_as_bytes(http: Sidecar) -> None:
    get(http, "/", ("X-Role", "a"), ("x-role", "b,c"), ("x-bin", "\xff\xfe"), ("x-empty", ""))
    request = http.last.request.http
    assert dict(request.headers) == {}
    lines = [(header.key, header.raw_value) for header in request.header_map.headers]
    assert [value for name, value in lines if name == "x-role"] == [b"a", b"b,c"]
    assert (("x-bin", b"\xff\xfe") in lines, ("x-empty", b"") in lines) == (True, True)
    assert [value for name, value in lines if name == ":authority"] == [b"api.shop:8080"]
    assert "host" not in dict(lines)


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        ("/public/../admin", "/admin"),
        ("//admin", "/admin"),
        ("/%61dmin", "/admin"),
        ("/public\\..\\admin", "/admin"),
        ("/a/..;x/b", "/b"),
        ("/public/..%2fadmin", "/public/..%2fadmin"),
        ("/admin#x", "/admin"),
        ("/a?x=//b/../c", "/a?x=//b/../c"),
    ],
)
def test_meshward_and_the_application_see_the_same_path(http: Sidecar, sent: str, seen: str) -> None:
    answer = get(http, sent)
    assert http.last.request.http.path == seen
    assert yaml.safe_load(answer.body)["target"] == seen


def test_the_access_log_says_what_decided_and_how_long_it_took(http: Sidecar) -> None:
    get(http, "/items")
    http.recorder.answer = deny
    answer = get(http, "/admin")
    assert (answer.status, answer.body) == (403, b"RBAC: access denied")
    allowed, denied = http.entry(0), http.entry(1)
    for entry in (allowed, denied):
        assert (entry["policy"], entry["rule"], entry["reason"]) == ("shop/some", 1, 'said "so"')
        assert int(entry["check_us"]) > 0
    assert (allowed["details"], allowed["flags"]) == ("via_upstream", "-")
    assert (denied["details"], denied["flags"]) == ("ext_authz_denied", "UAEX")


def test_a_denied_grpc_call_ends_with_permission_denied(http: Sidecar) -> None:
    http.recorder.answer = deny
    answer = get(http, "/shop.Items/List", ("content-type", "application/grpc"), ("te", "trailers"))
    assert answer.status == 200
    assert dict(answer.headers)["grpc-status"] == "7"
    assert dict(answer.headers)["grpc-message"] == "RBAC: access denied"


def test_without_an_answer_the_request_is_denied(http: Sidecar) -> None:
    http.recorder.stop()
    answer = get(http, "/items")
    assert (answer.status, answer.body) == (403, b"")
    assert http.entry(0)["details"] == "ext_authz_error"


def test_tcp_over_mtls_says_who_calls_whom_and_has_no_request(tcp: Sidecar) -> None:
    assert wire.exchange(tcp.port, b"hello", tls=wire.Tls(tcp.web, "db.shop")) == b"hello"
    asked = tcp.last
    assert not asked.HasField("request")
    assert asked.source.principal == "spiffe://cluster.local/ns/shop/sa/web"
    assert asked.destination.principal == "spiffe://cluster.local/ns/shop/sa/db"
    assert (asked.destination.service, asked.tls_session.sni) == ("db.shop", "db.shop")
    assert dict(asked.destination.labels) == {"workload": "shop/db"}
    assert tcp.entry(0)["policy"] == "shop/some"


def test_tcp_in_plaintext_still_names_the_workload(tcp: Sidecar) -> None:
    assert wire.exchange(tcp.port, b"hello") == b"hello"
    assert tcp.last.source.principal == ""
    assert tcp.last.destination.principal == ""
    assert dict(tcp.last.destination.labels) == {"workload": "shop/db"}


def test_denied_tcp_is_closed(tcp: Sidecar) -> None:
    tcp.recorder.answer = deny
    assert wire.exchange(tcp.port, b"hello", tls=wire.Tls(tcp.web, None)) == b""
    entry = tcp.entry(0)
    assert (entry["details"], entry["flags"], entry["policy"]) == ("ext_authz_denied", "UAEX", "shop/some")


def test_tls_without_a_certificate_is_not_asked_about(tcp: Sidecar) -> None:
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    with pytest.raises(OSError, match=r"(?i)ssl|reset"):
        wire.exchange(tcp.port, b"hello", tls=wire.Tls(anybody, None))
    assert tcp.recorder.asked == []
