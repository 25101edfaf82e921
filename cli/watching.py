"""Doing something again whenever files change."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from watchfiles import watch

from cli.command import CommandError
from mesh.errors import PolicyStoreError

__all__ = ["keep_running"]


def keep_running(run: Callable[[], frozenset[Path]], first: frozenset[Path]) -> NoReturn:
    """Call `run`, now and whenever something changes at or below `first` and what it last said to watch, until interrupted.

    What it raises is said, and waited out.
    """
    watched = first | _once(run)
    while True:
        # What changes during a run is noticed after it.
        for _ in watch(*watched):
            print("---", flush=True)
            if not (found := _once(run)) <= watched:
                watched |= found
                break


def _once(run: Callable[[], frozenset[Path]]) -> frozenset[Path]:
    try:
        return frozenset(path for path in run() if path.exists())
    except (CommandError, PolicyStoreError) as error:
        print(f"meshward: {error}", file=sys.stderr)
        return frozenset()
