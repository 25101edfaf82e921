"""Run every benchmark, or those that are named, keep the raw results in `benchmarks/results`, and print the table.

`--table` prints what is kept and measures nothing; `--markdown` does so as `docs/performance.md` has it.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from benchmarks.table import HEAD, RESULTS, found, lines, markdown


def main() -> None:
    """Measure, keep, print."""
    benchmarks = found()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(benchmarks))
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--table", action="store_true", help="print the table of what is kept")
    shown.add_argument("--markdown", action="store_true", help="the same, for docs/performance.md")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in benchmarks]:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(benchmarks)}")
    if asked.markdown:
        print(markdown(), end="")
        return
    if not asked.table:
        for name in asked.names or benchmarks:
            _keep(name, benchmarks[name].measure)
    table = Table(*HEAD)
    for cells in lines():
        table.add_row(*cells)
    # Whole rows in a log, too, where there is no width to ask for.
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _keep(name: str, measure: Callable[[], object]) -> None:
    print(f"{name} ...", file=sys.stderr, flush=True)
    started = time.perf_counter()
    result = {
        "benchmark": name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "result": measure(),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
