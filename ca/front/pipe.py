"""Pipes: bytes between two connections, both ways, as fast as the slower one takes them."""

import asyncio
from collections.abc import Callable
from typing import cast

__all__ = ["BUFFER", "End", "join"]

BUFFER = 64 * 1024
"""How much is held for the other side, each way, before no more is read."""


def _nobody(_: "End") -> None:
    """Who made it knows of it already."""


class End(asyncio.Protocol):
    """One end of a pipe, of either transport. What comes before it leads anywhere waits. `made` is told once it is connected.

    What comes is written on from the transport's own call: a task that is woken for it costs more than passing it on does.
    """

    transport: asyncio.Transport

    def __init__(self, made: "Callable[[End], None]" = _nobody) -> None:
        self._made = made
        self._other: End | None = None
        self._early: list[bytes] = []
        self.has_ended = False
        """Whether who is there has said all that it had to."""
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the connection is lost, whoever ended it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio has it."""
        # uvloop's are of no class of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=BUFFER)
        self._made(self)

    def lead_to(self, other: "End") -> None:
        """Pass on to `other` what has come and what comes from now on."""
        self._other = other
        for data in self._early:
            other.write(data)
        self._early.clear()
        if self.has_ended:
            self._end(other)
        elif not self.transport.is_closing():
            self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send it, if there is still somebody to send it to."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        """As asyncio has it."""
        if self._other is not None:
            self._other.write(data)
            return
        # Once only: a transport begins to read when it is made, whatever it was told then.
        self._early.append(data)
        self.transport.pause_reading()

    def pause_writing(self) -> None:
        """As asyncio has it: nobody fills our memory by not reading."""
        if self._other is not None and not self._other.transport.is_closing():
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        """As asyncio has it."""
        if self._other is not None and not self._other.transport.is_closing():
            self._other.transport.resume_reading()

    def eof_received(self) -> bool:
        """As asyncio has it. Who has said all may hear the rest, but for TLS, which knows no half of a connection."""
        self.has_ended = True
        if self._other is not None:
            self._end(self._other)
        return self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:
        """As asyncio has it."""
        other, self._other = self._other, None
        if other is not None:
            # What one has said before it went still gets there; of what was cut off nobody wants the rest.
            (other.transport.close if exc is None else other.transport.abort)()
        if not self.gone.done():
            self.gone.set_result(None)

    def _end(self, other: "End") -> None:
        """There is no more from here. What is under way to `other` still gets there."""
        if other.transport.is_closing():
            return
        if other.has_ended or not other.transport.can_write_eof():
            other.transport.close()
        else:
            other.transport.write_eof()
        if other.has_ended:
            self.transport.close()


async def join(one: End, other: End) -> None:
    """Pass on what comes from either until both have said all they had to. Both are closed at the end, whichever way it comes."""
    try:
        if not (one.gone.done() or other.gone.done()):
            one.lead_to(other)
            other.lead_to(one)
            await one.gone
            await other.gone
    finally:
        for end in (one, other):
            end.transport.abort()
