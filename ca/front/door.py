"""Doors: the ways by which clients come, each with what it tells about whoever came."""

from asyncio import AbstractServer, BaseTransport
from asyncio import Protocol as ByteProtocol
from collections.abc import Callable
from typing import Protocol, TypeVar

__all__ = ["Door", "Taker"]

Peer = TypeVar("Peer")

Taker = Callable[[], ByteProtocol]
"""Makes what takes in a connection."""


class Door(Protocol[Peer]):
    """A listening socket of ours."""

    address: str
    """Where it is, as clients know it; with the real port where 0 was asked for."""

    async def open(self, taker: Taker) -> AbstractServer:
        """Let clients in: `taker` is called for each, and what it makes is connected once that has passed what the door itself asks for."""

    def peer(self, transport: BaseTransport) -> Peer:
        """Who came. `leave` is called with it once they have gone."""

    def leave(self, peer: Peer) -> None:
        """Let go of what is held for them."""

    def group(self, peer: Peer) -> str:
        """Whom they share connections with: a user of this machine, an address."""

    def close(self) -> None:
        """Let go of the place. Closing twice is harmless."""
