"""Aim: at half of the load that a server can take, a Check takes at its worst, one in a hundred, three times what it takes as a rule.

Questions are asked at a fixed rate over one connection, whether or not those before are answered, and a time counts from when a
question was due: who waits for the answer before asking again does not see that a server stood still. The rate is half of what h2load gets
out of the same server just before.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import grpc
import uvloop

from benchmarks.asked import CHECK, Kind, framed, has_h2load, load_directly, paths, question, running
from benchmarks.row import Row

ROUNDS = 7
SECONDS = 2.0
SATURATING = 5_000

ROWS = (
    Row("p99 of a Check at half of saturation, against its p50", 3.0, lambda result: result.get("p99_to_p50"), "times"),
)


def measure() -> dict[str, object]:
    """Microseconds at half of saturation, by round, and the median of the rounds' ratios."""
    if not has_h2load():
        return {"skipped": "there is no h2load: install nghttp2-client"}
    with tempfile.TemporaryDirectory(prefix="meshward-") as name, running(Kind.OURS) as server:
        some = paths()
        asked = Path(name) / "question"
        asked.write_bytes(framed(question(some[0])))
        load_directly(server, asked, requests=SATURATING)
        questions = [question(path).SerializeToString() for path in some]
        rounds = []
        for _ in range(ROUNDS):
            saturation = load_directly(server, asked, requests=SATURATING).per_second
            rounds.append((saturation, uvloop.run(_asking(server.port, questions, saturation / 2))))
    return {
        "rate": [round(saturation / 2) for saturation, _ in rounds],
        "p50_us": [round(_percentile(times, 50)) for _, times in rounds],
        "p99_us": [round(_percentile(times, 99)) for _, times in rounds],
        "p99_to_p50": round(
            statistics.median(_percentile(times, 99) / _percentile(times, 50) for _, times in rounds), 2
        ),
    }


async def _asking(port: int, questions: Sequence[bytes], rate: float) -> list[float]:
    """Microseconds from when each question was due until its answer was there."""
    times: list[float] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        check = channel.unary_unary(CHECK)
        await check(questions[0])

        async def ask(asked: bytes, due: float) -> None:
            await check(asked)
            times.append((time.perf_counter() - due) * 1e6)

        began = time.perf_counter()
        async with asyncio.TaskGroup() as asking:
            for number, asked in enumerate(islice(cycle(questions), int(rate * SECONDS))):
                due = began + number / rate
                if (early := due - time.perf_counter()) > 0:
                    await asyncio.sleep(early)
                asking.create_task(ask(asked, due))
    return times


def _percentile(times: Sequence[float], which: int) -> float:
    return statistics.quantiles(times, n=100)[which - 1]
