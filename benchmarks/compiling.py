"""Aim: ten thousand rules are compiled in a second, into fifty megabytes, and a tenth of them takes a tenth of both.

From the model, for both kinds of filter chain. Memory is what Python has allocated for the tree, and at the most while
it is made; time is measured apart from it, in turn by size, in a process that has nothing else.
"""

import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from authz.model import Policy
from authz.tree import compile_policies
from benchmarks.row import Row
from benchmarks.rules import KINDS, mixed_policies, policies_of

TRUST_DOMAINS = ("cluster.local",)
SIZES = (1_000, 10_000)
ROUNDS = 5
SETS: dict[str, Callable[[int], tuple[Policy, ...]]] = {
    "mixed": mixed_policies,
    **{kind.name: partial(policies_of, kind) for kind in KINDS},
}
_SECONDS = "from benchmarks.compiling import seconds; print(seconds({!r}, {}))"


def _worst(figure: str, result: Any) -> float:
    return float(max(sizes["10000"][figure] for sizes in result.values()))


ROWS = (
    Row("compiling 10,000 rules, the worst of all kinds", 1, partial(_worst, "seconds"), "s"),
    Row("memory while it is made, the worst of all kinds", 50, partial(_worst, "megabytes_at_most"), "MB"),
)


def measure() -> dict[str, object]:
    """For each set and size: seconds, the median of the rounds, and megabytes of the tree and at the most."""
    return {name: {size: _measure(name, size) for size in SIZES} for name in SETS}


def seconds(name: str, size: int) -> float:
    """What compiling takes, once."""
    policies = SETS[name](size)
    started = time.perf_counter()
    compile_policies(policies, trust_domains=TRUST_DOMAINS)
    return time.perf_counter() - started


def _measure(name: str, size: int) -> dict[str, float]:
    command = [sys.executable, "-c", _SECONDS.format(name, size)]
    root = Path(__file__).parents[1]
    rounds = [
        float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout)  # noqa: S603  # ours
        for _ in range(ROUNDS)
    ]
    policies = SETS[name](size)
    tracemalloc.start()
    tree = compile_policies(policies, trust_domains=TRUST_DOMAINS)
    used, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "predicates": tree.size,
        "seconds": round(statistics.median(rounds), 3),
        "megabytes": round(used / 1e6, 2),
        "megabytes_at_most": round(most / 1e6, 2),
    }
