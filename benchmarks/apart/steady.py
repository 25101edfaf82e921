"""Decisions in a steady state, timed by pyperf: a process of its own, run by `benchmarks.steady`.

python -m benchmarks.apart.steady --rules 1000 -o result.json
"""

import argparse
import random

import pyperf  # type: ignore[import-untyped]  # it ships none

from authz.tree import compile_policies
from benchmarks.rules import mixed_policies, mixed_request, stranger

REQUESTS = 64


def main() -> None:
    """Time a round of decisions: a quarter each of the first rule, the last, any, and none."""
    runner = pyperf.Runner(add_cmdline_args=_hand_on)
    runner.argparser.add_argument("--rules", type=int, required=True)
    rules = runner.parse_args().rules
    decide = compile_policies(mixed_policies(rules), trust_domains=("cluster.local",)).decide
    source = random.Random(1)
    requests = [
        request
        for _ in range(REQUESTS // 4)
        for request in (
            mixed_request(0, source),
            mixed_request(rules - 1, source),
            mixed_request(source.randrange(rules), source),
            stranger(source),
        )
    ]

    def a_round() -> None:
        for request in requests:
            decide(request)

    runner.bench_func(f"decide {rules}", a_round, inner_loops=len(requests))


def _hand_on(command: list[str], arguments: argparse.Namespace) -> None:
    command += ["--rules", str(arguments.rules)]


if __name__ == "__main__":
    main()
