"""Statements that every certificate needs, given to the driver as they are: the rows of all that share a commit go out in one.

The library takes longer over a statement than the database does, and each row that is sent by itself gives up the interpreter to the
threads that answer requests, and waits to have it back.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from ca.store.driver import Driver, Values
from ca.store.schema import AUDIT_HEAD, CLOCK

__all__ = [
    "ACKNOWLEDGE",
    "APPEND_AUDIT",
    "HOLDERS",
    "INTEND",
    "RELEASE",
    "STATEMENTS",
    "ManyRows",
    "read_heads",
    "write_heads",
]

STATEMENTS = 512
"""How many are kept prepared: of each kind below one for each number of rows that a commit may have."""
_ROWS = "{rows}"
_MOST = 64


class ManyRows:
    """A statement with `{rows}` in it, where as many times `row` stands as there are rows."""

    def __init__(self, text: str, row: str) -> None:
        self._text = text
        self._row = row

    def change(self, driver: Driver, rows: Sequence[Values]) -> int:
        """Do it for all `rows`, and say how many rows of the table it met."""
        return sum(driver.change(statement, values) for statement, values in self._parts(driver, rows))

    def ask(self, driver: Driver, rows: Sequence[Values]) -> Iterator[tuple[Any, ...]]:
        """What is asked for, for all `rows`."""
        for statement, values in self._parts(driver, rows):
            yield from driver.rows(statement, values)

    def _parts(self, driver: Driver, rows: Sequence[Values]) -> Iterator[tuple[str, Values]]:
        for start in range(0, len(rows), _MOST):
            part = rows[start : start + _MOST]
            yield _written(self._text, self._row, len(part), driver.placeholder), tuple(chain.from_iterable(part))


@lru_cache(maxsize=STATEMENTS)
def _written(text: str, row: str, count: int, placeholder: str) -> str:
    return text.replace(_ROWS, ", ".join([row] * count)).replace("?", placeholder)


INTEND = ManyRows(
    "INSERT INTO issued (serial, spiffe_id, kind, issuer, not_before, not_after, spki_sha256, entry, caller, intended) VALUES {rows}",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
)
RELEASE = ManyRows(
    # Columns of `VALUES` have these names in both databases.
    "UPDATE issued SET released = given.column2 FROM (VALUES {rows}) AS given "
    "WHERE issued.serial = given.column1 AND issued.released IS NULL AND issued.revoked IS NULL",
    "(CAST(? AS text), CAST(? AS bigint))",
)
HOLDERS = ManyRows("SELECT spki_sha256, spiffe_id, revoked_reason FROM issued WHERE spki_sha256 IN ({rows})", "?")
ACKNOWLEDGE = ManyRows(
    "INSERT INTO acknowledgements (consumer, sequence, seen) VALUES {rows} ON CONFLICT (consumer) DO UPDATE SET "
    "sequence = CASE WHEN excluded.sequence > acknowledgements.sequence THEN excluded.sequence ELSE acknowledgements.sequence END, "
    "seen = CASE WHEN excluded.seen > acknowledgements.seen THEN excluded.seen ELSE acknowledgements.seen END",
    "(?, ?, ?)",
)
APPEND_AUDIT = ManyRows(
    "INSERT INTO audit (number, at, actor, action, outcome, subject, serial, reason, hash) VALUES {rows}",
    "(?, ?, ?, ?, ?, ?, ?, ?, ?)",
)

_READ_HEADS = f"SELECT name, value, hash FROM heads WHERE name IN ('{CLOCK}', '{AUDIT_HEAD}')"  # noqa: S608  # two names of ours
_WRITE_HEADS = (
    f"UPDATE heads SET value = CASE name WHEN '{CLOCK}' THEN CAST(? AS bigint) ELSE CAST(? AS bigint) END, "  # noqa: S608  # as above
    f"hash = CASE name WHEN '{CLOCK}' THEN hash ELSE ? END WHERE name IN ('{CLOCK}', '{AUDIT_HEAD}')"
)


def read_heads(driver: Driver) -> tuple[int, int, bytes]:
    """The clock, the number of the audit's last row, and its hash."""
    found = {name: (value, digest) for name, value, digest in driver.rows(_READ_HEADS)}
    number, digest = found[AUDIT_HEAD]
    return found[CLOCK][0], number, bytes(digest)


def write_heads(driver: Driver, clock: int, number: int, digest: bytes) -> None:
    """Set them."""
    driver.change(_WRITE_HEADS.replace("?", driver.placeholder), (clock, number, digest))
