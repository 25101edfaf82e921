"""Unix peers: real processes on real sockets, and what the kernel says of them."""

import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ca.attestation import PeerCredentials, attest_unix_peer
from ca.errors import AttestationError
from ca.selector import Selector

CONNECT = """
import os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
{then}
sys.stdin.read()
"""


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        (tmp_path / "s").chmod(0o777)
        listening.listen()
        yield listening


def process(listener: socket.socket, then: str = "") -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # ours
        [sys.executable, "-c", CONNECT.format(then=then), listener.getsockname()], stdin=subprocess.PIPE
    )


def accepted(listener: socket.socket) -> PeerCredentials:
    with listener.accept()[0] as connection:
        return PeerCredentials.of(connection)


def test_a_process_is_known_by_its_owner_and_its_executable(listener: socket.socket) -> None:
    with process(listener) as peer:
        found = accepted(listener)
        caller = attest_unix_peer(found, hash_executable=True)
        found.close()
        assert peer.stdin is not None
        peer.stdin.close()
    executable = Path(sys.executable).resolve()
    digest = hashlib.sha256(executable.read_bytes()).hexdigest()
    wanted = (f"uid:{os.getuid()}", f"gid:{os.getgid()}", f"path:{executable}", f"sha256:{digest}")
    assert caller.selectors >= {Selector("unix", fact) for fact in wanted}


def test_an_executable_is_not_read_unless_that_is_asked_for(listener: socket.socket) -> None:
    with process(listener) as peer:
        found = accepted(listener)
        caller = attest_unix_peer(found)
        found.close()
        assert peer.stdin is not None
        peer.stdin.close()
    assert not [selector for selector in caller.selectors if selector.value.startswith("sha256:")]


def test_a_process_that_has_ended_is_nobody(listener: socket.socket) -> None:
    with process(listener) as peer:
        found = accepted(listener)
        peer.kill()
    with pytest.raises(AttestationError):
        attest_unix_peer(found)
    found.close()


def test_a_number_that_has_become_another_process_is_nobody(listener: socket.socket) -> None:
    # The number now is this very test's, and what it names looks sound; the process that connected has ended.
    with process(listener) as peer:
        found = accepted(listener)
        peer.kill()
    reused = PeerCredentials(os.getpid(), os.getuid(), os.getgid(), found.pidfd)
    with pytest.raises(AttestationError, match="has ended"):
        attest_unix_peer(reused)
    found.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody else")
def test_a_process_that_became_somebody_else_is_nobody(listener: socket.socket) -> None:
    then = "os.setuid(65533); connection.send(b'x')"
    with process(listener, then) as peer, listener.accept()[0] as connection:
        found = PeerCredentials.of(connection)
        connection.recv(1)
        with pytest.raises(AttestationError, match=r"not the one that connected|cannot be looked at"):
            attest_unix_peer(found)
        found.close()
        assert peer.stdin is not None
        peer.stdin.close()


def test_one_whose_owner_is_not_the_one_that_connected_is_nobody(listener: socket.socket) -> None:
    with process(listener) as peer:
        found = accepted(listener)
        other = PeerCredentials(found.pid, found.uid + 1, found.gid, found.pidfd)
        with pytest.raises(AttestationError, match="not the one that connected"):
            attest_unix_peer(other)
        found.close()
        assert peer.stdin is not None
        peer.stdin.close()
