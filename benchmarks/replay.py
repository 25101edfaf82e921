"""Aim: `meshward replay` decides fifty thousand lines of a decision log a second, no two of which say the same.

The log is as the server writes it: requests to one workload with a thousand mixed rules, three in four of which meet one, by the callers of a
mesh; each has a path of its own, so that nothing is known from an earlier line. One in a thousand was decided otherwise then.
The whole command is measured, start to end, over all of it and over its first line, in turn: the difference is what the lines take once
the policies are loaded. Seconds are the clock's, for it may use every processor; those of all processes are kept beside it.
"""

import random
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import BinaryIO

from authz.attributes import Attributes
from benchmarks.check_requests import write_mesh
from benchmarks.row import Better, Row
from benchmarks.rules import mixed_policies, mixed_request, stranger
from benchmarks.whole import MESHWARD, seconds
from extauthz.decision_log import Consulted, DecisionLog, request_document
from extauthz.wire import Destination
from mesh.deciding import Offline, decide, decision_document
from mesh.directory import DirectoryStore
from mesh.snapshot import Snapshot
from parser.request import parse_request

RULES = 1_000
LINES = 500_000
ROUNDS = 5
CALLERS = 2_000
CHANGED = 1_000
"""One in so many lines was decided otherwise."""

ROWS = (
    Row(
        "`replay` of a decision log, no two lines the same, once loaded",
        50_000,
        lambda result: result["lines_a_second_once_loaded"],
        "/s",
        Better.MORE,
    ),
)


def measure() -> dict[str, object]:
    """Seconds of each round, and lines a second by their medians."""
    with tempfile.TemporaryDirectory(prefix="meshward-") as directory:
        mesh, many, one = (Path(directory) / name for name in ("mesh", "many.jsonl", "one.jsonl"))
        write_mesh(mesh, mixed_policies(RULES))
        snapshot = DirectoryStore((str(mesh),)).load().snapshot
        with many.open("wb") as log:
            write_log(log, snapshot, LINES, random.Random(1))
        with many.open("rb") as log:
            one.write_bytes(log.readline())
        replay = [*MESHWARD, "replay", str(mesh), "--log"]
        rounds = [(seconds([*replay, str(many)]), seconds([*replay, str(one)])) for _ in range(ROUNDS)]
    clock = [whole.clock - loading.clock for whole, loading in rounds]
    processor = [whole.processor - loading.processor for whole, loading in rounds]
    return {
        "rules": RULES,
        "lines": LINES,
        "whole_seconds": [round(whole.clock, 3) for whole, _ in rounds],
        "clock_seconds": [round(each, 3) for each in clock],
        "processor_seconds": [round(each, 3) for each in processor],
        "lines_a_second": round(LINES / statistics.median(whole.clock for whole, _ in rounds)),
        "lines_a_second_once_loaded": round(LINES / statistics.median(clock)),
        "lines_for_a_second_of_the_processor": round(LINES / statistics.median(processor)),
    }


def write_log(out: BinaryIO, snapshot: Snapshot, lines: int, source: random.Random) -> None:
    """Write a decision log as the server does; no two lines are about the same request."""
    log = DecisionLog(out)
    tree = snapshot.guard(next(iter(snapshot.registry)), None).tree
    consulted = Consulted(headers=frozenset(tree.headers), claims=frozenset(tree.claims))
    to, offline = Destination("shop/api", None, "10.0.0.9"), Offline(at=0.0)
    for number, request in enumerate(_requests(lines, source)):
        document = request_document(to, request, consulted)
        decision = decision_document(decide(snapshot, parse_request(document), offline), revision=snapshot.revision)
        if number % CHANGED == CHANGED - 1:
            decision["verdict"] = "DENY" if decision["verdict"] == "ALLOW" else "ALLOW"
        log.write(document, decision, duration_us=source.uniform(200, 900))


def _requests(lines: int, source: random.Random) -> Iterator[Attributes]:
    """Requests of the workloads of a mesh to one of three pods, each another by its path or by what it carries."""
    for number in range(lines):
        known = number % 4 < 3
        request = mixed_request(source.randrange(RULES), source) if known else stranger(source)
        caller = source.randrange(CALLERS)
        # A range demands an address; all others come from any of the mesh's.
        demanded = str(request.source_ip).startswith("10.")
        address = request.source_ip if demanded else IPv4Address(f"192.168.{caller >> 8}.{caller & 255}")
        yield replace(
            request,
            identities=request.identities if known else (f"spiffe://cluster.local/ns/other/sa/caller{caller % 97}",),
            source_ip=address,
            remote_ip=address,
            destination_ip=IPv4Address(f"192.168.250.{source.randrange(3)}"),
            destination_port=8080,
            sni="outbound_.8080_._.api.shop.svc.cluster.local",
            path=request.path if known else f"/v2/orders/{number}",
            scheme="https",
        )
