"""Rewriting a file: all of it at once, with its mode, and only if nobody else has changed it."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cli.command import CommandError

__all__ = ["replace_file"]


def replace_file(path: Path, before: bytes, after: bytes) -> None:
    """Put `after` in the place of a file that still is `before`, at once, so that nobody ever reads half of it.

    Raises:
        CommandError: It cannot be written, or is another by now.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        with _beside(path) as temporary:
            temporary.write(after)
            temporary.flush()
            os.fchmod(temporary.fileno(), mode)
            os.fsync(temporary.fileno())
            _refuse_changed(path, before)
            Path(temporary.name).replace(path)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def _beside(path: Path) -> Iterator[IO[bytes]]:
    """A new file in the same directory, which is gone in the end unless it was put somewhere."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as temporary:
        try:
            yield temporary
        finally:
            Path(temporary.name).unlink(missing_ok=True)


def _refuse_changed(path: Path, before: bytes) -> None:
    if path.read_bytes() != before:
        raise CommandError(f"{path} has changed since it was read, and is left alone", help="run it again")
