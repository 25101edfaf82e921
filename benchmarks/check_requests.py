"""Aim: `meshward check --requests` decides a hundred thousand requests a second on one core, with ten thousand rules.

The whole command is measured, start to end, over a file of many requests and over one of a single request: the difference
is what the requests take once the policies are loaded. The floor is a process that only reads the same lines as JSON and
writes an answer of the same size, less what it takes over a single line. All run in turn, so that the ratio holds when the
machine's speed drifts; and seconds are the processor's, for what else runs has its share of the clock's.
"""

import json
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from authz.model import Operation, Policy, Source
from benchmarks.row import Better, Row
from benchmarks.rules import mixed_policies, mixed_request
from benchmarks.whole import MESHWARD, seconds
from parser.ward_printer import print_ward

RULES = 10_000
REQUESTS = 100_000
ROUNDS = 3
CALLERS = 2_000
"""Addresses that requests come from: those of the pods of a mesh, not any there may be."""
FLOOR = """
import sys, orjson
answer = {"verdict": "ALLOW", "status": 200, "stage": "allow", "action": "ALLOW", "policy": "shop/api-for-web", "rule": 0,
          "reason": "an ALLOW rule matches", "dry_run": {"deny": None, "allow": None}, "audit": False, "revision": "0" * 12}
for line in open(sys.argv[1], "rb"):
    orjson.loads(line)
    sys.stdout.buffer.write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
"""
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "api", "namespace": "shop", "labels": {"app": "api"}},
    "spec": {"containers": [{"name": "api", "ports": [{"containerPort": 8080}]}]},
}


def measure() -> dict[str, object]:
    """Seconds of each round, requests a second by the medians, and the medians of the ratios to the floor."""
    with tempfile.TemporaryDirectory() as directory:
        mesh, many, one = (Path(directory) / name for name in ("mesh", "many.jsonl", "one.jsonl"))
        write_mesh(mesh, mixed_policies(RULES))
        lines = list(_requests(random.Random(1)))
        many.write_text("".join(lines))
        one.write_text(lines[0])
        rounds = {output: [_Round(mesh, many, one, output) for _ in range(ROUNDS)] for output in ("json", "text")}
    return {"rules": RULES, "requests": REQUESTS, **{output: _summary(rounds[output]) for output in rounds}}


ROWS = (
    Row(
        "`check --requests -o json`, once loaded, by the processor's time",
        100_000,
        lambda result: result["json"]["requests_a_second_once_loaded"],
        "/s",
        Better.MORE,
    ),
)


class _Round:
    """Seconds of the processor that the command and the floor take, over many requests and over one."""

    def __init__(self, mesh: Path, many: Path, one: Path, output: str) -> None:
        check = [*MESHWARD, "check", str(mesh), "-o", output, "--requests"]
        floor = [sys.executable, "-c", FLOOR]
        self.whole, loading = (seconds([*check, str(file)]).processor for file in (many, one))
        self.deciding = self.whole - loading
        self.floor = seconds([*floor, str(many)]).processor - seconds([*floor, str(one)]).processor


def _summary(rounds: list[_Round]) -> dict[str, object]:
    return {
        "whole_seconds": [round(each.whole, 3) for each in rounds],
        "deciding_seconds": [round(each.deciding, 3) for each in rounds],
        "floor_seconds": [round(each.floor, 3) for each in rounds],
        "requests_a_second": round(REQUESTS / statistics.median(each.whole for each in rounds)),
        "requests_a_second_once_loaded": round(REQUESTS / statistics.median(each.deciding for each in rounds)),
        "times_the_floor": round(statistics.median(each.deciding / each.floor for each in rounds), 1),
    }


def write_mesh(directory: Path, policies: tuple[Policy, ...]) -> None:
    """Make the directory of one workload with these policies, a file each."""
    directory.mkdir()
    (directory / "pod.json").write_text(json.dumps(POD))
    for policy in policies:
        (directory / f"{policy.name}.ward").write_text(print_ward(_as_written(policy)))


def _as_written(policy: Policy) -> Policy:
    """The policy without the parts that ask for nothing: the model may have them, and a document must not."""
    rules = tuple(
        replace(
            rule,
            sources=tuple(source for source in rule.sources if source != Source()),
            operations=tuple(operation for operation in rule.operations if operation != Operation()),
        )
        for rule in policy.rules
    )
    return replace(policy, rules=rules)


def _requests(source: random.Random) -> Iterator[str]:
    """Lines, each meeting a rule drawn by lot."""
    for _ in range(REQUESTS):
        request = mixed_request(source.randrange(RULES), source)
        # A range demands an address; all others come from any of the mesh's.
        demanded = str(request.source_ip).startswith("10.")
        caller = source.randrange(CALLERS)
        document = {
            "workload": "shop/api",
            "source": {
                "principal": request.identities[0],
                "ip": str(request.source_ip) if demanded else f"192.168.{caller >> 8}.{caller & 255}",
            },
            "request": {
                "method": request.method,
                "path": request.path,
                "host": request.host,
                "headers": {name: values[0] for name, values in request.headers.items()},
            },
            "jwt": {"claims": request.claims},
        }
        yield json.dumps(document) + "\n"
