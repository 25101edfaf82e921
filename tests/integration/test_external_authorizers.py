"""CUSTOM policies: meshward asks other servers, and does what they and Istio's rules about them say (semantics 6)."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse, OkHttpResponse

from demo.process import Process, wait_until
from demo.server import MESHWARD
from tests import questions
from tests.integration.http_authorizer import HttpAuthorizer, Said
from tests.integration.recorder import Recorder
from tests.integration.serving import Served, policy, serving, workload

WORKLOADS = ("grpc", "http", "both", "unknown", "open", "open-http", "meshward", "body", "slow", "db", "db-http")


def custom(name: str, provider: str, rules: str = "rules: [{to: [{operation: {paths: ['/ask*']}}]}]") -> str:
    return policy(f"{name}-{provider}", "CUSTOM", f"provider: {{name: {provider}}}\n{rules}", app=name)


POLICIES = "".join(
    [
        custom("grpc", "grpc"),
        policy(
            "grpc-no-admin", "DENY", "rules: [{when: [{key: 'request.headers[x-team]', values: [admin]}]}]", app="grpc"
        ),
        policy(
            "grpc-metadata",
            "DENY",
            "rules: [{when: [{key: 'experimental.envoy.filters.http.ext_authz[risk]', values: [high]}]}]",
            app="grpc",
        ),
        custom("http", "http"),
        custom("both", "grpc"),
        custom("both", "http"),
        custom("unknown", "nobody"),
        custom("open", "closed-open"),
        custom("open-http", "closed-open-http"),
        custom("meshward", "meshward"),
        custom("body", "body"),
        custom("slow", "slow"),
        custom("db", "grpc", "rules: [{to: [{operation: {ports: ['8080']}}]}]"),
        custom("db-http", "http", "rules: [{to: [{operation: {ports: ['8080']}}]}]"),
    ]
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Second(NamedTuple):
    """The servers that are asked, and meshward, which asks them."""

    served: Served
    grpc: Recorder
    http: HttpAuthorizer

    def ask(self, question: CheckRequest) -> CheckResponse:
        return self.served.asking.check(question)

    def reason(self, question: CheckRequest) -> str:
        return str(self.ask(question).dynamic_metadata["reason"])


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Second]:
    directory = tmp_path_factory.mktemp("second")
    (directory / "policies.yaml").write_text(workload("meshward") + policy("buyers", "ALLOW", BUYERS, app="meshward"))
    port, closed = free_port(), free_port()
    log = directory / "meshward.log"
    command = [*MESHWARD, "serve", str(directory / "policies.yaml"), "--listen", f"127.0.0.1:{port}"]
    recorder, authorizer = Recorder("127.0.0.1:0"), HttpAuthorizer()
    mesh = MESH.format(grpc=recorder.port, http=authorizer.port, meshward=port, closed=closed)
    manifests = {"mesh.yaml": mesh, "all.yaml": "".join(map(workload, WORKLOADS)) + POLICIES}
    with Process("second meshward", [*command, "--workload", "shop/meshward"], log=log), serving(manifests) as served:
        wait_until(lambda: "listening" in log.read_text() or None, "the second meshward listens", seconds=20)
        yield Second(served, recorder, authorizer)
    recorder.stop()
    authorizer.stop()


BUYERS = "rules: [{when: [{key: 'request.headers[x-role]', values: [buyer]}]}]"
MESH = """\
extensionProviders:
  - name: grpc
    envoyExtAuthzGrpc: {{service: 127.0.0.1, port: "{grpc}", timeout: 2s}}
  - name: slow
    envoyExtAuthzGrpc: {{service: 127.0.0.1, port: {grpc}, timeout: 0.2s, statusOnError: "503"}}
  - name: body
    envoyExtAuthzGrpc:
      service: 127.0.0.1
      port: {grpc}
      includeRequestBodyInCheck: {{maxRequestBytes: 4}}
  - name: http
    envoyExtAuthzHttp:
      service: shop/localhost
      port: {http}
      timeout: 2s
      pathPrefix: /check
      includeRequestHeadersInCheck: [x-role, "x-ext-*"]
      includeAdditionalHeadersInCheck: {{x-added: here}}
      headersToUpstreamOnAllow: [x-user]
      headersToDownstreamOnDeny: [x-why]
      headersToDownstreamOnAllow: [x-allowed-by]
  - name: meshward
    envoyExtAuthzGrpc: {{service: localhost, port: {meshward}}}
  - name: closed-open
    envoyExtAuthzGrpc: {{service: 127.0.0.1, port: {closed}, failOpen: true}}
  - name: closed-open-http
    envoyExtAuthzHttp: {{service: 127.0.0.1, port: {closed}, failOpen: true}}
