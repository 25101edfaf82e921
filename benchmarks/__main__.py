"""Run every benchmark and write its raw result to `benchmarks/results`."""

import json
import platform
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import check_requests, decide

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure, print, keep."""
    for benchmark in (check_requests, decide):
        name = benchmark.__name__.rpartition(".")[2]
        result = {
            "benchmark": name,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "result": benchmark.measure(),
        }
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result, indent=1))


main()
