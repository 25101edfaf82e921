"""Running several suites at once, and the parts of large ones, where that is worth the processes."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import groupby
from multiprocessing import get_context
from os import cpu_count
from typing import NamedTuple

from mesh.testing.coverage import merged, shortfalls
from mesh.testing.results import Result, Wanted, run_suite
from mesh.testing.suites import Suite

__all__ = ["run_suites"]

_WORTH = 20_000
"""So many cases take longer than it takes to start processes and to bring back what they found."""

_PART = 5_000
"""About how many cases of one suite one process gets at a time."""


def run_suites(
    suites: Sequence[Suite],
    *,
    chosen: Callable[[str], bool] | None,
    wanted: frozenset[Wanted],
    jobs: int | None = None,
) -> list[Result]:
    """What comes of each suite, in their order. With `jobs`, in so many processes; else in as many as pay."""
    at = time.time()
    if jobs is None:
        jobs = (cpu_count() or 1) if sum(map(_size, suites)) >= _WORTH else 1
    parts = [part for number, suite in enumerate(suites) for part in _parts(number, suite)]
    if (jobs := min(jobs, len(parts))) <= 1:
        return [run_suite(suite, at=at, chosen=chosen, wanted=wanted) for suite in suites]

    def run(number: int) -> Result:
        part = parts[number]
        return run_suite(suites[part.suite], at=at, chosen=chosen, wanted=wanted, sections=part.sections)

    # Forked, the processes have the suites already: only numbers go to them, and only results come back.
    _running.append(run)
    try:
        with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
            results = list(pool.map(_run_one, range(len(parts))))
    finally:
        _running.pop()
    found = groupby(zip(parts, results, strict=True), key=lambda each: each[0].suite)
    return [_joined(suites[number], [result for _, result in each], gated=chosen is None) for number, each in found]


class _Part(NamedTuple):
    """Sections of a suite, which is known by its number."""

    suite: int
    sections: range


def _parts(number: int, suite: Suite) -> Iterator[_Part]:
    tests, complete = suite.tests.tests, suite.tests.complete
    first, size = 0, 0
    for section, test in enumerate(tests):
        size += len(test.requests) * len(test.callers)
        if size >= _PART:
            yield _Part(number, range(first, section + 1))
            first, size = section + 1, 0
    if first < len(tests) + len(complete):
        yield _Part(number, range(first, len(tests) + len(complete)))


def _joined(suite: Suite, results: Sequence[Result], *, gated: bool) -> Result:
    """What came of a suite, of what came of its parts."""
    coverages = [result.coverage for result in results if result.coverage is not None]
    coverage = merged(coverages) if coverages else None
    return Result(
        file=suite.tests.file,
        cases=sum(result.cases for result in results),
        passed=tuple(name for result in results for name in result.passed),
        failed=tuple(failed for result in results for failed in result.failed),
        mutants=sum(result.mutants for result in results),
        seconds=max(result.seconds for result in results),
        coverage=coverage,
        shortfalls=shortfalls(coverage, suite.tests.coverage) if coverage is not None and gated else (),
    )


_running: list[Callable[[int], Result]] = []


def _run_one(number: int) -> Result:
    return _running[-1](number)


def _size(suite: Suite) -> int:
    """About how many cases it has."""
    return sum(len(test.requests) * len(test.callers) for test in suite.tests.tests)
