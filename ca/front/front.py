"""The front before a gRPC server: gRPC in Python shows neither the socket of a call nor who is at its other end.

Each connection is taken in at a door of ours, which finds out who came, and passed on over a Unix socket of the server's that is in
a directory of its own. Our end of that is bound to a path that was never used before, which is what a call then knows as its peer.
"""

import asyncio
import itertools
import logging
import os
import shutil
import socket
import tempfile
from asyncio import AbstractServer
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import unquote

import grpc

from ca.errors import AttestationError, ListenError
from ca.front.door import Door
from ca.front.pipe import End, join

__all__ = ["MAX_SOCKET_PATH", "Front"]

Peer = TypeVar("Peer")

MAX_SOCKET_PATH = 107
"""The kernel's limit for a Unix socket is 108 bytes with the end mark."""

_UNIX = "unix:"

_logger = logging.getLogger("meshward.ca")


class Front(Generic[Peer]):
    """Takes in connections at `door`, and knows who is behind the calls on them.

    `most` connections are open at once, `most_of_one` from any one user or address; who comes on top is sent away, so that nobody
    uses up the files of this process. It belongs to one event loop.

    Raises:
        ListenError: there is no place for the server's own socket.
    """

    def __init__(self, door: Door[Peer], *, most: int = 1000, most_of_one: int = 400) -> None:
        self._door = door
        self._most = most
        self._most_of_one = most_of_one
        # Only we may enter, so nobody else can connect behind the door.
        self._directory = Path(tempfile.mkdtemp(prefix="meshward-"))
        self._inner = self._directory / "grpc"
        if len(os.fsencode(self._inner)) + 16 > MAX_SOCKET_PATH:
            self._directory.rmdir()
            door.close()
            reason = f"`{self._directory}` is too long for Unix sockets; set TMPDIR to a shorter path"
            raise ListenError(door.address, reason)
        self._numbers = itertools.count(1)
        self._peers: dict[str, Peer] = {}
        self._groups: Counter[str] = Counter()
        self._turned_away: set[str] = set()
        self._listening: AbstractServer | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    @property
    def address(self) -> str:
        """Where clients connect."""
        return self._door.address

    @property
    def inner_address(self) -> str:
        """Where the gRPC server is to listen."""
        return f"{_UNIX}{self._inner}"

    def peer(self, context: grpc.aio.ServicerContext) -> Peer:
        """Who is at the other end of a call.

        Raises:
            AttestationError: it did not come in by the door, or has gone already.
        """
        # gRPC writes what is unusual in a path as in a URL.
        try:
            return self._peers[unquote(context.peer()).removeprefix(_UNIX)]
        except KeyError:
            raise AttestationError("the call came by no connection that is known") from None

    async def start(self) -> None:
        """Open the door. The server is to be there already.

        Raises:
            ListenError: it cannot be opened.
        """
        self._listening = await self._door.open(lambda: End(self._connected))

    async def shut(self) -> None:
        """Take nobody in any more; who is in stays."""
        if self._listening is not None:
            self._listening.close()
            self._listening = None
        await asyncio.to_thread(self._door.close)

    async def stop(self) -> None:
        """Shut, and hang up on everybody."""
        await self.shut()
        self._is_stopping = True
        connections = tuple(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    def _connected(self, end: End) -> None:
        if self._is_stopping:
            # It was taken in just before the door was shut.
            end.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._take_in(end))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _take_in(self, end: End) -> None:
        try:
            peer = self._door.peer(end.transport)
        except OSError:
            # It is gone already, or we have no file left to look at it with.
            end.transport.abort()
            return
        try:
            group = self._door.group(peer)
            if len(self._peers) >= self._most or self._groups.get(group, 0) >= self._most_of_one:
                self._turn_away(group)
                return
            self._groups[group] += 1
            try:
                await self._lead_on(peer, end)
            finally:
                self._groups[group] -= 1
                self._turned_away.discard(group)
                if not self._groups[group]:
                    del self._groups[group]
        finally:
            end.transport.abort()
            self._door.leave(peer)

    def _turn_away(self, group: str) -> None:
        # Once, until one of theirs has gone: they may come again and again.
        if group not in self._turned_away and len(self._turned_away) < self._most:
            self._turned_away.add(group)
            _logger.warning("%s: too many connections; those of %s are turned away", self.address, group)

    async def _lead_on(self, peer: Peer, end: End) -> None:
        # Never the same twice: a call may still be there when the connection that it came by is not.
        path = f"{self._directory}/{next(self._numbers)}"
        self._peers[path] = peer
        try:
            # Where it cannot be dialed, the server is ending.
            with suppress(OSError):
                await join(end, await self._dial(path))
        finally:
            del self._peers[path]

    async def _dial(self, path: str) -> End:
        loop = asyncio.get_running_loop()
        dialing = socket.socket(socket.AF_UNIX)
        try:
            dialing.settimeout(0)
            dialing.bind(path)
            await loop.sock_connect(dialing, str(self._inner))
            _remove(path)
            _, end = await loop.create_unix_connection(End, sock=dialing)
        except BaseException:
            dialing.close()
            raise
        return end


def _remove(path: str) -> None:
    # The name stays with the connection; the file is only in the way.
    Path(path).unlink()