"""


@pytest.fixture(autouse=True)
def _silent(second: Second) -> None:
    second.grpc.asked.clear()
    second.grpc.answer = answering()
    second.http.heard.clear()
    second.http.answer = lambda _: Said()


def answering(ok: OkHttpResponse | None = None, **metadata: str) -> Callable[[CheckRequest], CheckResponse]:
    def answer(_: CheckRequest) -> CheckResponse:
        response = CheckResponse(ok_response=ok or OkHttpResponse())
        response.dynamic_metadata.update(metadata)
        return response

    return answer


def refusing(status: int = 0, body: str = "", **headers: str) -> Callable[[CheckRequest], CheckResponse]:
    def answer(_: CheckRequest) -> CheckResponse:
        response = CheckResponse()
        response.status.code = 7
        if status:
            response.denied_response.status.code = status
        response.denied_response.body = body
        for name, value in headers.items():
            response.denied_response.headers.append(set_header(name, value))
        return response

    return answer


def set_header(name: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(header=HeaderValue(key=name, value=value))


def denied_with(response: CheckResponse) -> tuple[int, str, dict[str, str]]:
    denied = response.denied_response
    return denied.status.code, denied.body, {option.header.key: option.header.value for option in denied.headers}


def test_who_is_not_triggered_is_not_asked(second: Second) -> None:
    second.grpc.answer = refusing()
    assert second.served.asking.allowed(questions.http(path="/other", workload="shop/grpc"))
    assert not second.grpc.asked
    assert not second.served.asking.allowed(questions.http(path="/ask", workload="shop/grpc"))
    assert len(second.grpc.asked) == 1


def test_a_grpc_authorizer_hears_what_istio_lets_it_hear(second: Second) -> None:
    headers: list[tuple[str, str | bytes]] = [("x-role", "a"), ("x-role", "b"), ("x-odd", b"caf\xe9")]
    question = questions.http("POST", "/ask?x=1", headers=headers, workload="shop/grpc")
    question.attributes.source.certificate = ""
    question.attributes.tls_session.sni = "api.shop"
    second.ask(question)
    (heard,) = second.grpc.asked
    http = heard.attributes.request.http
    assert (http.method, http.path, http.host) == ("POST", "/ask?x=1", "api.shop:8080")
    assert http.headers["x-role"] == "a,b"
    assert http.headers["x-odd"] == "caf!"
    assert http.headers[":path"] == "/ask?x=1"
    assert not http.header_map.headers
    assert heard.attributes.source.principal == questions.WEB
    assert not heard.attributes.HasField("tls_session")
    assert not heard.attributes.context_extensions


def test_a_refusal_reaches_the_caller_as_the_authorizer_said_it(second: Second) -> None:
    second.grpc.answer = refusing(429, "not so fast", **{"retry-after": "7"})
    answer = second.ask(questions.http(path="/ask", workload="shop/grpc"))
    assert denied_with(answer) == (429, "not so fast", {"retry-after": "7"})
    assert answer.dynamic_metadata["stage"] == "custom"
    assert answer.dynamic_metadata["policy"] == "shop/grpc-grpc"
    second.grpc.answer = refusing()
    assert denied_with(second.ask(questions.http(path="/ask", workload="shop/grpc")))[0] == 403


def test_what_the_authorizer_changes_is_what_policies_see_and_what_goes_on(second: Second) -> None:
    ok = OkHttpResponse(
        headers=[set_header("x-team", "admin"), set_header("x-user", "alice")],
        headers_to_remove=["x-role"],
        response_headers_to_add=[set_header("x-checked", "yes")],
    )
    second.grpc.answer = answering(ok)
    denied = second.ask(questions.http(path="/ask", workload="shop/grpc"))
    assert denied.dynamic_metadata["policy"] == "shop/grpc-no-admin"
    # Who is not asked is not changed.
    assert second.served.asking.allowed(questions.http(path="/other", workload="shop/grpc"))
    ok.headers[0].header.value = "buyer"
    allowed = second.ask(questions.http(path="/ask", workload="shop/grpc")).ok_response
    assert {(o.header.key, o.header.value) for o in allowed.headers} == {("x-team", "buyer"), ("x-user", "alice")}
    assert list(allowed.headers_to_remove) == ["x-role"]
    assert [(o.header.key, o.header.value) for o in allowed.response_headers_to_add] == [("x-checked", "yes")]


def test_the_metadata_of_the_authorizer_is_there_for_policies(second: Second) -> None:
    second.grpc.answer = answering(risk="high")
    answer = second.ask(questions.http(path="/ask", workload="shop/grpc"))
    assert answer.dynamic_metadata["policy"] == "shop/grpc-metadata"
    second.grpc.answer = answering(risk="low")
    assert second.ask(questions.http(path="/ask", workload="shop/grpc")).dynamic_metadata["risk"] == "low"


def test_an_http_authorizer_hears_the_request_with_the_headers_it_may_hear(second: Second) -> None:
    headers = [
        ("x-role", "a"),
        ("X-Ext-Id", "7"),
        ("x-secret", "s"),
        ("authorization", "Bearer t"),
        ("x-added", "forged"),
    ]
    assert second.served.asking.allowed(questions.http("PUT", "//ask/../x?y", headers=headers, workload="shop/http"))
    assert not second.http.heard, "/ask* does not match that path"
    second.ask(questions.http("PUT", "/ask/%2e%2E//x?y", headers=headers, workload="shop/http"))
    (heard,) = second.http.heard
    assert (heard.method, heard.target, heard.body) == ("PUT", "/check/ask/%2e%2E//x?y", b"")
    assert heard.headers == {
        "host": "api.shop:8080",
        "x-role": "a",
        "x-ext-id": "7",
        "authorization": "Bearer t",
        "x-added": "here",
        "content-length": "0",
    }


def test_what_an_http_authorizer_answers_is_taken_as_far_as_its_lists_say(second: Second) -> None:
    headers = (("x-user", "alice"), ("x-allowed-by", "second"), ("x-why", "nice"), ("x-other", "o"))
    second.http.answer = lambda _: Said(200, headers, b"fine")
    ok = second.ask(questions.http(path="/ask", workload="shop/http")).ok_response
    assert [(o.header.key, o.header.value) for o in ok.headers] == [("x-user", "alice")]
    assert [(o.header.key, o.header.value) for o in ok.response_headers_to_add] == [("x-allowed-by", "second")]
    second.http.answer = lambda _: Said(401, (*headers, ("www-authenticate", "Basic")), b"who?")
    status, body, returned = denied_with(second.ask(questions.http(path="/ask", workload="shop/http")))
    assert (status, body, returned) == (401, "who?", {"x-why": "nice", "www-authenticate": "Basic"})


@pytest.mark.parametrize("status", [500, 503])
def test_an_http_authorizer_that_fails_denies(second: Second, status: int) -> None:
    second.http.answer = lambda _: Said(status, (), b"secret trace")
    answer = second.ask(questions.http(path="/ask", workload="shop/http"))
    assert denied_with(answer) == (403, "", {})
    assert answer.dynamic_metadata["reason"] == "authorizer http could not be asked"


def test_a_redirect_is_an_answer_and_is_not_followed(second: Second) -> None:
    second.http.answer = lambda _: Said(302, (("location", "https://login.example/"),))
    answer = second.ask(questions.http(path="/ask", workload="shop/http"))
    assert denied_with(answer) == (302, "", {"location": "https://login.example/"})
    assert len(second.http.heard) == 1


def test_who_takes_too_long_denies_with_the_status_of_its_settings(second: Second) -> None:
    def late(_: CheckRequest) -> CheckResponse:
        time.sleep(0.6)
        return CheckResponse(ok_response=OkHttpResponse())

    second.grpc.answer = late
    answer = second.ask(questions.http(path="/ask", workload="shop/slow"))
    assert denied_with(answer)[0] == 503
    second.served.wait_for_printed("authorizer slow could not be asked: DEADLINE_EXCEEDED")


@pytest.mark.parametrize("name", ["open", "open-http"])
def test_who_cannot_be_reached_lets_through_where_it_fails_open(second: Second, name: str) -> None:
    assert second.served.asking.allowed(questions.http(path="/ask", workload=f"shop/{name}"))


@pytest.mark.parametrize("name", ["both", "unknown"])
def test_several_or_unknown_authorizers_are_not_asked_and_deny_what_their_rules_match(
    second: Second, name: str
) -> None:
    answer = second.ask(questions.http(path="/ask", workload=f"shop/{name}"))
    assert denied_with(answer)[:2] == (403, "RBAC: access denied")
    assert answer.dynamic_metadata["stage"] == "custom"
    assert second.served.asking.allowed(questions.http(path="/other", workload=f"shop/{name}"))
    assert not second.grpc.asked
    assert not second.http.heard


def test_a_second_meshward_can_be_the_authorizer(second: Second) -> None:
    buyer = questions.http(path="/ask", headers=[("x-role", "buyer")], workload="shop/meshward")
    assert second.served.asking.allowed(buyer)
    guest = second.ask(questions.http(path="/ask", headers=[("x-role", "guest")], workload="shop/meshward"))
    assert denied_with(guest)[:2] == (403, "RBAC: access denied")
    assert guest.dynamic_metadata["reason"] == "authorizer meshward refuses"


def test_a_body_is_shown_up_to_its_limit_and_is_too_large_beyond(second: Second) -> None:
    question = questions.http("POST", "/ask", workload="shop/body")
    question.attributes.request.http.raw_body = b"1234"
    question.attributes.request.http.size = 4
    assert second.served.asking.allowed(question)
    assert second.grpc.asked[-1].attributes.request.http.body == "1234"
    question.attributes.request.http.raw_body = b"12345"
    question.attributes.request.http.size = 5
    assert denied_with(second.ask(question))[0] == 413
    # An authorizer that may see no body sees none.
    question.attributes.context_extensions["workload"] = "shop/grpc"
    assert second.served.asking.allowed(question)
    heard = second.grpc.asked[-1].attributes.request.http
    assert (heard.body, heard.raw_body) == ("", b"")


def test_a_connection_is_one_for_grpc_authorizers_only(second: Second) -> None:
    second.grpc.answer = refusing()
    assert not second.served.asking.allowed(questions.connection(workload="shop/db"))
    second.http.answer = lambda _: Said(403)
    assert second.served.asking.allowed(questions.connection(workload="shop/db-http"))
    assert not second.http.heard


def test_answers_that_are_none_deny(second: Second) -> None:
    def wrong(_: CheckRequest) -> CheckResponse:
        raise RuntimeError("no")

    second.grpc.answer = wrong
    answer = second.ask(questions.http(path="/ask", workload="shop/grpc"))
    assert denied_with(answer) == (403, "", {})
    second.http.answer = lambda _: Said(200, (), b"x" * 2_000_000)
    assert not second.served.asking.allowed(questions.http(path="/ask", workload="shop/http"))
