"""One set of rules at one size, decided by each engine in turn; run as `python -m benchmarks.apart.rounds SET SIZE`.

Near misses come first, and nobody may let them through. In each round every engine decides requests of its own making, as many as its share of the time allows, and each answer
is compared with ours. Prints JSON: microseconds of each, median of the rounds' medians, and the median of the rounds'
ratios to ours.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

from benchmarks.apart.engines import ENGINES, Engine
from benchmarks.apart.envoy import EnvoyRbac
from benchmarks.apart.sets import Asked, asked, near_misses

ROUNDS = 5
MOST = 400
SECONDS = 0.6
"""What one engine may take of a round."""


def main() -> None:
    """Measure and print."""
    name, size = sys.argv[1], int(sys.argv[2])
    engines = {engine: make(name, size) for engine, make in ENGINES.items()}
    with EnvoyRbac(name, size) as envoy:
        found: dict[str, list[float]] = {engine: [] for engine in (*engines, "envoy")}
        compared = dict.fromkeys(found, 0)
        _require_refusals(engines, envoy, near_misses(name, size))
        for seed in range(ROUNDS):
            requests = [*asked(name, size, MOST, seed)]
            right = _answers(engines["meshward"], requests)
            if sum(right) != len(right) * 3 // 4:
                raise SystemExit(
                    f"meshward allows {sum(right)} of {len(right)} requests, of which three in four meet a rule"
                )
            for engine, (put, decide) in engines.items():
                times, answers = _timed([put(request) for request in requests], decide)
                _require_equal(engine, right, answers)
                compared[engine] += len(answers)
                found[engine].append(statistics.median(times))
            added, answers = envoy.added(requests)
            _require_equal("envoy", right, answers)
            compared["envoy"] += len(answers)
            found["envoy"].append(added)
    ours = found["meshward"]
    print(
        json.dumps(
            {
                engine: {
                    "p50_us": round(statistics.median(times), 3),
                    "times_ours": round(
                        statistics.median(each / own for each, own in zip(times, ours, strict=True)), 2
                    ),
                    "answers_compared": compared[engine],
                }
                for engine, times in found.items()
            }
        )
    )


def _require_refusals(engines: dict[str, Engine], envoy: EnvoyRbac, requests: list[Asked]) -> None:
    """Those that are timed differ much from the rules; an engine that looked at half of a pattern would get them right."""
    none = [False] * len(requests)
    for engine, own in engines.items():
        _require_equal(engine, none, _answers(own, requests))
    _, answers = envoy.added(requests)
    _require_equal("envoy", none, answers)


def _answers(engine: Engine, requests: list[Asked]) -> list[bool]:
    put, decide = engine
    return [decide(put(request)) for request in requests]


def _timed(requests: list[object], decide: Callable[[object], bool]) -> tuple[list[float], list[bool]]:
    times, answers = [], []
    end = time.perf_counter() + SECONDS
    for request in requests:
        started = time.perf_counter_ns()
        answer = decide(request)
        times.append((time.perf_counter_ns() - started) / 1000)
        answers.append(answer)
        # Of each kind of request as many as of the others.
        if len(answers) % 4 == 0 and time.perf_counter() > end:
            break
    return times, answers


def _require_equal(engine: str, right: list[bool], answers: list[bool]) -> None:
    for number, (own, other) in enumerate(zip(right, answers, strict=False)):
        if own is not other:
            raise SystemExit(f"{engine} answers {other} to request {number}, and meshward {own}")


if __name__ == "__main__":
    main()
