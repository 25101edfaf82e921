"""The registration entries that are kept, and the index in memory that finds them."""

import json
import threading
import time
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, insert, select

from ca.audit import AuditEvent, Outcome
from ca.entries import Entry, EntryFilter, EntryIndex
from ca.errors import NotKeptError, StoreConflictError
from ca.inventory import Page
from ca.selector import Selector
from ca.store.committing import Transaction, Writer
from ca.store.database import Database
from ca.store.paging import page, prefixed
from ca.store.pending import Pending
from ca.store.schema import ENTRIES_REVISION, MICROSECOND, entries, entry_changes, entry_selectors, heads
from identity import SpiffeId, TrustDomain

__all__ = ["FRESH", "KeptEntries"]

FRESH = timedelta(milliseconds=100)
"""For how long the index answers before it asks whether another replica has changed anything."""
_AT_ONCE = 500
"""Changes that are taken up one by one; after more, everything is read again."""


class KeptEntries:
    """Registration entries. Changes by this replica are seen at once, those by others within `fresh`."""

    def __init__(self, database: Database, writer: Writer, *, fresh: timedelta = FRESH) -> None:
        self._database = database
        self._writer = writer
        self._fresh = fresh.total_seconds()
        self._looking = threading.Lock()
        self._lock = threading.Lock()
        self._index = EntryIndex()
        self._revision = -1
        self._looked = 0.0
        self._written = 0

    def create(self, entry: Entry, *, by: str, at: datetime) -> Pending[Entry]:
        """Keep an entry. If one of the same name and selectors says the same, that one is returned and nothing changes.

        Raises:
            StoreConflictError: one of the same name and selectors, or of the same id, says something else.
            StoreUnavailableError: nobody can tell whether it was kept.
        """

        def work(transaction: Transaction) -> Entry:
            digest = _digest(entry.selectors)
            same = (entries.c.spiffe_id == str(entry.spiffe_id)) & (entries.c.selectors_sha256 == digest)
            for row in transaction.read(select(entries).where(same | (entries.c.id == entry.id))):
                kept = _entry(row)
                if kept.says_the_same_as(entry):
                    return kept
                raise StoreConflictError(
                    "entry", kept.id, "it says something else for the same name or under the same id"
                )
            number = transaction.write(
                insert(entries).values(_values(entry, digest)).returning(entries.c.number)
            ).scalar_one()
            rows = [{"selector": str(selector), "entry": number} for selector in sorted(entry.selectors)]
            transaction.write(insert(entry_selectors), rows)
            self._note(transaction, entry.id)
            transaction.audit(
                AuditEvent(
                    at, by, "entry create", Outcome.DONE, subject=str(entry.spiffe_id), reason=f"entry {entry.id}"
                )
            )
            return entry

        return self._writer.submit(work)

    def delete(self, entry_id: str, *, by: str, at: datetime) -> Pending[Entry]:
        """Forget an entry, and return it. What was issued by it stays in the inventory.

        Raises:
            NotKeptError: there is none of that id.
            StoreUnavailableError: nobody can tell whether it was forgotten.
        """

        def work(transaction: Transaction) -> Entry:
            row = transaction.read(select(entries).where(entries.c.id == entry_id)).one_or_none()
            if row is None:
                raise NotKeptError("entry", entry_id)
            gone = _entry(row)
            transaction.write(delete(entries).where(entries.c.id == entry_id))
            self._note(transaction, entry_id)
            transaction.audit(
                AuditEvent(at, by, "entry delete", Outcome.DONE, subject=str(gone.spiffe_id), reason=f"entry {gone.id}")
            )
            return gone

        return self._writer.submit(work)

    def get(self, entry_id: str) -> Entry:
        """The entry of that id.

        Raises:
            NotKeptError: there is none.
            StoreUnavailableError: nobody can tell.
        """
        with self._database.read() as connection:
            row = connection.execute(select(entries).where(entries.c.id == entry_id)).one_or_none()
        if row is None:
            raise NotKeptError("entry", entry_id)
        return _entry(row)

    def list(self, wanted: EntryFilter, *, size: int = 100, after: str | None = None) -> Page[Entry]:
        """The entries that meet `wanted`: oldest first, or by name if a prefix of it is given.

        Raises:
            ValueError: `size` is out of bounds, or `after` is of another list.
            StoreUnavailableError: they cannot be read.
        """
        statement = select(entries)
        order: tuple[Any, ...] = (entries.c.number,)
        if wanted.spiffe_id is not None:
            statement = statement.where(entries.c.spiffe_id == str(wanted.spiffe_id))
        if wanted.prefix is not None:
            statement = prefixed(statement, entries.c.spiffe_id, wanted.prefix)
            order = (entries.c.spiffe_id, entries.c.number)
        if wanted.selector is not None:
            has = (entry_selectors.c.entry == entries.c.number) & (entry_selectors.c.selector == str(wanted.selector))
            statement = statement.where(exists().where(has))
        with self._database.read() as connection:
            return page(connection, statement, order, size=size, after=after, read=_entry)

    def entries_for(self, selectors: AbstractSet[Selector]) -> tuple[Entry, ...]:
        """The entries that apply to a caller who has `selectors`: those of which all are among them, oldest first.

        Raises:
            StoreUnavailableError: nobody can tell whether what is known is still so.
        """
        if not self._is_fresh():
            with self._looking:
                # Whoever was looking meanwhile has seen it.
                if not self._is_fresh():
                    self._look()
        with self._lock:
            return self._index.entries_for(selectors)

    def revision(self) -> int:
        """Grows with every change, by whichever replica. What has changed is found by `entries_for` from then on.

        Whoever asks often enough, in a thread, spares it looking.

        Raises:
            StoreUnavailableError: nobody can tell.
        """
        with self._looking:
            self._look()
            return self._revision

    def _note(self, transaction: Transaction, entry_id: str) -> None:
        revision = transaction.count(ENTRIES_REVISION)
        transaction.append(entry_changes, {"revision": revision, "id": entry_id})
        transaction.after_commit(lambda: self._wrote(revision))

    def _wrote(self, revision: int) -> None:
        self._written = max(self._written, revision)

    def _is_fresh(self) -> bool:
        return self._revision >= self._written and time.monotonic() - self._looked < self._fresh

    def _look(self) -> None:
        """Take up what has changed. Callers hold `_looking`; who asks for entries meanwhile is not held up."""
        now = time.monotonic()
        with self._database.read() as connection:
            revision = connection.execute(_REVISION).scalar_one()
            if revision != self._revision:
                self._take_up(connection, revision)
        self._revision, self._looked = revision, now

    def _take_up(self, connection: Connection, revision: int) -> None:
        changed = None if self._revision < 0 else self._changed(connection, revision)
        if changed is None:
            index = EntryIndex()
            for row in connection.execute(select(entries).order_by(entries.c.number)):
                index.put(row.number, _entry(row))
            with self._lock:
                self._index = index
            return
        rows = connection.execute(select(entries).where(entries.c.id.in_(changed))).all()
        found = [(row.number, _entry(row)) for row in rows]
        with self._lock:
            for entry_id in changed:
                self._index.remove(entry_id)
            for number, entry in found:
                self._index.put(number, entry)

    def _changed(self, connection: Connection, revision: int) -> set[str] | None:
        """The ids of what has changed since we last looked; `None` if that is not worth going through."""
        if not 0 < revision - self._revision <= _AT_ONCE:
            return None
        where = entry_changes.c.revision > self._revision
        count = connection.execute(select(func.count()).select_from(entry_changes).where(where)).scalar_one()
        if count != revision - self._revision:  # the older ones were pruned
            return None
        return set(connection.execute(select(entry_changes.c.id).where(where)).scalars())


