"""The life of `meshward serve`: how it begins, what it takes up, and how it ends."""

import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from demo.process import wait_until
from demo.server import MESHWARD
from demo.server import Server as DemoServer
from tests import questions
from tests.integration.raw_client import RawClient
from tests.integration.serving import SECONDS, Asking, Served, policy, serving, workload

WORKLOADS = workload("api")
NOTHING = policy("allow-nothing", "ALLOW", app=None)


def reading(method: str) -> str:
    return policy("read", "ALLOW", f"rules:\n  - to: [{{operation: {{methods: [{method}]}}}}]")


MESH = {"workloads.yaml": WORKLOADS, "read.yaml": reading("GET")}


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="meshward-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(MESH) as served:
        yield served


@pytest.fixture
def fresh(served: Served) -> Served:
    """The server with the manifests that it began with."""
    for path in list(served.manifests.iterdir()):
        if path.name not in MESH:
            path.unlink()
    for name, text in MESH.items():
        served.write(name, text)
    took(served, "GET")
    return served


def took(served: Served, method: str) -> None:
    """Wait until just `method` is allowed."""

    def in_force() -> bool | None:
        allowed = [m for m in ("GET", "PUT", "POST") if served.asking.allowed(questions.http(m))]
        return allowed == [method] or None

    wait_until(in_force, f"{method} is allowed", seconds=SECONDS)


# Changes


def test_a_good_change_takes_effect(fresh: Served) -> None:
    fresh.write("read.yaml", reading("PUT"))
    took(fresh, "PUT")


def test_a_change_written_in_place_takes_effect(fresh: Served) -> None:
    (fresh.manifests / "read.yaml").write_text(reading("PUT"))
    took(fresh, "PUT")


def test_a_new_file_and_its_end_take_effect(fresh: Served) -> None:
    fresh.write("more.yaml", policy("no-get", "DENY", "rules:\n  - to: [{operation: {methods: [GET]}}]"))
    wait_until(lambda: not fresh.asking.allowed(questions.http()) or None, "GET is denied", seconds=SECONDS)
    (fresh.manifests / "more.yaml").unlink()
    took(fresh, "GET")


def misspelt(served: Served) -> str:
    served.write("read.yaml", reading("PUT").replace("methods", "method"))
    return f"{served.manifests}/read.yaml:9:25: error[unknown-field]"


def half_written(served: Served) -> str:
    text = reading("PUT")
    served.write("read.yaml", text[: text.index("PUT")])
    return f"{served.manifests}/read.yaml:9:"


def not_utf8(served: Served) -> str:
    beside = served.manifests.parent / "bytes"
    beside.write_bytes(b"kind: \xff\xfe\n")
    beside.replace(served.manifests / "read.yaml")
    return f"{served.manifests}/read.yaml:1:"


def link_to_nothing(served: Served) -> str:
    (served.manifests / "read.yaml").unlink()
    (served.manifests / "read.yaml").symlink_to("gone")
    return f"cannot read {served.manifests}/read.yaml: No such file or directory"


def emptied(served: Served) -> str:
    for path in list(served.manifests.iterdir()):
        path.unlink()
    return f"no manifests in {served.manifests}"


def directory_gone(served: Served) -> str:
    served.manifests.rename(served.manifests.with_name("away"))
    return f"cannot read {served.manifests}: No such file or directory"


@pytest.mark.parametrize("change", [misspelt, half_written, not_utf8, link_to_nothing, emptied])
def test_a_bad_change_is_refused_with_its_place_and_the_last_good_stays(
    fresh: Served, change: Callable[[Served], str]
) -> None:
    refusals = fresh.printed.count("stays in force")
    place = change(fresh)
    printed = fresh.wait_for_printed("stays in force", times=refusals + 1)
    assert place in printed
    took(fresh, "GET")


def test_a_directory_that_is_replaced_is_found_again(fresh: Served) -> None:
    refusals = fresh.printed.count("stays in force")
    place = directory_gone(fresh)
    away = fresh.manifests.with_name("away")
    try:
        assert place in fresh.wait_for_printed("stays in force", times=refusals + 1)
        took(fresh, "GET")
    finally:
        away.rename(fresh.manifests)


