"""Aim: what a decision costs does not grow with the rules: at most half as much again from ten to ten thousand.

For every kind of condition alone, and for nine kinds mixed with callers, methods, tiers and exceptions. A quarter of
the requests meet the first rule, a quarter the last, a quarter any, and a quarter none; each is made just before it is
decided, as in a server, and none comes twice. The sizes are measured in turn, round by round, so that the ratio holds
when the machine's speed drifts: `growth` is the median of the rounds' ratios.

`any` are the requests that meet any rule. Among ten thousand each of them comes to another one, of which nothing is in
the processor's caches: what it costs more is the memory's time, and not the tree's. At the small sizes the reference
decides the same requests, for comparison. The yardstick is a loop of a thousand look-ups in a dictionary, timed in the same run:
it says how fast the machine was, and by it figures of two machines can be compared.
"""

import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from authz import semantics
from authz.attributes import Attributes
from authz.decision import Decision
from authz.model import Policy
from authz.tree import compile_policies
from benchmarks.row import Row
from benchmarks.rules import KINDS, mixed_policies, mixed_request, policies_of, request_of, stranger

TRUST_DOMAINS = ("cluster.local",)
SIZES = (10, 100, 1_000, 10_000)
REFERENCE_SIZES = (10, 100, 1_000)
ROUNDS = 7
REQUESTS = 1_000
REFERENCE_REQUESTS = 24

Make = Callable[[int, random.Random], Attributes]
Decide = Callable[[Attributes], Decision]


_YARDSTICK = {f"/v1/items{number}": number for number in range(1_000)}


def _slowest_growth(result: Any) -> float:
    return float(max(sizes["growth"] for sizes in result.values() if "growth" in sizes))


ROWS = (
    Row("a decision, 10,000 mixed rules, p50", 3, lambda result: float(result["mixed"]["p50_us"]["10000"]), "µs"),
    Row("a decision, 10,000 mixed rules, p99", 10, lambda result: float(result["mixed"]["p99_us"]["10000"]), "µs"),
    Row("growth from 10 to 10,000 rules, mixed", 1.5, lambda result: float(result["mixed"]["growth"]), "times"),
    Row("growth from 10 to 10,000 rules, the worst of all kinds", 1.5, _slowest_growth, "times"),
)


def measure() -> dict[str, object]:
    """Microseconds by kind and size, median and 99th percentile, of the best round; and the growth."""
    return {
        "yardstick": {"thousand_look_ups_us": _yardstick()},
        "mixed": _growth({size: _tree(mixed_policies(size)) for size in SIZES}, mixed_request),
        "the reference, mixed": _reference(),
        **{
            kind.name: _growth({size: _tree(policies_of(kind, size)) for size in SIZES}, partial(request_of, kind))
            for kind in KINDS
        },
    }


def _yardstick() -> float:
    """Microseconds, the median of the rounds."""
    times = []
    for _ in range(ROUNDS * 10):
        started = time.perf_counter_ns()
        sum(map(_YARDSTICK.__getitem__, _YARDSTICK))
        times.append((time.perf_counter_ns() - started) / 1000)
    return round(statistics.median(times), 2)


def _tree(policies: tuple[Policy, ...]) -> Decide:
    return compile_policies(policies, trust_domains=TRUST_DOMAINS).decide


class Times(NamedTuple):
    """Microseconds of the decisions of a round: median, 99th percentile, and the median where any rule is met."""

    p50: float
    p99: float
    any: float


def _growth(trees: Mapping[int, Decide], make: Make) -> dict[str, object]:
    rounds = [
        {size: _times(decide, _requests(make, size, REQUESTS, seed)) for size, decide in trees.items()}
        for seed in range(ROUNDS)
    ]
    least, most = min(trees), max(trees)
    return {
        "p50_us": {size: min(times[size].p50 for times in rounds) for size in trees},
        "p99_us": {size: min(times[size].p99 for times in rounds) for size in trees},
        "growth": round(statistics.median(times[most].p50 / times[least].p50 for times in rounds), 2),
        "any_p50_us": {size: min(times[size].any for times in rounds) for size in trees},
        "any_growth": round(statistics.median(times[most].any / times[least].any for times in rounds), 2),
    }


def _reference() -> dict[int, float]:
    """The median at each size."""
    return {
        size: _times(
            partial(semantics.decide, mixed_policies(size), trust_domains=TRUST_DOMAINS),
            _requests(mixed_request, size, REFERENCE_REQUESTS, 1),
        ).p50
        for size in REFERENCE_SIZES
    }


def _requests(make: Make, size: int, count: int, seed: int) -> Iterator[Attributes]:
    source = random.Random(seed)
    for _ in range(count // 4):
        yield make(0, source)
        yield make(size - 1, source)
        yield make(source.randrange(size), source)
        yield stranger(source)


def _times(decide: Decide, requests: Iterator[Attributes]) -> Times:
    times = []
    for request in requests:
        started = time.perf_counter_ns()
        decide(request)
        times.append((time.perf_counter_ns() - started) / 1000)
    tail = statistics.quantiles(times, n=100)[98]
    return Times(round(statistics.median(times), 2), round(tail, 2), round(statistics.median(times[2::4]), 2))
