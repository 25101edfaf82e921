"""What the verbs have in common: an open store, rows to print, and pages to go through."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from ca.inventory import Page

__all__ = ["add_output_argument", "all_of", "moment", "print_rows"]

Row = TypeVar("Row")

_AT_A_TIME = 1000


def add_output_argument(parser: argparse.ArgumentParser) -> None:
    """`-o`."""
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: %(default)s")


def all_of(page: Callable[[str | None], Page[Row]], *, most: int | None = None) -> Iterator[Row]:
    """Every row of a list, page after page, up to `most`."""
    after, given = None, 0
    while True:
        found = page(after)
        for row in found.rows:
            if most is not None and given >= most:
                return
            given += 1
            yield row
        if found.next is None:
            return
        after = found.next


def print_rows(head: Sequence[str], rows: Iterable[dict[str, object]], *, output: str, nothing: str) -> None:
    """A table with the columns of `head`, or one JSON object a line with all that there is.

    `nothing` is said, on standard error, where there are no rows.
    """
    if output == "json":
        for row in rows:
            print(json.dumps(row))
        return
    table = Table(*head, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in head))
    if not table.row_count:
        print(nothing, file=sys.stderr)
        return
    # Whole lines in a pipe, where there is no width to ask for.
    Console(width=None if sys.stdout.isatty() else 4096, soft_wrap=True, highlight=False).print(table)


def moment(at: datetime | None) -> str | None:
    """As it is printed: UTC, RFC 3339, whole seconds."""
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case list():
            return ", ".join(map(str, value))
        case _:
            return str(value)
