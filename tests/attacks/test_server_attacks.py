"""Attacks on the server itself that worked on others, each by the name it became known under, on one that runs.

A comment says what happened there; the test, what holds here.
"""

import random
import re
import socket
import stat
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import perf_counter

import grpc
import pytest
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hpack import Decoder, Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, RstStreamFrame, SettingsFrame

from demo.process import wait_until
from tests import questions
from tests.integration.raw_client import RawClient
from tests.integration.serving import CHECK, SECONDS, Asking, Served, policy, serving, workload

UNTOLD = "the-name-of-a-policy-that-is-nobodys-business"
MANIFESTS = {
    "all.yaml": workload("api")
    + policy(UNTOLD, "DENY", "rules: [{to: [{operation: {paths: [/admin]}}]}]")
    + policy("only", "ALLOW", "rules: [{when: [{key: 'request.headers[x-role]', values: [buyer]}]}]")
}
ALLOWED = questions.http(headers=[("x-role", "buyer")])
RESOURCE_EXHAUSTED = "8"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(MANIFESTS, log_decisions=False) as served:
        yield served


@pytest.fixture
def asking(served: Served) -> Iterator[Asking]:
    yield served.asking
    # Whatever it went through, it goes on, and for the same reasons.
    wait_until(lambda: answered(served.asking, ALLOWED), "it has recovered", seconds=SECONDS)
    assert served.asking.allowed(ALLOWED)
    assert not served.asking.allowed(questions.http())
    assert not served.asking.allowed(questions.http(path="/admin", headers=[("x-role", "buyer")]))
    assert "internal error" not in served.printed


