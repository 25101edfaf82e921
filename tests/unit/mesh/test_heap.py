"""The C heap: one arena for all threads, and what is free goes back; told by processes of their own, for it is of the process."""

import json
import subprocess
import sys

import pytest

from mesh.heap import give_back

PROGRAM = """
import ctypes, json, sys, threading
from mesh.heap import give_back, use_one_arena
if "one" in sys.argv:
    use_one_arena()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
kept, together = [], threading.Barrier(4)

def resident():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])

def work():
    together.wait()
    blocks = [libc.malloc(4000) for _ in range(2000)]
    for block in blocks:
        ctypes.memset(block, 1, 4000)
    # The last one stays, so that nothing below it goes back by itself.
    kept.append(blocks.pop())
    for block in blocks:
        libc.free(block)
    together.wait()

before = resident()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
grown = resident() - before
give_back()
print(json.dumps([grown, resident() - before]))
libc.malloc_stats()
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is about glibc")


def run(*arguments: str) -> tuple[int, int, int]:
    """By how many KiB it has grown, before and after what is free was given back, and how many arenas there are."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, check=True, text=True)  # noqa: S603  # ours
    before, after = json.loads(done.stdout)
    return before, after, done.stderr.count("Arena ")


def test_threads_share_one_arena_when_told_to() -> None:
    assert run()[2] > 1
    assert run("one")[2] == 1


@pytest.mark.parametrize("arguments", [(), ("one",)])
def test_what_is_free_goes_back(arguments: tuple[str, ...]) -> None:
    before, after, _ = run(*arguments)
    assert before > 6_000
    assert after < before / 3


def test_giving_back_twice_is_no_matter() -> None:
    give_back()
    give_back()