def test_a_mounted_config_map_is_taken_up_when_its_link_is_swapped() -> None:
    def swap(mount: Path, version: str, method: str) -> None:
        (mount / version).mkdir()
        (mount / version / "read.yaml").write_text(reading(method))
        (mount / "..data_tmp").symlink_to(version)
        (mount / "..data_tmp").replace(mount / "..data")

    with serving({"workloads.yaml": WORKLOADS}) as served:
        swap(served.manifests, "..one", "GET")
        (served.manifests / "read.yaml").symlink_to("..data/read.yaml")
        took(served, "GET")
        swap(served.manifests, "..two", "PUT")
        took(served, "PUT")


def test_a_single_file_is_watched_without_the_directories_beside_it() -> None:
    with serving({"all.yaml": WORKLOADS + reading("GET")}, file="all.yaml") as served:
        (served.manifests / "deep" / "er").mkdir(parents=True)
        served.write("all.yaml", WORKLOADS + reading("PUT"))
        took(served, "PUT")
        watches = Path(f"/proc/{served.server._process.pid}/fdinfo")
        assert sum(info.read_text().count("inotify wd:") for info in watches.iterdir()) == 1


# Beginnings that fail


def start(*arguments: str | Path, cwd: Path | None = None) -> tuple[int, str]:
    """Exit status and standard error of a server that does not come up."""
    done = subprocess.run(
        [*MESHWARD, "serve", *map(str, arguments)], capture_output=True, text=True, timeout=30, check=False, cwd=cwd
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    return done.returncode, done.stderr


def test_policies_with_errors_are_not_served_and_every_problem_is_printed(directory: Path) -> None:
    (directory / "a.yaml").write_text(reading("GET").replace("methods", "method"))
    (directory / "b.yaml").write_text(reading("GET").replace("ALLOW", "PERMIT").replace("read", "other"))
    status, printed = start(directory, "--listen", f"unix:{directory}/s")
    assert status == 3
    assert f"{directory}/a.yaml:9:25: error[" in printed
    assert f"{directory}/b.yaml:7:11: error[" in printed
    assert printed.endswith("meshward: 2 errors in the manifests\n")
    assert not (directory / "s").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["absent"], 2, "meshward: cannot read absent: No such file or directory"),
        (["empty"], 2, "meshward: no manifests in empty: expected files named *.yaml, *.yml, *.json or *.ward"),
        (["-"], 2, "meshward: cannot serve standard input"),
        (["ok", "--mesh", "absent"], 2, "meshward: cannot read absent: No such file or directory"),
        (["ok", "--mesh", "-"], 2, "meshward: cannot serve standard input"),
        (["ok", "--workload", "shop/nobody"], 3, "meshward: no workload `shop/nobody` in the manifests"),
        (["ok", "--drain", "-1"], 2, "argument --drain: '-1' is no number of seconds"),
        (["ok", "--drain", "soon"], 2, "argument --drain: 'soon' is no number of seconds"),
        (["ok", "--decision-log", "absent/log"], 2, "cannot write the decision log absent/log: No such file"),
        (["ok", "--listen", "foo"], 2, "cannot listen on 'foo': an address is `host:port`"),
        (["ok", "--listen", "127.0.0.1:65536"], 2, "cannot listen on '127.0.0.1:65536': an address is"),
        (["ok", "--listen", "unix:absent/s"], 2, "cannot listen on unix:absent/s: No such file or directory"),
        (["ok", "--listen", "unix:file/s"], 2, "cannot listen on unix:file/s: Not a directory"),
        (["ok", "--listen", "unix:file"], 2, "there is a file of that name, and it is no socket"),
        (["ok", "--listen", "unix:" + "x" * 200], 2, "AF_UNIX path too long"),
        (["ok", "--listen", "TAKEN"], 2, ": Address already in use"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_server_that_cannot_begin_says_why(directory: Path, arguments: list[str], status: int, message: str) -> None:
    for name in ("ok", "empty"):
        (directory / name).mkdir()
    (directory / "ok" / "all.yaml").write_text(WORKLOADS)
    (directory / "file").write_text("precious")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        ended, printed = start(*[taken if each == "TAKEN" else each for each in arguments], cwd=directory)
    assert (ended, message in printed) == (status, True), printed
    assert (directory / "file").read_text() == "precious"


def test_a_fixed_workload_is_every_request_s(directory: Path) -> None:
    del directory
    with serving({**MESH, "db.yaml": workload("db")}, "--workload", "shop/api") as served:
        for named in ("shop/db", "shop/nobody", None):
            assert served.asking.allowed(questions.http(workload=named))
            assert not served.asking.allowed(questions.http("PUT", workload=named))


def test_a_second_server_does_not_take_the_socket_of_the_first(fresh: Served) -> None:
    status, printed = start(fresh.manifests, "--listen", f"unix:{fresh.socket}")
    assert status == 2
    assert f"cannot listen on unix:{fresh.socket}: another server does" in printed
    assert fresh.asking.allowed(questions.http())


# Ends


def test_a_killed_server_s_socket_is_taken_over_by_the_next_and_is_only_for_its_owner_and_group() -> None:
    with serving(MESH) as killed:
        os.kill(killed.server._process.pid, signal.SIGKILL)
        killed.server._process._child.wait()
        assert killed.socket.exists()
        command = [*MESHWARD, "serve", str(killed.manifests), "--listen", f"unix:{killed.socket}"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as successor, Asking(killed.socket) as asking:
            try:

                def answers() -> bool | None:
                    try:
                        return asking.allowed(questions.http())
                    except grpc.RpcError:
                        return None

                assert wait_until(answers, "the successor answers", seconds=SECONDS)
                assert killed.socket.stat().st_mode & 0o777 == 0o660
            finally:
                successor.terminate()
        assert successor.returncode == 0
        assert not killed.socket.exists()


def test_sigterm_lets_open_requests_end_and_tells_who_watches() -> None:
    statuses: list[int] = []
    question = questions.http().SerializeToString()
    with serving(MESH, "--drain", "3") as served, RawClient(served.socket) as client:
        with grpc.insecure_channel(f"unix:{served.socket}") as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
            statuses.append(next(watch).status)
            stream = client.begin(question, len(question) // 2)
            process = served.server._process
            os.kill(process.pid, signal.SIGTERM)
            statuses.append(next(watch).status)
            client.wait_for_goaway()
            assert process.is_running
            assert client.finish(stream).status.code == 0
            watch.cancel()
        assert process._child.wait(SECONDS) == 0
        assert not served.socket.exists()
        assert "meshward: draining\n" in served.printed
    assert statuses == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]


def test_a_successor_keeps_the_socket_that_it_took_while_the_first_still_drained() -> None:
    question = questions.http().SerializeToString()
    with serving(MESH, "--drain", "20") as first, RawClient(first.socket) as client:
        stream = client.begin(question, 7)
        process = first.server._process
        os.kill(process.pid, signal.SIGTERM)
        client.wait_for_goaway()
        with DemoServer(first.manifests, first.socket.parent):
            assert process.is_running
            client.finish(stream)
            assert process._child.wait(SECONDS) == 0
            with Asking(first.socket) as asking:
                assert asking.allowed(questions.http())


def test_a_request_that_never_ends_does_not_hold_up_the_end() -> None:
    question = questions.http().SerializeToString()
    with serving(MESH, "--drain", "0.2") as served, RawClient(served.socket) as client:
        client.begin(question, len(question) // 2)
        assert served.terminate() == 0


def test_calls_under_way_at_sigterm_are_answered_or_refused_and_never_wrong() -> None:
    outcomes: list[int | grpc.StatusCode] = []
    begun = threading.Event()
    with serving(MESH) as served, ThreadPoolExecutor(8) as threads:

        def ask(_: int) -> None:
            try:
                outcomes.append(served.asking.check(questions.http()).status.code)
            except grpc.RpcError as error:
                outcomes.append(error.code())
            begun.set()

        running = threads.map(ask, range(400))
        begun.wait(SECONDS)
        assert served.terminate() == 0
        list(running)
    # Cancelled is what gRPC had received and nobody had looked at.
    assert set(outcomes) <= {0, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert outcomes[0] == 0


def test_a_decision_that_cannot_be_logged_is_a_denial_that_says_so() -> None:
    with serving(MESH, "--decision-log", "/dev/full", log_decisions=False) as served:
        assert served.asking.why(questions.http()) == "the decision log cannot be written: No space left on device"
        assert "denied: the decision log cannot be written" in served.printed
        assert served.terminate() == 0
