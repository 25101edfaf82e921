"""Pending: a piece of work that is being written, and whoever waits for it, in a thread or an event loop.

What `concurrent.futures` has makes a condition and two locks for each; a certificate waits three times, and there it takes
longer than the rows that it waits for.
"""

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

__all__ = ["Deliveries", "Pending"]

T = TypeVar("T")

_logger = logging.getLogger("meshward.ca")


class Pending(Generic[T]):
    """What is being written: `await` it, or ask for its `result()`. Once it is there it is on the disk.

    Raises (both): what the store refuses, or `StoreUnavailableError` if nobody can tell what was written.
    """

    __slots__ = ("_deliveries", "_done", "_error", "_outcome", "_to_tell")

    _outcome: T

    def __init__(self, deliveries: "Deliveries") -> None:
        self._deliveries = deliveries
        self._done = False
        self._error: BaseException | None = None
        self._to_tell: list[Callable[[], None]] = []

    def result(self) -> T:
        """Wait for it, in a thread that may wait."""
        if not self._done:
            there = threading.Event()
            self._tell(there.set)
            there.wait()
        return self._taken()

    def on_failure(self, tell: Callable[[BaseException], None]) -> None:
        """Have `tell` called, in whatever thread, if it fails. For whoever does not wait. What `tell` raises is logged."""

        def told() -> None:
            if self._error is None:
                return
            try:
                tell(self._error)
            except Exception:  # it may be called in the thread that writes, which others wait for
                _logger.exception("that something was not written could not be told")

        self._tell(told)

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done:
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[None] = loop.create_future()
            self._tell(lambda: self._deliveries.add(loop, waiter))
            yield from waiter
        return self._taken()

    def settle(self, outcome: T) -> None:
        """It is on the disk. For the writer, once."""
        self._outcome = outcome
        self._settled()

    def fail(self, error: BaseException) -> None:
        """It is not, or nobody can tell. For the writer, once."""
        self._error = error
        self._settled()

    def _settled(self) -> None:
        with self._deliveries.lock:
            self._done = True
            to_tell, self._to_tell = self._to_tell, []
        for tell in to_tell:
            tell()

    def _tell(self, tell: Callable[[], None]) -> None:
        with self._deliveries.lock:
            if not self._done:
                self._to_tell.append(tell)
                return
        tell()

    def _taken(self) -> T:
        if self._error is None:
            return self._outcome
        try:
            raise self._error
        finally:
            # Or the error would keep this frame, and the frame the error.
            del self


class Deliveries:
    """Wakes an event loop once a commit, not once for each that waits in it: a wake-up costs more than an insert."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """Held for a moment, whenever somebody begins to wait and when there is an outcome."""
        self._local = threading.local()

    def add(self, loop: asyncio.AbstractEventLoop, waiter: "asyncio.Future[None]") -> None:
        """Wake `waiter`: at the end of the commit, or at once where it was done just before it was waited for."""
        gathered = getattr(self._local, "gathered", None)
        if gathered is None:  # not in the writer's thread
            _wake(loop, [waiter])
        else:
            gathered[loop].append(waiter)

    def begin(self) -> None:
        """In the writer's thread: a commit begins."""
        self._local.gathered = defaultdict(list)

    def end(self) -> None:
        """It has ended."""
        gathered = self._local.gathered
        del self._local.gathered
        for loop, waiters in gathered.items():
            _wake(loop, waiters)


def _wake(loop: asyncio.AbstractEventLoop, waiters: "list[asyncio.Future[None]]") -> None:
    def wake() -> None:
        for waiter in waiters:
            if not waiter.done():  # its task was cancelled
                waiter.set_result(None)

    try:
        loop.call_soon_threadsafe(wake)
    except RuntimeError:  # the loop is closed: nobody waits any more
        return
