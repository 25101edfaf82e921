"""Doing something again whenever files change."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

from watchfiles import Change, watch

from cli.command import CommandError
from mesh.errors import PolicyStoreError

__all__ = ["keep_running"]

T = TypeVar("T")
_Changes = Iterator[set[tuple[Change, str]]]


def keep_running(
    load: Callable[[], T],
    report: Callable[[T], object],
    *,
    files: Callable[[T], frozenset[Path]],
    first: frozenset[Path],
) -> NoReturn:
    """Report what `load` finds, now and whenever something changes at or below `first` or the `files` of it, until interrupted.

    What either raises is said, and waited out.
    """
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it tells of every change
    watched = first
    changes = _watching(watched)
    while True:
        try:
            found = load()
            # What is reported was loaded while all of it was watched, so that no change is missed.
            while not (more := _present(files(found))) <= watched:
                watched |= more
                changes = _watching(watched)
                found = load()
            report(found)
        except (CommandError, PolicyStoreError) as error:
            print(f"meshward: {error}", file=sys.stderr)
        next(each for each in changes if each)
        print("---", flush=True)


def _present(paths: frozenset[Path]) -> frozenset[Path]:
    return frozenset(path for path in paths if path.exists())


def _watching(paths: frozenset[Path]) -> _Changes:
    """The changes from now on."""
    changes = watch(*paths, yield_on_timeout=True, rust_timeout=100)
    next(changes)  # nothing is watched before
    return changes
