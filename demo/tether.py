"""Runs a command that ends when its parent does: `python -I tether.py PARENT COMMAND…`.

A parent that is killed runs no clean-up, so the kernel is asked to. It must be asked by the child itself, between fork
and exec; doing that with `preexec_fn` is not safe in a process with threads, doing it here is. The process keeps its id.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the command."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # The parent may have died before the kernel was asked.
    if os.getppid() != int(parent):
        sys.exit("the parent is gone")
    os.execv(command[0], command)  # noqa: S606  # the caller's own argument vector, and no shell is the point


if __name__ == "__main__":
    main()
