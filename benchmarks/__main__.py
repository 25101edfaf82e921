"""Run every benchmark, or those that are named, and write the raw results to `benchmarks/results`."""

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import adversarial, check_requests, compiling, decide

RESULTS = Path(__file__).parent / "results"
BENCHMARKS = {
    module.__name__.rpartition(".")[2]: module.measure for module in (adversarial, check_requests, compiling, decide)
}


def main() -> None:
    """Measure, print, keep."""
    for name in sys.argv[1:] or BENCHMARKS:
        result = {
            "benchmark": name,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "result": BENCHMARKS[name](),
        }
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        print(json.dumps(result, indent=1))


main()
