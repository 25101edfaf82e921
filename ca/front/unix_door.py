"""The door for processes of this machine: a Unix socket, and the kernel's word on who connected."""

import asyncio
import os
import socket
from asyncio import AbstractServer, BaseTransport
from dataclasses import replace

from ca.attestation import Caller, PeerCredentials, attest_unix_peer
from ca.errors import AttestationError, ListenError
from ca.front.door import Taker
from ca.front.socket_file import SocketFile

__all__ = ["UnixDoor", "UnixPeer"]


class UnixPeer:
    """The process that connected, or why it cannot be told. Once it has left, it cannot be told any more."""

    __slots__ = ("_found", "_hash_executable", "origin")

    def __init__(self, found: PeerCredentials | AttestationError, *, hash_executable: bool) -> None:
        self._found = found
        self._hash_executable = hash_executable
        self.origin = "unix" if isinstance(found, AttestationError) else f"unix:uid:{found.uid}"
        """Where attempts are counted: by user."""

    async def attest(self) -> Caller:
        """Who it is now: what was true when it connected may not be any more.

        Raises:
            AttestationError: it cannot be told.
        """
        if isinstance(self._found, AttestationError):
            # Another each time: one that is raised twice collects what led to it.
            raise AttestationError(self._found.reason)
        if not self._hash_executable:
            return attest_unix_peer(self._found)
        # With a descriptor of its own, and to the end: it may leave meanwhile.
        own = replace(self._found, pidfd=os.dup(self._found.pidfd))
        return await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(_attest_and_close, own)))

    def leave(self) -> None:
        """The connection is gone, and with it what holds the process: by that number it could be told as another later."""
        if isinstance(self._found, PeerCredentials):
            found, self._found = self._found, AttestationError("the connection has ended")
            found.close()


def _attest_and_close(own: PeerCredentials) -> Caller:
    try:
        return attest_unix_peer(own, hash_executable=True)
    finally:
        own.close()


class UnixDoor:
    """A Unix socket at `address`, `unix:/path`, with a file of `mode`.

    `hash_executable` makes `unix:sha256:…` a selector; it reads the executable of every process that connects, at every attestation.

    Raises:
        ListenError: nothing can listen there.
    """

    def __init__(self, address: str, *, mode: int, hash_executable: bool = False) -> None:
        self.address = address
        self._hash_executable = hash_executable
        self._file = SocketFile(address, mode=mode)

    async def open(self, taker: Taker) -> AbstractServer:
        """As `Door.open`."""
        try:
            return await asyncio.get_running_loop().create_unix_server(taker, sock=self._file.socket)
        except OSError as error:
            raise ListenError(self.address, error.strerror or str(error)) from error

    def peer(self, transport: BaseTransport) -> UnixPeer:
        """As `Door.peer`."""
        # Of its own: what asyncio shows of a socket is not all of it.
        with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as connection:
            try:
                return UnixPeer(PeerCredentials.of(connection), hash_executable=self._hash_executable)
            except AttestationError as error:
                # It is taken in all the same, to hear why it gets nothing.
                return UnixPeer(error, hash_executable=self._hash_executable)

    def leave(self, peer: UnixPeer) -> None:
        """As `Door.leave`."""
        peer.leave()

    def group(self, peer: UnixPeer) -> str:
        """As `Door.group`."""
        return peer.origin

    def close(self) -> None:
        """As `Door.close`."""
        self._file.socket.close()
        self._file.remove()
