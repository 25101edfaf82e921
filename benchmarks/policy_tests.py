"""Aim: `meshward test` decides fifty thousand cases a second, no two of which are about the same request.

A file of tests as people write them, of the shop's policies: matrices of methods and paths, from each of its callers. Every case is a
request of its own and holds. The whole command is measured, start to end, over all of them and over a file of one test, in turn: the difference
is what the cases take once the policies are loaded, reading the file included. Seconds are the clock's, for it may use every
processor; those of all processes are kept beside it.
"""

import statistics
import tempfile
from pathlib import Path

import yaml

from benchmarks.row import Better, Row
from benchmarks.whole import MESHWARD, seconds

POLICIES = Path(__file__).parents[1] / "policies" / "shop"
TESTS = 400
"""Tests in the file; each has its own paths."""
PATHS = 125
CALLERS = {
    "web": {"serviceAccount": "shop/web", "ip": "10.1.0.7"},
    "api": {"serviceAccount": "shop/api", "ip": "10.1.0.8"},
    "ops": {"serviceAccount": "ops/admin", "ip": "10.2.0.5"},
    "stranger": {"spiffe": "spiffe://elsewhere.example/ns/shop/sa/web"},
    "nobody": {"plaintext": True},
}
CASES = TESTS * PATHS * 2 * len(CALLERS)
ROUNDS = 5

ROWS = (
    Row(
        "`test`, no two cases about one request, once loaded",
        50_000,
        lambda result: result["cases_a_second_once_loaded"],
        "/s",
        Better.MORE,
    ),
)


def measure() -> dict[str, object]:
    """Seconds of each round, and cases a second by their medians."""
    with tempfile.TemporaryDirectory(prefix="meshward-") as directory:
        many, one = (Path(directory) / f"{name}.authz-test.yaml" for name in ("many", "one"))
        many.write_text(tests(TESTS))
        one.write_text(tests(1))
        rounds = [tuple(seconds([*MESHWARD, "test", str(file)]) for file in (many, one)) for _ in range(ROUNDS)]
    clock = [whole.clock - loading.clock for whole, loading in rounds]
    processor = [whole.processor - loading.processor for whole, loading in rounds]
    cases = CASES - CASES // TESTS
    return {
        "cases": CASES,
        "whole_seconds": [round(whole.clock, 3) for whole, _ in rounds],
        "clock_seconds": [round(each, 3) for each in clock],
        "processor_seconds": [round(each, 3) for each in processor],
        "cases_a_second": round(CASES / statistics.median(whole.clock for whole, _ in rounds)),
        "cases_a_second_once_loaded": round(cases / statistics.median(clock)),
        "cases_for_a_second_of_the_processor": round(cases / statistics.median(processor)),
    }


def tests(count: int) -> str:
    """A file of so many tests, which all hold: the pages read items, and nobody else reads or changes them."""
    written = [
        {
            "name": f"shelf {number}",
            "to": "shop/api",
            "matrix": {
                "method": [("GET", "HEAD"), ("PUT", "DELETE")][number % 2],
                "path": [f"/items/{number}/{path}" for path in range(PATHS)],
            },
            "allow": [] if number % 2 else ["web"],
        }
        for number in range(count)
    ]
    document = {
        "policies": [f"{POLICIES}/*.yaml"],
        "mesh": {"pathNormalization": "MERGE_SLASHES"},
        "callers": CALLERS,
        "tests": [
            {**test, "matrix": {name: list(values) for name, values in test["matrix"].items()}} for test in written
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)
