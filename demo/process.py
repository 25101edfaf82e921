"""Child processes that end when we do, whichever way that happens."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from demo.part import Part

__all__ = ["DemoError", "Process", "wait_until"]

T = TypeVar("T")

_TETHER = Path(__file__).with_name("tether.py")
_GRACE = 3.0
_PAUSE = 0.01


class DemoError(Exception):
    """A part did not start, died, or did not do what was waited for. The text says which and shows the end of its log."""


class Process(Part):
    """A running child whose output goes to a file.

    It ends with `stop`, at the end of a `with`, or when the thread that made it ends, even if by SIGKILL: make it on a
    thread that lives as long as the child should.
    """

    def __init__(self, name: str, command: Sequence[str | Path], *, log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._child = subprocess.Popen(  # noqa: S603  # our own argument vector, no shell
                [sys.executable, "-I", _TETHER, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C goes to a terminal's whole process group; we alone decide the order in which the parts end.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The command's own process id."""
        return self._child.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.poll() is None

    def tail(self, lines: int = 20) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until(self, read: Callable[[], T | None], what: str, *, seconds: float) -> T:
        """Ask `read` until it gives something other than `None`.

        Raises:
            DemoError: the process ended first, or the time is up.
        """

        def read_while_running() -> T | None:
            if (found := read()) is None and not self.is_running:
                status = self._child.returncode
                raise DemoError(f"{self.name} ended with status {status} before {what}\n{self.tail()}")
            return found

        try:
            return wait_until(read_while_running, what, seconds=seconds)
        except TimeoutError as error:
            raise DemoError(f"{self.name}: {error}\n{self.tail()}") from error

    def stop(self) -> None:
        """End it: politely, then not. Ending it twice is harmless."""
        if self.is_running:
            self._child.terminate()
        try:
            self._child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def wait_until(read: Callable[[], T | None], what: str, *, seconds: float) -> T:
    """Ask `read` until it gives something other than `None`.

    Raises:
        TimeoutError: the time is up.
    """
    deadline = time.monotonic() + seconds
    while (found := read()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(_PAUSE)
    return found
