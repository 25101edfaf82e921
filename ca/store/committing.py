"""Group commit: those who write at the same time wait for one commit together."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, Table, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, SQLAlchemyError

from ca.audit import AuditEvent, AuditHead, AuditRow, seal
from ca.errors import ClockError, StoreConflictError, StoreError, StoreUnavailableError
from ca.inventory import RevocationReason
from ca.store import schema
from ca.store.database import Database
from ca.store.driver import Driver
from ca.store.pending import Deliveries, Pending
from ca.store.statements import ACKNOWLEDGE, APPEND_AUDIT, HOLDERS, INTEND, RELEASE, read_heads, write_heads

__all__ = ["GATHER", "MOST", "Refusal", "Transaction", "Work", "Writer"]

GATHER = MAX_GATHER = timedelta(milliseconds=5)
MOST = 64
"""How many pieces of work a commit has at most."""
PATIENCE = timedelta(milliseconds=20)
"""How long patient work waits for a commit to go with."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a piece of work returns to have its rows committed (the audit's) and its caller refused all the same."""

    error: StoreError


class Transaction:
    """What a piece of work writes with. It is in the same transaction as those it shares a commit with.

    Rows that are appended and changed by key are gathered and go out together.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._driver = Driver(connection)
        self._rows: defaultdict[Table, list[dict[str, Any]]] = defaultdict(list)
        self._intents: list[tuple[object, ...]] = []
        self._marks: dict[str, int] = {}
        self._keys: dict[bytes, str] = {}
        self._known_keys: dict[bytes, str] = {}
        self._acknowledged: dict[str, tuple[int, int]] = {}
        self._events: list[AuditEvent] = []
        self._latest: int | None = None
        self._heads: tuple[int, int, bytes] | None = None
        self._after: list[Callable[[], None]] = []
        self.writes = 0

    def append(self, table: Table, row: dict[str, Any]) -> None:
        """Insert a row that nothing can be in the way of."""
        self.writes += 1
        self._rows[table].append(row)

    def intend(self, row: tuple[object, ...]) -> None:
        """Insert a row of the inventory, with values as `INTEND` has them."""
        self.writes += 1
        self._intents.append(row)

    def release(self, serial: str, at: datetime) -> None:
        """Mark a row of the inventory as released. The transaction fails unless it is there, neither released nor revoked.

        Raises:
            StoreConflictError: this transaction has released it already.
        """
        if serial in self._marks:
            raise _not_to_be_released(serial)
        self.writes += 1
        self._marks[serial] = schema.to_number(at)

    def acknowledge(self, consumer: str, sequence: int, at: datetime) -> None:
        """Remember that a consumer holds the bundle of that sequence, unless it is known to hold a later one."""
        self.writes += 1
        moment = schema.to_number(at)
        known, seen = self._acknowledged.get(consumer, (0, moment))
        self._acknowledged[consumer] = (max(known, sequence), max(seen, moment))

    def audit(self, event: AuditEvent) -> None:
        """Append to the chain, in the order of the calls."""
        self.writes += 1
        self._events.append(event)

    def read(self, statement: Executable) -> CursorResult[Any]:
        """Ask, of what this transaction has written as well."""
        self._send()
        return self._connection.execute(statement)

    def write(self, statement: Executable, rows: list[dict[str, Any]] | None = None) -> CursorResult[Any]:
        """Change."""
        self._send()
        self.writes += 1
        return self._connection.execute(statement, rows)

    def require_clock(self, at: datetime, skew: timedelta) -> None:
        """See that `at` is not before what was issued already, by more than `skew`, and remember it.

        Raises:
            ClockError: it is.
        """
        if self._latest is None:
            self._latest = self._kept_heads()[0]
        moment = schema.to_number(at)
        if moment < self._latest - skew // schema.MICROSECOND:
            raise ClockError(at=at, latest=schema.to_moment(self._latest))
        self._latest = max(self._latest, moment)

    def require_key_of(self, spki_sha256: bytes, spiffe_id: str) -> None:
        """See that a public key was certified for nobody but `spiffe_id`, and never given up as compromised, and remember it.

        What is kept is asked once for all that share the transaction; it fails as a whole where any of them is refused.

        Raises:
            StoreConflictError: it is another's in this transaction.
        """
        known = self._known_keys.get(spki_sha256) or self._keys.setdefault(spki_sha256, spiffe_id)
        if known != spiffe_id:
            raise _not_to_be_certified(spki_sha256)

    def count(self, name: str) -> int:
        """Raise one of the counters and return it."""
        statement = (
            update(schema.heads)
            .where(schema.heads.c.name == name)
            .values(value=schema.heads.c.value + 1)
            .returning(schema.heads.c.value)
        )
        return int(self.write(statement).scalar_one())

    def after_commit(self, act: Callable[[], None]) -> None:
        """Have `act` done when all of this is on the disk, before anybody is told."""
        self._after.append(act)

    def committed(self) -> None:
        """Do what was put off until now."""
        for act in self._after:
            act()

    def finish(self) -> None:
        """Send what is gathered. The audit goes last: its head is the only row that all need."""
        self._send()
        if self._acknowledged:
            # In one order everywhere, as all rows that are changed.
            held = [(consumer, *told) for consumer, told in sorted(self._acknowledged.items())]
            ACKNOWLEDGE.change(self._driver, held)
        if not self._events and self._latest is None:
            return
        clock, number, digest = self._kept_heads()
        latest = clock if self._latest is None else self._latest
        head = AuditHead(number, digest)
        rows: list[tuple[object, ...]] = []
        for event in self._events:
            row = seal(head, event)
            rows.append(_audit_values(row))
            head = row.head
        APPEND_AUDIT.change(self._driver, rows)
        if rows or latest != clock:
            write_heads(self._driver, latest, head.number, head.hash)

    def _kept_heads(self) -> tuple[int, int, bytes]:
        """The clock and the end of the audit, as this transaction found them; both are read at once."""
        if self._heads is None:
            self._heads = read_heads(self._driver)
        return self._heads

    def _send(self) -> None:
        self._require_keys()
        intents, self._intents = self._intents, []
        INTEND.change(self._driver, intents)
        for table, rows in self._rows.items():
            self._connection.execute(_APPEND[table], rows)
        self._rows.clear()
        marks, self._marks = list(self._marks.items()), {}
        if RELEASE.change(self._driver, marks) != len(marks):
            # Which of them it was is seen when each is done by itself.
            raise _SpoiledError from _not_to_be_released(marks[0][0])

    def _require_keys(self) -> None:
        asked, self._keys = self._keys, {}
        self._known_keys.update(asked)
        for spki_sha256, spiffe_id, revoked_reason in HOLDERS.ask(self._driver, [(key,) for key in asked]):
            key = bytes(spki_sha256)
            if spiffe_id != asked[key] or revoked_reason == RevocationReason.KEY_COMPROMISE.value:
                # Which of them it was is seen when each is done by itself.
                raise _SpoiledError from _not_to_be_certified(key)


# Made once: making a statement, and finding what it compiles to, takes longer than the database does.
_APPEND = {table: table.insert() for table in schema.metadata.tables.values()}


def _not_to_be_certified(spki_sha256: bytes) -> StoreConflictError:
    return StoreConflictError(
        "public key", spki_sha256.hex(), "another name has it, or it was compromised; make a new one"
    )


def _not_to_be_released(serial: object) -> StoreConflictError:
    return StoreConflictError("certificate", str(serial), "was never intended, or is released or revoked already")


Work = Callable[[Transaction], T | Refusal]


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work[Any]
    pending: Pending[Any]
    is_patient: bool


class _SpoiledError(Exception):
    """A piece of work failed after it had written: the others of its group are to be done again without it."""


class _CommitError(Exception):
    """The commit itself failed."""


class Writer:
    """The thread that owns the writing connection.

    Work that comes one by one is committed at once. When several come together, it waits a little for more: as long as the last
    commit took, which is what they would wait otherwise, up to `gather`, or until there are 64.
    """

    def __init__(self, database: Database, *, gather: timedelta = GATHER) -> None:
        if not timedelta(0) <= gather <= MAX_GATHER:
            raise ValueError(f"a commit may be put off by {MAX_GATHER} at most, not by {gather}")
        self._database = database
        self._writing = database.writing()
        self._gather = gather.total_seconds()
        self._jobs: list[_Job] = []
        self._deliveries = Deliveries()
        self._closed = False
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._urgent = threading.Event()
        self._enough = threading.Event()
        # A process that ends without closing loses only what nobody was told of.
        self._thread = threading.Thread(target=self._run, name="meshward-store", daemon=True)
        self._thread.start()

    def submit(self, work: Work[T], *, is_patient: bool = False) -> Pending[T]:
        """Have `work` done in the next commit. Where nobody waits for it, it is patient, and goes with what others wait for.

        Work that shares a commit is done in the order in which it was submitted. A piece that raises before its first
        write disturbs none of the others; one that raises later makes them be done again, each by itself.
        """
        pending: Pending[T] = Pending(self._deliveries)
        with self._lock:
            if self._closed:
                raise StoreUnavailableError(self._database.place, "it is closed")
            self._jobs.append(_Job(work, pending, is_patient))
            waiting = len(self._jobs)
            # The thread is woken for a group, not for each of it.
            if waiting == 1:
                self._some.set()
            elif waiting == MOST:
                self._enough.set()
            if not (is_patient or self._urgent.is_set()):
                self._urgent.set()
        return pending

    def close(self) -> None:
        """Commit what was submitted, and end."""
        with self._lock:
            self._closed = True
            self._some.set()
            self._urgent.set()
            self._enough.set()
        self._thread.join()

    def _run(self) -> None:
        together, took = 1, 0.0
        while True:
            self._some.wait()
            self._urgent.wait(PATIENCE.total_seconds())
            if together > 1:
                self._enough.wait(min(took, self._gather))
            jobs = self._taken()
            if not jobs:
                self._writing.close()
                return
            together = sum(not job.is_patient for job in jobs)
            began = time.monotonic()
            self._deliveries.begin()
            try:
                self._commit(jobs)
            finally:
                self._deliveries.end()
            took = time.monotonic() - began

    def _taken(self) -> "list[_Job]":
        """Up to 64 of what was submitted; none where it was closed and all is done."""
        with self._lock:
            jobs, self._jobs = self._jobs[:MOST], self._jobs[MOST:]
            if not self._closed:
                if not self._jobs:
                    self._some.clear()
                if all(job.is_patient for job in self._jobs):
                    self._urgent.clear()
                if len(self._jobs) < MOST:
                    self._enough.clear()
        return jobs

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            outcomes = self._attempt(jobs)
        except (OperationalError, InterfaceError, _CommitError) as error:
            # The database is away, or has not said whether it kept them. Doing it again might do it twice.
            _fail(jobs, self._told(error))
        except Exception as error:  # noqa: BLE001  # whoever waits is told; the thread goes on for the others
            if len(jobs) == 1:
                _fail(jobs, self._told(error))
                return
            for job in jobs:
                self._commit([job])
        else:
            for job, outcome in zip(jobs, outcomes, strict=True):
                if isinstance(outcome, Refusal):
                    job.pending.fail(outcome.error)
                else:
                    job.pending.settle(outcome)

    def _attempt(self, jobs: list[_Job]) -> list[object]:
        transaction = Transaction(self._writing.begin())
        try:
            outcomes: list[object] = []
            for job in jobs:
                before = transaction.writes
                try:
                    outcomes.append(job.work(transaction))
                except StoreError as error:
                    if transaction.writes != before:
                        raise _SpoiledError from error
                    outcomes.append(Refusal(error))
            transaction.finish()
        except BaseException:
            self._writing.rollback()
            raise
        try:
            self._writing.commit()
        except SQLAlchemyError as error:
            self._writing.rollback()
            raise _CommitError from error
        transaction.committed()
        return outcomes

    def _told(self, error: Exception) -> Exception:
        match error:
            case _SpoiledError(__cause__=StoreError() as cause):
                return cause
            case IntegrityError():
                return StoreConflictError("store", self._database.place, "there is such a row already")
            case SQLAlchemyError() as said:
                return self._database.unavailable(said)
            case _CommitError(__cause__=SQLAlchemyError() as said):
                return self._database.unavailable(said)
            case _:
                return error


def _fail(jobs: list[_Job], error: Exception) -> None:
    for job in jobs:
        job.pending.fail(error)


def _audit_values(row: AuditRow) -> tuple[object, ...]:
    """A row of the chain, as `APPEND_AUDIT` has it."""
    event = row.event
    return (
        row.number,
        schema.to_number(event.at),
        event.actor,
        event.action,
        event.outcome.value,
        event.subject,
        event.serial,
        event.reason,
        row.hash,
    )
