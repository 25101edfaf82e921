"""Unix peers: a process on this machine, by what the kernel says of who connected to a local socket.

A process id may be another's by the time somebody looks at it. The process is pinned first, and what is read of it counts only
if it is still there, with the same owner, afterwards.
"""

import errno
import hashlib
import os
import select
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ca.attestation.caller import Attestor, Caller
from ca.errors import AttestationError
from ca.selector import Selector

__all__ = ["PeerCredentials", "attest_unix_peer"]

# What user namespaces show of users that are none of theirs: nobody in particular.
_OVERFLOW = 65534
_CREDENTIALS = struct.Struct("=iII")
# Linux 6.5; Python has no name for it yet.
_SO_PEERPIDFD = 77
_LARGEST_HASHED = 512 * 1024 * 1024
_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PeerCredentials:
    """What the kernel says of the other end of a Unix socket, as it was when it connected.

    `pidfd` is the process itself, whatever its number comes to mean. Whoever has these closes it.
    """

    pid: int
    uid: int
    gid: int
    pidfd: int

    @classmethod
    def of(cls, connection: socket.socket) -> Self:
        """Those of whoever connected.

        Raises:
            AttestationError: they cannot be had.
        """
        try:
            pid, uid, gid = _CREDENTIALS.unpack(
                connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
            if pid <= 0 or _OVERFLOW in (uid, gid):
                raise AttestationError("the process is in another namespace")
            return cls(pid, uid, gid, _pinned(connection, pid))
        except OSError as error:
            raise AttestationError(f"the process cannot be found: {error.strerror}") from error

    def close(self) -> None:
        """Let go of the process."""
        os.close(self.pidfd)


def _pinned(connection: socket.socket, pid: int) -> int:
    try:
        return connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            raise
    # Before Linux 6.5. Between connecting and now the number may have changed hands; its owner is compared below.
    return os.pidfd_open(pid)


def attest_unix_peer(peer: PeerCredentials, *, hash_executable: bool = False) -> Caller:
    """The process as selectors.

    They are `unix:uid:…`, `unix:gid:…`, `unix:supplementary-gid:…`, `unix:path:…`, and `unix:sha256:…` of its executable where that
    is wanted, which reads the whole of it.

    Raises:
        AttestationError: the process cannot be told: it has ended, has become another, or is not ours to look at.
    """
    try:
        facts = _facts(peer, hash_executable=hash_executable)
    except (OSError, KeyError) as error:
        raise AttestationError("the process cannot be looked at") from error
    # Read by number, so what was read is the process's only if that is still there.
    ended, _, _ = select.select([peer.pidfd], [], [], 0)
    if ended:
        raise AttestationError("the process has ended")
    kind = Attestor.UNIX.value
    selectors = frozenset(Selector(kind, fact) for fact in facts if fact.isprintable())
    return Caller(Attestor.UNIX, f"{kind}:uid:{peer.uid}", selectors)


def _facts(peer: PeerCredentials, *, hash_executable: bool) -> list[str]:
    process = Path("/proc") / str(peer.pid)
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
    # Real, effective, saved and file system ids; a process that has changed any of them since is not the one that connected.
    if {*status["Uid"].split()} != {str(peer.uid)} or {*status["Gid"].split()} != {str(peer.gid)}:
        raise AttestationError("the process is not the one that connected")
    facts = [f"uid:{peer.uid}", f"gid:{peer.gid}"]
    facts += [f"supplementary-gid:{group}" for group in status["Groups"].split()]
    executable = process / "exe"
    facts.append(f"path:{executable.readlink()}")
    if hash_executable:
        facts.append(f"sha256:{_digest(executable)}")
    return facts


def _digest(executable: Path) -> str:
    digest, size = hashlib.sha256(), 0
    with executable.open("rb") as file:
        while block := file.read(_BLOCK):
            size += len(block)
            if size > _LARGEST_HASHED:
                raise AttestationError(f"the executable is larger than {_LARGEST_HASHED} bytes")
            digest.update(block)
    return digest.hexdigest()
