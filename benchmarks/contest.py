"""Aim: meshward decides faster than the engines beside it, at every size, and among 10,000 prefixes a thousand times as fast.

The same rules and the same requests for all: cedarpy with its policies parsed beforehand, casbin with the fastest of its models that
can say it, and the RBAC filter of a real Envoy, whose own processor time is compared with that of a listener without the filter. All
decide in turn, in five rounds, and each answer must equal ours. Each set and size has a process of its own.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.row import Better, Row

ROOT = Path(__file__).parents[1]
SETS = ("exact path", "path prefix", "path suffix", "mixed")
SIZES = (10, 100, 1_000, 10_000)
ENGINES = ("cedarpy", "casbin", "envoy")
NOT_MEASURED = ("opa", "cerbos", "spicedb")
"""Known, and not compared: nothing here speaks to them yet. Whether their programs are there is written down."""


def measure() -> dict[str, object]:
    """By set and size, for each engine: microseconds, how many times ours, and how many answers were compared."""
    return {
        "not measured": {name: "no adapter" if shutil.which(name) else "not on the PATH" for name in NOT_MEASURED},
        "sets": {name: {size: _measured(name, size) for size in SIZES} for name in SETS},
    }


def _measured(name: str, size: int) -> object:
    command = [sys.executable, "-m", "benchmarks.apart.rounds", name, str(size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT)  # noqa: S603  # ours
    return json.loads(done.stdout)


def _least(engine: str, result: Any) -> float:
    """Of all sets and sizes, where it comes nearest to ours."""
    return float(min(at[engine]["times_ours"] for sizes in result["sets"].values() for at in sizes.values()))


def _among_most(engine: str, name: str, result: Any) -> float:
    ratio: float = result["sets"][name][str(SIZES[-1])][engine]["times_ours"]
    return ratio


def _not_measured(_: Any) -> None:
    return None


def _row(what: str, target: float, measured: Callable[[Any], float | None]) -> Row:
    return Row(what, target, measured, "times", Better.MORE)


ROWS = (
    *(_row(f"{engine} beside ours, where it comes nearest", 1, partial(_least, engine)) for engine in ENGINES),
    *(
        _row(
            f"{engine} beside ours, 10,000 rules, {name}",
            1000 if engine != "envoy" and name == "path prefix" else 1,
            partial(_among_most, engine, name),
        )
        for engine, name in product(ENGINES, SETS)
    ),
    *(_row(f"{name} beside ours", 1, _not_measured) for name in NOT_MEASURED),
)
