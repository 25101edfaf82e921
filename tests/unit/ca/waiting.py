"""Waiting for what happens by itself."""

import asyncio
from collections.abc import Callable

__all__ = ["until"]


async def until(holds: Callable[[], object], *, seconds: float = 10.0) -> None:
    """Wait until it holds.

    Raises:
        TimeoutError: it never did.
    """
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)
