"""Aim: in a steady state, too, a decision among ten thousand mixed rules costs at most half as much again as among ten.

By pyperf: calibrated, warmed up, a mean over a loop in each of several processes, so that the luck of one memory layout is not
the result. `benchmarks.decide` times decisions one by one, for their percentiles; here there is no clock in what is timed.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from itertools import chain
from pathlib import Path

from benchmarks.row import Row

SIZES = (10, 100, 1_000, 10_000)
_HOW = ("--processes", "5", "--values", "3", "--warmups", "1", "--min-time", "0.05", "--quiet")

ROWS = (
    Row(
        "growth from 10 to 10,000 rules, mixed, by pyperf",
        1.5,
        lambda result: round(result["us"]["10000"] / result["us"]["10"], 2),
        "times",
    ),
)


def measure() -> dict[str, object]:
    """Microseconds a decision by the number of rules: the median of pyperf's values, and the values of each of its processes."""
    values = {size: _timed(size) for size in SIZES}
    return {
        "us": {size: round(statistics.median(chain.from_iterable(each)), 2) for size, each in values.items()},
        "values_us": values,
    }


def _timed(size: int) -> list[list[float]]:
    with tempfile.TemporaryDirectory() as name:
        result = Path(name) / "result.json"
        command = [sys.executable, "-m", "benchmarks.apart.steady", "--rules", str(size), *_HOW, "-o", str(result)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # ours
        # What pyperf says of the machine besides, paths and names, is nobody's business.
        runs = json.loads(result.read_text())["benchmarks"][0]["runs"]
    return [[round(value * 1e6, 3) for value in run["values"]] for run in runs if "values" in run]
