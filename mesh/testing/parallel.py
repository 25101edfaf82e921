"""Running several suites at once, where that is worth the processes."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from os import cpu_count

from mesh.testing.results import Result, Wanted, run_suite
from mesh.testing.suites import Suite

__all__ = ["run_suites"]

_WORTH = 20_000
"""So many cases take longer than it takes to start processes and to bring back what they found."""


def run_suites(
    suites: Sequence[Suite],
    *,
    chosen: Callable[[str], bool] | None,
    wanted: frozenset[Wanted],
    jobs: int | None = None,
) -> list[Result]:
    """What comes of each suite, in their order. With `jobs`, in so many processes; else in as many as pay."""
    at = time.time()

    def run(number: int) -> Result:
        return run_suite(suites[number], at=at, chosen=chosen, wanted=wanted)

    if jobs is None:
        jobs = (cpu_count() or 1) if sum(map(_size, suites)) >= _WORTH else 1
    if (jobs := min(jobs, len(suites))) <= 1:
        return list(map(run, range(len(suites))))
    # Forked, the processes have the suites already: only numbers go to them, and only results come back.
    _running.append(run)
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
            return list(pool.map(_run_one, range(len(suites))))
    finally:
        _running.pop()


_running: list[Callable[[int], Result]] = []


def _run_one(number: int) -> Result:
    return _running[-1](number)


def _size(suite: Suite) -> int:
    """About how many cases it has."""
    return sum(len(test.requests) * len(test.callers) for test in suite.tests.tests)