_REVISION = select(heads.c.value).where(heads.c.name == ENTRIES_REVISION)


def _digest(selectors: AbstractSet[Selector]) -> bytes:
    # A selector has no newline, so no two sets give the same text.
    return sha256("\n".join(str(selector) for selector in sorted(selectors)).encode()).digest()


def _values(entry: Entry, digest: bytes) -> dict[str, Any]:
    return {
        "id": entry.id,
        "spiffe_id": str(entry.spiffe_id),
        "selectors_sha256": digest,
        "selectors": json.dumps([str(selector) for selector in sorted(entry.selectors)]),
        "ttl": None if entry.ttl is None else entry.ttl // MICROSECOND,
        "jwt_ttl": None if entry.jwt_ttl is None else entry.jwt_ttl // MICROSECOND,
        "dns_names": json.dumps(entry.dns_names),
        "federates_with": json.dumps([str(domain) for domain in sorted(entry.federates_with)]),
        "admin": entry.admin,
        "hint": entry.hint,
        "created": entry.created,
    }


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        id=row.id,
        spiffe_id=SpiffeId.parse(row.spiffe_id),
        selectors=frozenset(Selector.parse(text) for text in json.loads(row.selectors)),
        created=row.created,
        ttl=None if row.ttl is None else row.ttl * MICROSECOND,
        jwt_ttl=None if row.jwt_ttl is None else row.jwt_ttl * MICROSECOND,
        dns_names=tuple(json.loads(row.dns_names)),
        federates_with=frozenset(TrustDomain(name) for name in json.loads(row.federates_with)),
        admin=row.admin,
        hint=row.hint,
    )
