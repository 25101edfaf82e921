"""The audit chain that is kept."""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Row, select

from ca.audit import AuditEvent, AuditHead, AuditRow, Outcome, verify_audit
from ca.inventory import Page
from ca.store.committing import Transaction, Writer
from ca.store.database import Database
from ca.store.paging import page
from ca.store.pending import Pending
from ca.store.schema import AUDIT_HEAD, audit, heads

__all__ = ["AuditTrail", "verify_kept"]

_AT_A_TIME = 5000


class AuditTrail:
    """What was done and refused. Whatever else the store does, it writes here by itself, in the same transaction."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    def append(self, event: AuditEvent) -> Pending[None]:
        """Record what the store knows nothing of, such as a caller that was turned away.

        Raises:
            StoreUnavailableError: nobody can tell whether it was recorded.
        """

        def work(transaction: Transaction) -> None:
            transaction.audit(event)

        return self._writer.submit(work)

    def head(self) -> AuditHead:
        """Where the chain ends. Keep it elsewhere now and then: only so does it show that an end was cut off.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        with self._database.read() as connection:
            return kept_head(connection)

    def list(self, *, size: int = 100, after: str | None = None) -> Page[AuditRow]:
        """The rows, oldest first.

        Raises:
            ValueError: `size` is out of bounds, or `after` is of another list.
            StoreUnavailableError: they cannot be read.
        """
        with self._database.read() as connection:
            return page(connection, select(audit), (audit.c.number,), size=size, after=after, read=_row)

    def verify(self, *, kept: Iterable[AuditHead] = ()) -> AuditHead:
        """Go over the whole chain and return its head. `kept` are heads of earlier moments, from elsewhere.

        Raises:
            BrokenAuditError: a row is missing or was changed, the end was cut off, or an earlier head is not of this chain.
            StoreUnavailableError: it cannot be read.
        """
        with self._database.read() as connection:
            return verify_kept(connection, kept=kept)


def verify_kept(connection: Connection, *, kept: Iterable[AuditHead] = ()) -> AuditHead:
    """`AuditTrail.verify` on one snapshot."""
    return verify_audit(_rows(connection), head=kept_head(connection), kept=tuple(kept))


def kept_head(connection: Connection) -> AuditHead:
    """Where the chain ends."""
    row = connection.execute(select(heads).where(heads.c.name == AUDIT_HEAD)).one()
    return AuditHead(row.value, bytes(row.hash))


def _rows(connection: Connection) -> Iterator[AuditRow]:
    last = None
    while True:
        statement = select(audit).order_by(audit.c.number).limit(_AT_A_TIME)
        rows = connection.execute(statement if last is None else statement.where(audit.c.number > last)).all()
        yield from map(_row, rows)
        if len(rows) < _AT_A_TIME:
            return
        last = rows[-1].number


def _row(row: Row[Any]) -> AuditRow:
    event = AuditEvent(
        row.at, row.actor, row.action, Outcome(row.outcome), subject=row.subject, serial=row.serial, reason=row.reason
    )
    return AuditRow(row.number, event, bytes(row.hash))
