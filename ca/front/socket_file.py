"""Socket files: Unix sockets at a path that nobody can take from us."""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from ca.errors import ListenError

__all__ = ["UNIX", "SocketFile"]

UNIX = "unix:"
_BACKLOG = 1024
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class SocketFile:
    """A listening Unix socket with a file of `mode`. What an earlier server left behind is replaced, and nothing else.

    `address` is `unix:/path` or `unix:///path`.

    Raises:
        ListenError: something is in the way, others could put theirs in its place, or it cannot be made.
    """

    def __init__(self, address: str, *, mode: int) -> None:
        self.address = address
        self._path = _path(address)
        try:
            _require_safe(self._path, address)
            _clear_stale(self._path, address)
            self.socket = self._bound(mode)
        except OSError as error:
            raise ListenError(address, error.strerror or str(error)) from error

    def remove(self) -> None:
        """Remove the file, unless it is another's by now: a successor may have come while this server drained."""
        with suppress(FileNotFoundError):
            if _identity(self._path) == self._own:
                self._path.unlink()

    def _bound(self, mode: int) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX)
        try:
            listening.bind(str(self._path))
            self._own = _identity(self._path)
            # Before anybody can connect, which is from `listen` on.
            self._path.chmod(mode)
            listening.listen(_BACKLOG)
            listening.settimeout(0)
        except BaseException:
            listening.close()
            raise
        return listening


def _path(address: str) -> Path:
    text = address.removeprefix(UNIX)
    # As SPIFFE_ENDPOINT_SOCKET has it.
    if text.startswith("///"):
        text = text[2:]
    if not address.startswith(UNIX) or text[:1] != "/" or text[:2] == "//" or text.endswith("/"):
        raise ListenError(address, "an address is `unix:/path`, with a path from the root on")
    return Path(text)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _require_safe(path: Path, address: str) -> None:
    """See that nobody else can take the file away and put theirs there: workloads would tell them who they are.

    Raises:
        ListenError: somebody can.
    """
    parent = path.parent.resolve(strict=True)
    for directory in (parent, *parent.parents):
        status = directory.stat()
        writable = status.st_mode & _OTHERS_MAY_WRITE
        # Where only the owner of a file may remove it, as in /tmp, what is further down is safe; the file itself has to be first there.
        if writable and not (directory != parent and status.st_mode & stat.S_ISVTX):
            raise ListenError(address, f"others may write to `{directory}`; chmod go-w it, or take another directory")
        if status.st_uid not in (0, os.geteuid()):
            raise ListenError(address, f"`{directory}` is another user's; take a directory of your own")


def _clear_stale(path: Path, address: str) -> None:
    """Remove a socket that nobody listens on any more; one that answers is somebody's, and no socket is not ours.

    Raises:
        ListenError: there is something that may not be removed.
    """
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ListenError(address, "there is a file of that name, and it is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        # One whose queue is full is there, too.
        probe.settimeout(0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise ListenError(address, "another server does")
