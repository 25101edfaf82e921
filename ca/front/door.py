"""Doors: the ways by which clients come, each with what it tells about whoever came."""

from asyncio import AbstractServer, StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

__all__ = ["Connected", "Door"]

Peer = TypeVar("Peer")

Connected = Callable[[StreamReader, StreamWriter], Awaitable[None]]


class Door(Protocol[Peer]):
    """A listening socket of ours."""

    address: str
    """Where it is, as clients know it; with the real port where 0 was asked for."""

    async def open(self, connected: Connected) -> AbstractServer:
        """Let clients in: `connected` is called for each, once it has passed what the door itself asks for."""

    def peer(self, writer: StreamWriter) -> Peer:
        """Who came. `leave` is called with it once they have gone."""

    def leave(self, peer: Peer) -> None:
        """Let go of what is held for them."""

    def group(self, peer: Peer) -> str:
        """Whom they share connections with: a user of this machine, an address."""

    def close(self) -> None:
        """Let go of the place. Closing twice is harmless."""
