"""Transcripts: commands and what they print, as a person reads them, run again.

A transcript is a block of lines: `$ command`, then what it printed on both streams, until the next command. `…` in a line
stands for any text, and `…` as a line of its own for any lines.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
ANYTHING = "…"


class Step(NamedTuple):
    """One command and what it must print."""

    source: str
    command: str
    expected: tuple[str, ...]


def steps_in(text: str, source: str) -> Iterator[Step]:
    """The steps of one transcript."""
    blocks = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    for block in blocks:
        command, _, printed = block.partition("\n")
        yield Step(source, command, tuple(printed.strip("\n").split("\n")) if printed.strip() else ())


def documented_steps() -> list[Step]:
    """The steps of every `console` block in the documentation."""
    found: list[Step] = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in re.findall(r"^```console\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
            found += steps_in(block, page.name)
    return found


def run(command: str) -> tuple[str, ...]:
    """What the command prints, run in the project's folder as a user would."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],  # noqa: S607  # the shell of whoever reads the documentation
        cwd=ROOT,
        env={**os.environ, "PATH": path, "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return tuple(line.rstrip() for line in done.stdout.strip("\n").split("\n")) if done.stdout.strip() else ()


def agrees(expected: tuple[str, ...], printed: tuple[str, ...]) -> bool:
    """Whether what was printed is what the transcript says."""
    if not expected:
        return not printed
    first, rest = expected[0], expected[1:]
    if first == ANYTHING:
        return any(agrees(rest, printed[skipped:]) for skipped in range(len(printed) + 1))
    pattern = ".*".join(re.escape(part) for part in first.rstrip().split(ANYTHING))
    return bool(printed) and re.fullmatch(pattern, printed[0]) is not None and agrees(rest, printed[1:])
