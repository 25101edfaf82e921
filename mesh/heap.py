"""The C heap of a process that answers for months: one for all threads, and what is free goes back to the machine.

Python's objects have arenas of their own. This is about the rest: gRPC, OpenSSL, and what Python takes for objects of more than 512
bytes. Where the C library is not glibc, nothing is done: others do better by themselves, or offer nothing.
"""

import ctypes
import sys

__all__ = ["give_back", "use_one_arena"]

_ARENA_MAX = -8
"""`M_ARENA_MAX` of mallopt(3)."""
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def use_one_arena() -> None:
    """Have all threads share one arena; call it before there are any.

    glibc gives each thread one of its own, up to eight for each core. gRPC allocates in one thread and frees in another, so that what is
    free in one arena is no use to the next: under connections that come and go, such a server is some 50 MB larger.
    """
    if (mallopt := getattr(_libc, "mallopt", None)) is not None:
        mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Return what is free to the machine, as when much was replaced; it takes about a millisecond."""
    if (malloc_trim := getattr(_libc, "malloc_trim", None)) is not None:
        malloc_trim(0)
