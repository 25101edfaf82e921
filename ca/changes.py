"""Changes: how streams learn that what they hand out may have changed."""

import asyncio
from datetime import timedelta

__all__ = ["Changes"]


class Changes:
    """Counts what changed. Whoever waits gives the count it has acted on, so that nothing falls between two waits.

    It belongs to one event loop.
    """

    def __init__(self) -> None:
        self.count = 0
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Something has changed: wake everybody."""
        self.count += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def after(self, count: int, *, within: timedelta | None = None) -> int:
        """Wait until more than `count` changes have happened, or that long, and return how many have."""
        if self.count == count:
            seconds = None if within is None else max(within.total_seconds(), 0.0)
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                pass
        return self.count
