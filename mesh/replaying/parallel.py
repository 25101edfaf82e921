"""Doing the same with one thing after the other, in several processes."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from multiprocessing import get_context
from typing import Any, TypeVar

__all__ = ["in_processes"]

A = TypeVar("A")
B = TypeVar("B")

_AHEAD = 2
"""So many things wait for each process: enough that none is idle, and no more, for they are held in memory."""


def in_processes(work: Callable[[A], B], things: Iterator[A], jobs: int) -> Iterator[B]:
    """What `work` makes of each thing, in the order of the things, of which few are held at a time.

    The processes are forks of this one and begin with what `work` remembers; each remembers on its own. None is started where
    there are no things. No thread may run meanwhile that holds a lock which they need.
    """
    first = list(islice(things, 1))
    if not first:
        return
    # Forked, they have what is compared with already: only the things go to them, and only results come back.
    _working.append(work)
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
            waiting: deque[Future[B]] = deque()
            for thing in chain(first, things):
                waiting.append(pool.submit(_work, thing))
                if len(waiting) >= _AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        _working.pop()


_working: list[Callable[[Any], Any]] = []


def _work(thing: Any) -> Any:  # whatever is worked on
    return _working[-1](thing)
