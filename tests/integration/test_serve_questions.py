"""`meshward serve`, asked directly: what it answers, and what it makes of questions that are none."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import orjson
import pytest
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from mesh.deciding import Offline, decide, decision_document
from mesh.directory import DirectoryStore
from parser.request import parse_request
from tests import questions
from tests.integration.raw_client import RawClient
from tests.integration.serving import Asking, Served, policy, serving, workload

# Without policies, everything that can be read is allowed; a fault that reads as an absent fact would be, too.
OPEN = workload("open")
API = (
    workload("api", ip="10.0.0.9")
    + policy(
        "roles",
        "ALLOW",
        """
    rules:
      - when: [{key: "request.headers[x-role]", values: [buyer, "a,b"]}]
      - when: [{key: "request.headers[authorization]", values: ["Bearer *"]}]
      - to: [{operation: {paths: [/negative], notHosts: [other]}}]
        from: [{source: {notIpBlocks: [192.0.2.0/24], notRemoteIpBlocks: [198.51.100.0/24]}}]
        when: [{key: "request.headers[x-block]", notValues: [yes-please]}]
    """,
    )
    + policy("no-guests", "DENY", "rules: [{when: [{key: 'request.headers[x-role]', values: [guest, 'y,z']}]}]")
)
DB = workload("db") + policy(
    "db", "ALLOW", "rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]", app="db"
)
# One account, two workloads, different policies.
TWINS = (
    workload("one", account="twins", ip="10.0.1.1")
    + workload("two", account="twins", ip="10.0.1.2")
    + policy("twins", "ALLOW", app="two")
)
ALIKE = workload("left", account="alike") + workload("right", account="alike")


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving({"all.yaml": OPEN + API + DB + TWINS + ALIKE}) as served:
        yield served


@pytest.fixture
def asking(served: Served) -> Iterator[Asking]:
    yield served.asking
    # Whatever it was asked, it goes on.
    assert served.asking.allowed(questions.http(workload="shop/open"))
    assert "internal error" not in served.printed


# Questions that are none


def is_refused(asking: Asking, question: bytes) -> bool:
    """Denied by an answer, or by a refusal to answer, which Envoy takes for a denial."""
    try:
        return bool(asking.raw(question).status.code == 7)
    except grpc.RpcError as error:
        return error.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNKNOWN)


def test_random_bytes_are_denied(asking: Asking) -> None:
    randomness = random.Random(7)
    for length in (0, 1, 2, 7, 100, 10_000):
        for _ in range(20):
            assert is_refused(asking, randomness.randbytes(length))


def test_a_message_of_another_type_is_denied(asking: Asking) -> None:
    assert is_refused(asking, health_pb2.HealthCheckRequest(service="shop/open").SerializeToString())
    assert is_refused(asking, questions.http(workload="shop/open").attributes.SerializeToString())


def test_every_cut_of_a_good_question_is_denied(asking: Asking) -> None:
    question = questions.connection(workload="shop/open").SerializeToString()
    assert asking.raw(question).status.code == 0
    for length in range(len(question)):
        assert is_refused(asking, question[:length]), length


@pytest.mark.parametrize("name", questions.FAULTS)
def test_a_question_with_an_unreadable_fact_is_denied_where_everything_is_allowed(
    asking: Asking, served: Served, name: str
) -> None:
    change, reason = questions.FAULTS[name]
    question = questions.http(workload="shop/open")
    change(question)
    before = len(served.decisions())
    answer = asking.check(question)
    assert answer.status.code == 7
    assert (answer.dynamic_metadata["stage"], answer.dynamic_metadata["reason"]) == ("none", reason)
    assert f"denied: {reason}\n" in served.printed
    assert served.decisions()[before]["decision"]["reason"] == reason


def test_a_megabyte_of_headers_is_refused_and_sixty_kilobytes_are_not(asking: Asking) -> None:
    def question(size: int) -> CheckRequest:
        return questions.http(workload="shop/open", headers=[(f"x-{i}", "v" * 1000) for i in range(size // 1000)])

    assert asking.allowed(question(60_000))
    assert is_refused(asking, question(1_000_000).SerializeToString())
    single = questions.http(workload="shop/open", headers=[("x-large", "v" * 1_000_000)])
    assert is_refused(asking, single.SerializeToString())


def test_oversized_metadata_is_refused(asking: Asking) -> None:
    question = questions.http(workload="shop/open")
    with pytest.raises(grpc.RpcError):
        asking.call(question.SerializeToString(), metadata=[("x-large", "v" * 200_000)], timeout=10)
    question.attributes.metadata_context.filter_metadata["envoy.x"].update({"n": "v" * 1_000_000})
    assert is_refused(asking, question.SerializeToString())


def test_clients_that_hang_up_do_no_harm(served: Served, asking: Asking) -> None:
    question = questions.http(workload="shop/open", headers=[("x-filler", "v" * 10_000)]).SerializeToString()
    for _ in range(40):
        with Asking(served.socket) as leaving:
            calls = [leaving.call.future(question, timeout=10) for _ in range(10)]
            for call in calls[::2]:
                call.cancel()
        # The others end with the connection.
    assert asking.raw(question).status.code == 0


def test_calls_that_are_reset_half_way_do_no_harm(served: Served, asking: Asking) -> None:
    question = questions.http(workload="shop/open", headers=[("x-filler", "v" * 5_000)]).SerializeToString()
    for _ in range(10):
        with RawClient(served.socket) as client:
            for part in (0, 3, 5, len(question) // 2, len(question)) * 10:
                client.reset(client.begin(question, part))
        # The connection itself breaks off in the middle of another.
    with RawClient(served.socket) as client:
        answer = client.finish(client.begin(question, 7))
    assert answer.status.code == 0
    assert asking.raw(question).status.code == 0


def test_many_calls_at_once_are_each_answered_for_themselves(asking: Asking) -> None:
    def each(number: int) -> bool:
        allowed = number % 3 == 0
        return asking.allowed(questions.http(headers=[("x-role", "buyer" if allowed else "other")])) is allowed

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(each, range(600)))


# Answers


def test_an_answer_says_what_decided(served: Served, asking: Asking) -> None:
    answer = asking.check(questions.http(headers=[("x-role", "guest")]))
    assert (answer.denied_response.status.code, answer.denied_response.body) == (403, "RBAC: access denied")
    facts = dict(answer.dynamic_metadata)
    revision = facts.pop("revision")
    assert f"revision {revision} in force: 4 policies, 7 workloads, from 1 files" in served.printed
    assert facts == {
        "policy": "shop/no-guests",
        "rule": 0,
        "verdict": "DENY",
        "stage": "deny",
        "reason": "a DENY rule matches",
    }
    silent = dict(asking.check(questions.http()).dynamic_metadata)
    assert "policy" not in silent
    assert silent["reason"] == "no ALLOW rule matches"


@pytest.mark.parametrize(
    ("joined", "allowed"),
    [
        ("buyer", True),
        ("buyer,other", False),  # as one value it is no buyer
        ("other,buyer", False),
        ("a,b", False),  # it may have been two
        ("guest", False),
        ("buyer,guest", False),
        ("other", False),
    ],
)
def test_a_joined_header_is_allowed_only_if_every_way_to_read_it_is(asking: Asking, joined: str, allowed: bool) -> None:  # noqa: FBT001
    assert asking.allowed(questions.http(joined={"x-role": joined})) is allowed


def test_a_joined_header_that_denies_in_one_reading_is_denied_for_that(asking: Asking) -> None:
    # Allowed whatever the role, but for the roles that are denied; `y,z` may have been one line of three.
    assert asking.allowed(questions.http(path="/negative", joined={"x-role": "x,y"}))
    for joined in ("x,guest", "guest,x", "x,y,z", "y,z,x"):
        answer = asking.check(questions.http(path="/negative", joined={"x-role": joined}))
        assert answer.dynamic_metadata["policy"] == "shop/no-guests"


def test_a_header_joined_of_too_many_is_denied_with_advice(asking: Asking) -> None:
    assert "set `encode_raw_headers`" in asking.why(questions.http(joined={"x-role": ",".join(["buyer"] * 9)}))


def test_lines_that_come_apart_are_matched_one_by_one(asking: Asking) -> None:
    assert asking.allowed(questions.http(headers=[("x-role", "other"), ("x-role", "buyer")]))
    assert asking.allowed(questions.http(headers=[("x-role", "a,b")]))
    assert not asking.allowed(questions.http(headers=[("x-role", "other,buyer")]))


def test_the_remote_address_is_the_right_most_forwarded_one(asking: Asking) -> None:
    def ask(*forwarded: str) -> bool:
        return asking.allowed(questions.http(path="/negative", headers=[("x-forwarded-for", f) for f in forwarded]))

    assert ask()
    assert ask("198.51.100.1, 203.0.113.1")
    assert not ask("203.0.113.1, 198.51.100.1")
    assert not ask("203.0.113.1", "198.51.100.1")
    assert ask("198.51.100.1, unknown")


# Where a request goes

AMBIGUOUS = (
    "the destination may be any of `shop/one`, `shop/two`, with different policies: name it in `context_extensions`"
)


def account(name: str) -> str:
    return f"spiffe://cluster.local/ns/shop/sa/{name}"


def test_the_destination_is_found_by_name_then_principal_then_address(asking: Asking) -> None:
    buyer = [("x-role", "buyer")]
    for allowed, question in [
        (True, questions.http(headers=buyer)),
        (False, questions.http()),
        (True, questions.http(headers=buyer, workload=None, destination=account("api"))),
        (False, questions.http(workload=None, destination=account("api"))),
        (True, questions.http(workload=None, destination=account("open"))),
        (False, questions.http(workload=None, destination_ip="10.0.0.9")),
        (True, questions.http(headers=buyer, workload=None, destination_ip="10.0.0.9")),
        (False, questions.http(workload="shop/api", destination=account("open"))),
    ]:
        assert asking.allowed(question) is allowed, question


def test_a_connection_is_placed_by_its_label(asking: Asking) -> None:
    assert asking.allowed(questions.connection())
    assert not asking.allowed(questions.connection(source=account("other")))
    assert not asking.allowed(questions.connection(source=""))


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (questions.http(workload="shop/none", destination=account("open")), "no workload `shop/none` in the manifests"),
        (
            questions.http(workload=None, destination=account("none"), destination_ip="192.0.2.1"),
            f"no workload in the manifests has the destination's principal `{account('none')}` and address `192.0.2.1`",
        ),
        (
            questions.http(workload=None, destination=account("twins")),
            AMBIGUOUS,
        ),
    ],
)
def test_a_request_for_nobody_known_is_denied_and_the_log_says_why(
    asking: Asking, served: Served, question: CheckRequest, reason: str
) -> None:
    before = len(served.decisions())
    assert asking.why(question) == reason
    assert f"meshward: denied: {reason}\n" in served.printed
    line = served.decisions()[before]
    assert line["decision"]["reason"] == reason
    assert line["source"]["principal"] == questions.WEB


def test_workloads_that_share_an_account_are_decided_where_that_decides_alike(asking: Asking) -> None:
    assert asking.allowed(questions.http(workload=None, destination=account("alike")))
    assert asking.allowed(questions.http(workload=None, destination=account("twins"), destination_ip="10.0.1.1"))
    assert not asking.allowed(questions.http(workload=None, destination=account("twins"), destination_ip="10.0.1.2"))


# The decision log


LOGGED = [
    questions.http(headers=[("x-role", "buyer")]),
    questions.http(headers=[("x-role", "other"), ("x-role", "guest")], path="/items?page=2"),
    questions.http(path="/negative", headers=[("x-forwarded-for", "198.51.100.1")]),
    questions.http(path="/negative", host="OTHER", source=""),
    questions.http(path="/negative", joined={"x-block": "a,yes-please"}),
    questions.http(workload=None, destination=account("api"), joined={"x-role": "buyer,guest"}),
    questions.http("POST", workload=None, destination_ip="10.0.1.2", source_ip="2001:db8::1"),
    questions.http(workload="shop/open", headers=[("x-role", "buyer")]),
    questions.connection(sni="db.shop"),
    questions.connection(source="", port=5432),
]


@pytest.mark.parametrize("question", LOGGED, ids=range(len(LOGGED)))
def test_a_logged_decision_can_be_decided_again(asking: Asking, served: Served, question: CheckRequest) -> None:
    before = len(served.decisions())
    answer = asking.check(question)
    line = served.decisions()[before]
    decision = line.pop("decision")
    assert line.pop("duration_us") > 0
    assert line.pop("time").endswith("+00:00")
    loaded = DirectoryStore([str(served.manifests)]).load()
    assert loaded is not None
    again = decide(loaded.snapshot, parse_request(line), Offline(at=0))
    assert decision_document(again, revision=loaded.snapshot.revision) == decision
    assert decision["verdict"] == answer.dynamic_metadata["verdict"]


def test_the_decision_log_has_no_secret_no_query_and_no_header_that_no_policy_looks_at(
    asking: Asking, served: Served
) -> None:
    before = len(served.decisions())
    hidden = "hunter2"
    asking.check(
        questions.http(
            path=f"/items?token={hidden}",
            headers=[
                ("authorization", f"Bearer {hidden}"),
                ("cookie", f"session={hidden}"),
                ("x-role", "buyer"),
                ("x-else", hidden),
            ],
        )
    )
    line = served.decisions()[before]
    assert hidden not in orjson.dumps(line).decode()
    assert line["request"] == {
        "method": "GET",
        "path": "/items",
        "host": "api.shop:8080",
        "scheme": "https",
        "headers": {"authorization": ["***"], "x-role": ["buyer"]},
    }
    assert hidden not in served.printed


def test_every_answer_is_one_line_of_the_decision_log(asking: Asking, served: Served) -> None:
    before = len(served.decisions())
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: asking.check(questions.http(path="/a\nb")), range(50)))
    assert len(served.decisions()) == before + 50


# Health and reflection


def test_health_is_told_of_the_server_and_of_the_service(served: Served) -> None:
    with grpc.insecure_channel(f"unix:{served.socket}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        for name in ("", "envoy.service.auth.v3.Authorization"):
            answer = check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            check(health_pb2.HealthCheckRequest(service="nobody"), timeout=10)


def test_reflection_lists_the_services_and_describes_the_question(served: Served) -> None:
    with grpc.insecure_channel(f"unix:{served.socket}") as channel:
        ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        requests = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="envoy.service.auth.v3.CheckRequest"),
        ]
        services, description = ask(iter(requests), timeout=10)
    assert {service.name for service in services.list_services_response.service} == {
        "envoy.service.auth.v3.Authorization",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert description.file_descriptor_response.file_descriptor_proto