def memory(served: Served) -> int:
    """What the server has in memory, in MiB."""
    status = Path(f"/proc/{served.server._process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) // 1024


# What it tells --------------------------------------------------------------------------------------------------------


def test_cve_2026_31838_there_is_nothing_to_ask_for_but_decisions(served: Served) -> None:
    # There endpoints for debugging told everybody what was configured, across namespaces.
    with grpc.insecure_channel(f"unix:{served.socket}") as channel:
        ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        (answer,) = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=SECONDS)
        names = {service.name for service in answer.list_services_response.service}
        assert names == {
            "envoy.service.auth.v3.Authorization",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        for method in ("/debug/pprof", "/envoy.service.auth.v3.Authorization/Dump", "/meshward/Policies", "/"):
            with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED") as refusal:
                channel.unary_unary(method)(b"", timeout=SECONDS)
            assert UNTOLD not in str(refusal.value)


def test_cve_2026_31838_it_listens_where_it_was_told_to_and_nowhere_else(served: Served) -> None:
    # The same by a port that nobody asked for.
    listening = "0A"
    inodes = {
        link.readlink().name[len("socket:[") : -1]
        for link in Path(f"/proc/{served.server._process.pid}/fd").iterdir()
        if link.is_symlink() and str(link.readlink()).startswith("socket:[")
    }
    for table in ("tcp", "tcp6"):
        rows = [
            row.split() for row in Path(f"/proc/{served.server._process.pid}/net/{table}").read_text().splitlines()[1:]
        ]
        assert not [row for row in rows if row[3] == listening and row[9] in inodes]
    # Who may write to the socket may ask about any workload.
    assert stat.S_IMODE(served.socket.stat().st_mode) & 0o007 == 0


def test_cve_2026_31838_a_caller_that_is_denied_is_not_told_by_what(asking: Asking) -> None:
    # What the operator needs is in the metadata of the answer, which Envoy passes to its log and to nobody else.
    answer = asking.check(questions.http(path="/admin"))
    assert answer.dynamic_metadata["policy"] == f"shop/{UNTOLD}"
    said = f"{answer.denied_response}{answer.status}"
    assert "RBAC: access denied" in said
    assert UNTOLD not in said


# What it bears --------------------------------------------------------------------------------------------------------


def test_cve_2026_47205_a_call_that_is_reset_while_it_is_decided_hurts_nobody(served: Served, asking: Asking) -> None:
    # There a request that was reset during its check was used after it was freed.
    question = ALLOWED.SerializeToString()
    chance = random.Random(47205)
    for _ in range(20):
        with RawClient(served.socket) as client:
            streams = [
                client.begin(question, chance.choice((0, 4, len(question), len(question) + 5))) for _ in range(20)
            ]
            kept = streams.pop()
            for stream in chance.sample(streams, len(streams)):
                client.reset(stream)
            assert client.finish(kept).status.code == 0
    assert asking.allowed(ALLOWED)


def test_cve_2023_44487_streams_that_are_reset_as_fast_as_they_are_opened_make_nobody_wait_and_allow_nothing(
    served: Served, asking: Asking
) -> None:
    # There each reset made room for the next stream at once, and the work for all of them piled up.
    before = memory(served)
    slowest = 0.0
    answers: Counter[object] = Counter()
    with ThreadPoolExecutor(2) as threads:
        attacks = [threads.submit(reset_rapidly, served.socket) for _ in range(8)]
        while not all(attack.done() for attack in attacks):
            for question in (ALLOWED, questions.http()):
                began = perf_counter()
                answers[question is ALLOWED, answered(asking, question)] += 1
                slowest = max(slowest, perf_counter() - began)
        for attack in attacks:
            attack.result()
    # gRPC turns calls away while thousands wait, without looking whose they are: Envoy denies those. None is allowed for it.
    assert answers.keys() <= {(True, True), (True, None), (False, False), (False, None)}
    assert answers[True, True] > 0
    assert slowest < 2
    assert memory(served) - before < 128


def answered(asking: Asking, question: CheckRequest) -> bool | None:
    """Whether it is allowed; nothing where it is turned away."""
    try:
        return asking.allowed(question)
    except grpc.RpcError as error:
        if error.code() not in (grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED):
            raise
        return None


def reset_rapidly(path: Path) -> None:
    encoder = Encoder()
    message = ALLOWED.SerializeToString()
    with connected(path) as connection:
        connection.sendall(PREFACE + SettingsFrame(0).serialize())
        frames = b"".join(
            HeadersFrame(stream, data=encoder.encode(call()), flags=["END_HEADERS"]).serialize()
            + DataFrame(stream, data=b"\0" + len(message).to_bytes(4) + message, flags=["END_STREAM"]).serialize()
            + RstStreamFrame(stream, error_code=8).serialize()
            for stream in range(1, 8001, 2)
        )
        send_until_hung_up(connection, frames)


def test_cve_2026_47774_headers_that_unpack_to_many_times_their_size_are_refused(
    served: Served, asking: Asking
) -> None:
    # There a header of a few bytes stood for a long cookie, again and again (as in CVE-2024-7246 and CVE-2023-33953).
    before = memory(served)
    statuses = set()
    for _ in range(8):
        encoder = Encoder()
        with connected(served.socket) as connection:
            connection.sendall(PREFACE + SettingsFrame(0).serialize())
            # Once in full, then an index of a byte or two for each of its 3,000 repetitions: 12 MB in 6 kB.
            block = encoder.encode([*call(), ("cookie", "c" * 4000)]) + encoder.encode([("cookie", "c" * 4000)] * 3000)
            assert len(block) < 10_000
            connection.sendall(HeadersFrame(1, data=block, flags=["END_HEADERS"]).serialize())
            statuses.add(status_of_call(connection))
            assert asking.allowed(ALLOWED)
    # gRPC lets some of these wait for the rest of a call that it has already given up.
    assert RESOURCE_EXHAUSTED in statuses <= {RESOURCE_EXHAUSTED, None}
    assert memory(served) - before < 64


def test_cve_2023_44487_connections_that_say_nothing_keep_nobody_waiting(served: Served, asking: Asking) -> None:
    # The slow way to the same end.
    silent = [connected(served.socket) for _ in range(200)]
    try:
        for number, connection in enumerate(silent):
            connection.sendall(PREFACE[: number % len(PREFACE)])
        began = perf_counter()
        assert asking.allowed(ALLOWED)
        assert perf_counter() - began < 2
    finally:
        for connection in silent:
            connection.close()


def test_istio_security_2026_006_no_question_takes_long(asking: Asking) -> None:
    # There one expression without bound stopped a whole mesh. A question may be as large as Envoy lets requests be.
    for question in (
        questions.http(path="/" + "a/" * 28_000, headers=[("x-role", "buyer")]),
        questions.http(headers=[("x-role", "r" * 55_000)]),
        questions.http(headers=[("x-role", "r")] * 3000),
        questions.http(joined={"x-role": "," * 55_000}),
        questions.http(headers=[(f"x-{number}", "v") for number in range(3000)]),
        questions.http(headers=[("x-forwarded-for", "1.2.3.4," * 7000)]),
        questions.http(source="spiffe://cluster.local" + "/ns/shop" * 7000),
    ):
        began = perf_counter()
        asking.check(question)
        assert perf_counter() - began < 1


def call() -> list[tuple[str, str]]:
    return [
        (":path", CHECK),
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]


def connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(SECONDS)
    connection.connect(str(path))
    return connection


def status_of_call(connection: socket.socket) -> str | None:
    """The gRPC status of the first answer; nothing if there is none soon."""
    decoder = Decoder()
    connection.settimeout(0.5)
    with connection.makefile("rb") as received, suppress(TimeoutError):
        while True:
            frame, length = Frame.parse_frame_header(memoryview(received.read(9)))
            frame.parse_body(memoryview(received.read(length)))
            if isinstance(frame, HeadersFrame):
                return dict(decoder.decode(frame.data, raw=True))[b"grpc-status"].decode()
    return None


def send_until_hung_up(connection: socket.socket, frames: bytes) -> None:
    """Send all of it, as far as the server takes it, and wait until it has answered something or hung up."""
    try:
        connection.sendall(frames)
        connection.recv(65536)
    except (BrokenPipeError, ConnectionResetError):
        return
