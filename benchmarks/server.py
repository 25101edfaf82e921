"""Aim: the server answers at least 85 % as many questions as one that always says yes.

Ten thousand rules, one connection, 64 requests at a time, once from a real Envoy, each of whose requests has another path, and
once from h2load, which always asks the same. The other server is the same to the last option of gRPC, and looks at no question.
Both are loaded in turn, so that the ratios hold when the machine's speed drifts; of them the median is taken. Envoy and h2load share
the machine, and so may others, so that what counts is the processor's time of the server alone; answers a second are kept beside.
"""

import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.asked import (
    HEADERS,
    Asked,
    Kind,
    Load,
    bootstrap,
    framed,
    has_h2load,
    load,
    load_directly,
    paths,
    question,
    running,
)
from benchmarks.row import Better, Row
from demo.envoy import Envoy, find_envoy
from demo.process import DemoError

ROUNDS = 7
REQUESTS = 10_000


def _of_the_constant(who: str) -> Callable[[dict[str, Any]], float | None]:
    """Of the answers that the constant server gives for a second of its processor, how many ours gives; the rounds' median."""

    def read(result: dict[str, Any]) -> float | None:
        if "ours" not in result.get(who, {}):
            return None
        constant, ours = (result[who][kind.value]["cpu_us"] for kind in (Kind.CONSTANT, Kind.OURS))
        return round(statistics.median(one / other for one, other in zip(constant, ours, strict=True)), 3)

    return read


ROWS = tuple(
    Row(
        f"Checks for a second of the server's processor, asked by {name}, of those of a constant server",
        0.85,
        _of_the_constant(who),
        "",
        Better.MORE,
    )
    for who, name in (("envoy", "Envoy"), ("h2load", "h2load"))
)


def measure() -> dict[str, object]:
    """For both who ask: answers a second and processor's time of both servers by round, and the medians of the ratios."""
    if not has_h2load():
        return {"skipped": "there is no h2load: install nghttp2-client"}
    with ExitStack() as parts:
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="meshward-")))
        servers = {kind: parts.enter_context(running(kind)) for kind in Kind}
        some = paths()
        asked = directory / "question"
        asked.write_bytes(framed(question(some[0])))
        result = {"h2load": _compare(servers, lambda kind: load_directly(servers[kind], asked, requests=REQUESTS))}
        try:
            find_envoy()
        except DemoError as error:
            return {**result, "envoy": {"skipped": str(error)}}
        envoys = {
            kind: parts.enter_context(Envoy(kind.value, bootstrap(server), directory / kind.value))
            for kind, server in servers.items()
        }
        urls = {kind: f"http://127.0.0.1:{envoy.listener('http').port}" for kind, envoy in envoys.items()}
        headers = [f"--header={name}: {value}" for name, value in HEADERS.items() if not name.startswith("x-forwarded")]

        def through_envoy(kind: Kind) -> Load:
            first, *others = (f"{urls[kind]}{path}" for path in some)
            return load(servers[kind], first, *others, *headers, requests=REQUESTS)

        return {**result, "envoy": _compare(servers, through_envoy)}


def _compare(servers: dict[Kind, Asked], run: Callable[[Kind], Load]) -> dict[str, object]:
    for kind in servers:  # what is made at the first questions is there by then
        run(kind)
    rounds = [{kind: run(kind) for kind in servers} for _ in range(ROUNDS)]
    return {
        **{
            kind.value: {
                "per_second": [round(each[kind].per_second) for each in rounds],
                "cpu_us": [round(each[kind].cpu_us) for each in rounds],
            }
            for kind in servers
        },
        "of_the_constant": round(
            statistics.median(each[Kind.OURS].per_second / each[Kind.CONSTANT].per_second for each in rounds), 3
        ),
        "cpu_us_more": round(
            statistics.median(each[Kind.OURS].cpu_us - each[Kind.CONSTANT].cpu_us for each in rounds), 1
        ),
    }
