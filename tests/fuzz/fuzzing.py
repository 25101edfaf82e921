"""Fuzzing: a reader, for so many seconds, against what strangers could send; only the errors that it documents may escape."""

import base64
import os
import resource
import time
import tracemalloc
from collections.abc import Callable, Sequence
from random import Random
from secrets import randbelow

from tests.fuzz.mutating import Mutate

__all__ = ["SECONDS", "fuzz"]

SECONDS = float(os.environ.get("MESHWARD_FUZZ_SECONDS", "2"))
"""How long for each target."""
_SEED = int(os.environ.get("MESHWARD_FUZZ_SEED") or randbelow(2**32))

_TRACED = 16
"""Of so many inputs the memory of one is measured, which makes it five times as slow."""
_MEMORY = 8 * 1024 * 1024
_MEMORY_OF_EACH_BYTE = 100
_TIME = 2.0
_GROWTH = 64 * 1024
"""KiB by which the process may grow in all, once it is warm."""


def fuzz(
    read: Callable[[bytes], object], samples: Sequence[bytes], mutate: Mutate, *errors: type[Exception]
) -> tuple[int, int]:
    """Let `read` read for a while, and return how many inputs it has read and how many it took.

    None may cost more memory than so many times its length, more than two seconds, or leave anything behind.
    """
    random = Random(_SEED)
    for sample in samples:
        read(sample)  # what is valid is read, or the target is another than it seems
    read_, taken, until = 0, 0, time.monotonic() + SECONDS
    grown = 0
    while time.monotonic() < until:
        data = mutate(random, samples)
        read_ += 1
        try:
            taken += _measured(read, data, errors, traced=read_ % _TRACED == 0)
        except BaseException as error:
            shown = base64.b64encode(data[:4096]).decode()
            error.add_note(f"MESHWARD_FUZZ_SEED={_SEED}, input {read_} of {len(data)} bytes: {shown}")
            raise
        if read_ == 200:
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if read_ > 200:
        growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown
        assert growth < _GROWTH, f"the process grew by {growth} KiB"
    return read_, taken


def _measured(
    read: Callable[[bytes], object], data: bytes, errors: tuple[type[Exception], ...], *, traced: bool
) -> bool:
    if traced:
        tracemalloc.start()
    began, taken = time.thread_time(), True
    try:
        read(data)
    except errors:
        taken = False
    finally:
        peak = tracemalloc.get_traced_memory()[1] if traced else 0
        if traced:
            tracemalloc.stop()
    spent = time.thread_time() - began
    assert peak <= _MEMORY + _MEMORY_OF_EACH_BYTE * len(data), f"it took {peak} bytes of memory"
    assert spent <= _TIME, f"it took {spent:.1f} s"
    return taken
