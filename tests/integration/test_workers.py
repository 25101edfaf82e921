"""Several processes on one port: all answer, all by the same policies, and none outlives the first."""

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from envoy.service.auth.v3.external_auth_pb2 import CheckResponse

from demo.process import Process, wait_until
from demo.server import MESHWARD
from tests import questions
from tests.integration.serving import CHECK, policy, workload

SECONDS = 30.0
OPEN, CLOSED = policy("open", "ALLOW", "rules: [{}]"), policy("open", "ALLOW")


class Workers:
    """A server with two workers."""

    def __init__(self, directory: Path, *options: str, listen: str = "127.0.0.1:0") -> None:
        self.policies = directory / "policies"
        self.policies.mkdir()
        self.write(OPEN)
        self.log = directory / "log"
        command = [*MESHWARD, "serve", str(self.policies), "--listen", listen, "--workers", "2", "--drain", "1"]
        self.process = Process("meshward serve --workers 2", [*command, *options], log=self.log)
        self.addresses = self.wait_for(r"listening on (.+)\n")[1].split(", ")

    def write(self, policies: str) -> None:
        beside = self.policies.parent / "new.yaml"
        beside.write_text(workload("api") + policies)
        beside.replace(self.policies / "all.yaml")

    def wait_for(self, pattern: str) -> re.Match[str]:
        return wait_until(lambda: re.search(pattern, self.log.read_text()), pattern, seconds=SECONDS)

    def workers(self) -> list[int]:
        return [int(pid) for pid in re.findall(r"worker \d+ answers, process (\d+)", self.log.read_text())]

    def verdicts(self) -> set[bool]:
        """Asked over connections of their own, so that the system spreads them over the workers."""
        return {self.ask(address) for _ in range(24 // len(self.addresses)) for address in self.addresses}

    def ask(self, address: str | None = None) -> bool:
        options = (("grpc.use_local_subchannel_pool", 1),)
        with grpc.insecure_channel(address or self.addresses[0], options=options) as channel:
            check = channel.unary_unary(CHECK, response_deserializer=CheckResponse.FromString)
            answer = check(questions.http().SerializeToString(), timeout=SECONDS, wait_for_ready=True)
            return bool(answer.status.code == 0)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    started = Workers(tmp_path)
    yield started
    started.process.stop()
    assert "Traceback" not in started.log.read_text(), started.log.read_text()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_all_answer_and_all_take_up_a_change(workers: Workers) -> None:
    assert len(workers.workers()) == 2
    assert workers.verdicts() == {True}
    workers.write(CLOSED)
    wait_until(lambda: workers.verdicts() == {False} or None, "all deny", seconds=SECONDS)
    workers.write("nonsense: [")
    workers.wait_for("refused, revision .* stays in force")
    assert workers.verdicts() == {False}


def test_one_that_dies_is_started_again_with_the_policies_of_the_day(workers: Workers) -> None:
    workers.write(CLOSED)
    wait_until(lambda: workers.verdicts() == {False} or None, "all deny", seconds=SECONDS)
    os.kill(workers.workers()[0], signal.SIGKILL)
    workers.wait_for(r"worker \d ended with status -9 and is started again")
    wait_until(lambda: len(workers.workers()) == 3 or None, "it answers again", seconds=SECONDS)
    assert workers.verdicts() == {False}


def test_on_unix_sockets_each_has_its_own_and_the_next_takes_it_over() -> None:
    # Not pytest's own directory: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="meshward-") as name:
        socket_path = Path(name) / "s"
        workers = Workers(Path(name), listen=f"unix:{socket_path}")
        try:
            assert workers.addresses == [f"unix:{socket_path}.0", f"unix:{socket_path}.1"]
            assert workers.verdicts() == {True}
            os.kill(workers.workers()[0], signal.SIGKILL)
            wait_until(lambda: len(workers.workers()) == 3 or None, "it answers again", seconds=SECONDS)
            workers.write(CLOSED)
            wait_until(lambda: workers.verdicts() == {False} or None, "all deny", seconds=SECONDS)
        finally:
            workers.process.stop()
        assert not list(Path(name).glob("s.*"))


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_none_outlives_the_first(workers: Workers, ending: signal.Signals) -> None:
    pids = workers.workers()
    os.kill(workers.process.pid, ending)
    wait_until(lambda: None if any(map(is_running, pids)) else True, "all have ended", seconds=SECONDS)
    workers.process._child.wait(SECONDS)


def test_a_worker_that_is_asked_to_end_does_so(workers: Workers) -> None:
    os.kill(workers.workers()[1], signal.SIGTERM)
    workers.wait_for(r"worker \d ended with status 0 and is started again")


@pytest.mark.parametrize(
    ("listen", "message"),
    [("nonsense", "an address is `host:port`"), ("TAKEN", "Address already in use")],
)
def test_workers_that_cannot_share_say_why(tmp_path: Path, listen: str, message: str) -> None:
    (tmp_path / "all.yaml").write_text(workload("api") + OPEN)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}" if listen == "TAKEN" else listen
        command = [*MESHWARD, "serve", str(tmp_path), "--listen", address, "--workers", "2"]
        began = time.monotonic()
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (ended.returncode, message in ended.stderr) == (2, True), ended.stderr
    assert time.monotonic() - began < SECONDS
