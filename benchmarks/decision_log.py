"""Aim: writing each decision down costs at most 15 % of the answers.

The server is asked by h2load over one connection, 64 questions at a time, once with a decision log in a file and once without,
in turn; of the rounds' ratios the median is taken.
"""

import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.asked import Kind, framed, has_h2load, load_directly, paths, question, running
from benchmarks.row import Row

ROUNDS = 7
REQUESTS = 10_000

ROWS = (Row("Answers lost to the decision log", 0.15, lambda result: result.get("lost"), ""),)


def measure() -> dict[str, object]:
    """Answers a second with and without the log by round, and what part of them is lost, by the median."""
    if not has_h2load():
        return {"skipped": "there is no h2load: install nghttp2-client"}
    with ExitStack() as parts:
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="meshward-")))
        asked = directory / "question"
        asked.write_bytes(framed(question(paths()[0])))
        log = directory / "decisions.jsonl"
        servers = [parts.enter_context(running(Kind.OURS, log)), parts.enter_context(running(Kind.OURS))]
        # The first round makes what is made at the first questions, and does not count.
        rounds = [[load_directly(server, asked, requests=REQUESTS) for server in servers] for _ in range(ROUNDS + 1)][
            1:
        ]
        written = log.read_bytes().count(b"\n")
    if written != REQUESTS * (ROUNDS + 1):
        raise RuntimeError(f"{written} of {REQUESTS * (ROUNDS + 1)} decisions are in the log")
    return {
        "with_log_per_second": [round(on.per_second) for on, _ in rounds],
        "without_log_per_second": [round(off.per_second) for _, off in rounds],
        "lost": round(1 - statistics.median(on.per_second / off.per_second for on, off in rounds), 3),
        "cpu_us_more": round(statistics.median(on.cpu_us - off.cpu_us for on, off in rounds), 1),
    }
