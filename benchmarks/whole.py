"""Whole commands, from their start to their end, and the seconds that they take."""

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["MESHWARD", "Seconds", "seconds"]

MESHWARD = (sys.executable, "-P", "-c", "import sys; from cli.main import run; sys.exit(run())")
"""What stands before the verb; the working tree is the command's directory."""

_ROOT = Path(__file__).parents[1]


class Seconds(NamedTuple):
    """What a command took, by the clock and of the processor, its processes together."""

    clock: float
    processor: float


def seconds(command: Sequence[str], *, ends_with: int = 0) -> Seconds:
    """Run a command, which must end with this code; what it prints is thrown away."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=_ROOT)  # noqa: S603  # ours
    ended, after = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != ends_with:
        raise RuntimeError(f"ended with {done.returncode}, not {ends_with}: {' '.join(command)}")
    return Seconds(ended - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
