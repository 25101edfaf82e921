"""The soak: callers of every kind, a change every second, and nothing grows: no error, no wrong answer, no memory, no descriptor.

`MESHWARD_SOAK_SECONDS` says for how long, for one worker and for two. Without it there is one, in which what is lost cannot hide
behind what another has let go of, for a time in which a leak of a kilobyte a question shows and not much less; ten minutes show
one of a few dozen bytes.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from demo.process import Process, wait_until
from demo.server import MESHWARD
from tests.integration.test_metrics import Endpoint, Samples
from tests.soak import mesh
from tests.soak.load import PATIENCE, Changes, Load

ASKED = os.environ.get("MESHWARD_SOAK_SECONDS")
SECONDS = float(ASKED or "30")
START = 60.0

# What all processes together may grow by if they leak nothing, for caches fill and heaps settle: two thirds of that were measured.
MEMORY = 3 * 2**20
DESCRIPTORS = 4
SETTLED = 3_000
"""Resets a worker after which gRPC itself has settled."""
# What else runs on the machine comes and goes, and only what is out of all proportion is the server's.
TIMES_AS_LONG = 3.0


class Seen(NamedTuple):
    at: float
    samples: Samples
    beside: int
    """Bytes that the server beside has allocated."""


def grown(seen: Sequence[Seen], read: Callable[[Seen], float]) -> float:
    """From the first to the last third, by their medians; before that is the time to warm up."""
    values = [read(each) for each in seen]
    third = len(values) // 3
    return statistics.median(values[-third:]) - statistics.median(values[:third])


@pytest.mark.parametrize("workers", [1] if ASKED is None else [1, 2])
def test_under_load_and_change_nothing_goes_wrong_and_nothing_grows(tmp_path: Path, workers: int) -> None:
    policies, log = tmp_path / "policies", tmp_path / "log"
    policies.mkdir()
    mesh.write(policies)
    mesh.apply(policies, 0)
    changes = Changes()
    changes.made.append(time.monotonic())
    options = ("--listen", "127.0.0.1:0", "--workers", str(workers), "--metrics", "127.0.0.1:0", "--drain", "5")
    command = [*MESHWARD, "serve", str(policies), *options, "--decision-log", str(tmp_path / "decisions")]
    bare = Process("bare server", [sys.executable, "-m", "tests.soak.bare"], log=tmp_path / "bare")
    with bare, Process("meshward serve", command, log=log) as server:
        beside = bare.wait_until(lambda: bare.log.read_text().partition("\n")[0] or None, "it listens", seconds=START)
        server.wait_until(lambda: "listening on" in log.read_text() or None, "it listens", seconds=START)
        endpoint = Endpoint(log.read_text())
        port = log.read_text().partition("listening on 127.0.0.1:")[2].split()[0]
        load = Load(("127.0.0.1", int(port)), ("127.0.0.1", int(beside)), changes)
        load.settle(SETTLED * workers)
        load.start()
        try:
            seen = watched(endpoint, policies, changes, bare)
        finally:
            load.stop()
        wait_until(
            lambda: endpoint.samples()["meshward_workers_behind"] == 0 or None, "all are of today", seconds=PATIENCE
        )
        last = endpoint.samples()
    printed = log.read_text(errors="replace")
    print(f"\n{workers} workers, {SECONDS:g} s: {dict(load.rounds)}, {len(changes.made)} changes")  # noqa: T201  # figures for who soaks

    assert load.surprises == []
    assert "Traceback" not in printed
    assert "internal error" not in printed
    assert min(load.rounds[kind] for kind in ("http", "tokens", "tcp", "malformed", "halves", "drops")) > 10
    assert_nothing_was_missed(last, changes, workers)
    assert_nothing_grew(seen, load, workers)


def watched(endpoint: Endpoint, policies: Path, changes: Changes, bare: Process) -> list[Seen]:
    """Make a change every second, and look at the metrics; what is returned is from when the server was warm."""
    seen = []
    end = time.monotonic() + SECONDS
    while (now := time.monotonic()) < end:
        changes.made.append(now)
        mesh.apply(policies, len(changes.made) - 1)
        samples = endpoint.samples(seconds=PATIENCE)
        if end - now < 0.8 * SECONDS:
            seen.append(Seen(now, samples, int(bare.tail(1))))
        time.sleep(max(1.0 - (time.monotonic() - now), 0.0))
    return seen


def assert_nothing_was_missed(last: Samples, changes: Changes, workers: int) -> None:
    assert last["meshward_workers_up"] == workers
    assert last["meshward_worker_restarts_total"] == 0
    assert last["meshward_refused_questions_total internal-error"] == 0
    assert last["meshward_refused_questions_total unlogged"] == 0
    assert last["meshward_reloads_total ok"] >= 0.5 * len(changes.made)
    assert last["meshward_reloads_total refused"] >= 1


def assert_nothing_grew(seen: Sequence[Seen], load: Load, workers: int) -> None:
    processes = ["server", *(f"worker-{number}" for number in range(workers) if workers > 1)]
    total = 0.0
    for process in processes:
        memory = grown(seen, lambda each: each.samples[f"process_resident_memory_bytes {process}"])  # noqa: B023  # called at once
        descriptors = grown(seen, lambda each: each.samples[f"process_open_fds {process}"])  # noqa: B023  # called at once
        print(f"{process}: memory {memory / 2**20:+.1f} MiB, descriptors {descriptors:+g}")  # noqa: T201  # see above
        # What one gives back is no room for another to grow.
        total += max(memory, 0.0)
        assert descriptors <= DESCRIPTORS, process
    # What gRPC loses by calls that are broken off, it loses in ours as well.
    lost = max(grown(seen, lambda each: each.beside), 0.0)
    print(f"a server of gRPC's alone: {lost / 2**20:+.1f} MiB")  # noqa: T201  # see above
    assert total < MEMORY + lost
    third = (seen[-1].at - seen[0].at) / 3
    early = statistics.median(taken for at, taken in load.taken if seen[0].at <= at < seen[0].at + third)
    late = statistics.median(taken for at, taken in load.taken if at >= seen[-1].at - third)
    print(f"answers: {early * 1000:.2f} ms, then {late * 1000:.2f} ms")  # noqa: T201  # see above
    assert late < TIMES_AS_LONG * early + 0.02
