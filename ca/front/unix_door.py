"""The door for processes of this machine: a Unix socket, and the kernel's word on who connected."""

import asyncio
import os
import socket
from asyncio import AbstractServer, StreamWriter
from dataclasses import dataclass

from ca.attestation import Caller, PeerCredentials, attest_unix_peer
from ca.errors import AttestationError, ListenError
from ca.front.door import Connected
from ca.front.pipe import BUFFER
from ca.front.socket_file import SocketFile

__all__ = ["UnixDoor", "UnixPeer"]


@dataclass(frozen=True, slots=True)
class UnixPeer:
    """The process that connected, or why it cannot be told."""

    found: PeerCredentials | AttestationError
    hash_executable: bool

    @property
    def origin(self) -> str:
        """Where attempts are counted: by user."""
        return "unix" if isinstance(self.found, AttestationError) else f"unix:uid:{self.found.uid}"

    async def attest(self) -> Caller:
        """Who it is now: what was true when it connected may not be any more.

        Raises:
            AttestationError: it cannot be told.
        """
        if isinstance(self.found, AttestationError):
            # Another each time: one that is raised twice collects what led to it.
            raise AttestationError(self.found.reason)
        if self.hash_executable:
            return await asyncio.to_thread(attest_unix_peer, self.found, hash_executable=True)
        return attest_unix_peer(self.found)


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

    async def open(self, connected: Connected) -> AbstractServer:
        """As `Door.open`."""
        try:
            return await asyncio.start_unix_server(connected, sock=self._file.socket, limit=BUFFER)
        except OSError as error:
            raise ListenError(self.address, error.strerror or str(error)) from error

    def peer(self, writer: StreamWriter) -> UnixPeer:
        """As `Door.peer`."""
        # Of its own: what asyncio shows of a socket is not all of it.
        with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as connection:
            try:
                return UnixPeer(PeerCredentials.of(connection), self._hash_executable)
            except AttestationError as error:
                # It is taken in all the same, to hear why it gets nothing.
                return UnixPeer(error, self._hash_executable)

    def leave(self, peer: UnixPeer) -> None:
        """As `Door.leave`."""
        if isinstance(peer.found, PeerCredentials):
            peer.found.close()

    def group(self, peer: UnixPeer) -> str:
        """As `Door.group`."""
        return peer.origin

    def close(self) -> None:
        """As `Door.close`."""
        self._file.socket.close()
        self._file.remove()
