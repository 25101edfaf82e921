"""Pipes: bytes between two connections, both ways, as fast as the slower one takes them."""

import asyncio
from asyncio import StreamReader, StreamWriter

__all__ = ["BUFFER", "join"]

BUFFER = 64 * 1024
"""How much is read ahead of the other side, each way."""


async def join(one: tuple[StreamReader, StreamWriter], other: tuple[StreamReader, StreamWriter]) -> None:
    """Pass on what comes from either until both have said all they had to. Both are closed at the end, whichever way it comes."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pass_on(one[0], other[1]))
            group.create_task(_pass_on(other[0], one[1]))
        for _, writer in (one, other):
            writer.close()
        for _, writer in (one, other):
            await writer.wait_closed()
    except* OSError:
        # One of them is gone. What the other still has to say, nobody hears.
        pass
    finally:
        for _, writer in (one, other):
            writer.transport.abort()


async def _pass_on(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(BUFFER):
        writer.write(data)
        # Waits while much is under way, so that nobody fills our memory by not reading.
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    else:
        # TLS knows no half of a connection. What is under way still gets there, and then the other way ends, too.
        writer.close()
