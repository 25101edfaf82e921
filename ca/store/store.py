"""The store of an authority: all of its parts on one database."""

from datetime import timedelta
from pathlib import Path
from typing import Self

from ca.audit import AuditHead
from ca.store.authorities import KeptAuthorities
from ca.store.backup import back_up, restore
from ca.store.committing import GATHER, Writer
from ca.store.database import Database, open_database
from ca.store.entries import FRESH, KeptEntries
from ca.store.federation import FederatedBundles
from ca.store.inventory import SKEW, Inventory
from ca.store.migrating import migrate
from ca.store.tokens import JoinTokens
from ca.store.trail import AuditTrail

__all__ = ["Store"]


class Store:
    """What an authority keeps, in a file of its own (SQLite) or, shared by replicas, in PostgreSQL.

    Reading blocks the thread that asks, for as long as the database takes. Writing returns at once something to wait
    for, in a thread or in an event loop; when that is done, what was written survives a crash of the machine, and the
    audit chain tells of it. It can be used by any number of threads and event loops, and not across a fork.
    """

    def __init__(self, database: Database, *, gather: timedelta, skew: timedelta, fresh: timedelta) -> None:
        self._database = database
        self._writer = Writer(database, gather=gather)
        self.entries = KeptEntries(database, self._writer, fresh=fresh)
        self.tokens = JoinTokens(database, self._writer)
        self.inventory = Inventory(database, self._writer, skew=skew)
        self.authorities = KeptAuthorities(database, self._writer)
        self.federation = FederatedBundles(database, self._writer)
        self.audit = AuditTrail(database, self._writer)

    @classmethod
    def open(cls, url: str, *, gather: timedelta = GATHER, skew: timedelta = SKEW, fresh: timedelta = FRESH) -> Self:
        """Open the store at `url`, making it or bringing it up to date first.

        `url` is `sqlite:////absolute/path`, `sqlite:///relative/path` or `postgresql://user@host/name`. `gather` is how
        long a commit may wait for others, 5 ms at most; `skew` how far the clock may be behind what was issued already;
        `fresh` how long entries are found by what is known before another replica's changes are looked for.

        Raises:
            NewerSchemaError: a newer version has been here.
            StoreUnavailableError: it cannot be opened, or is open to others.
        """
        database = open_database(url)
        try:
            migrate(database)
            return cls(database, gather=gather, skew=skew, fresh=fresh)
        except BaseException:
            database.close()
            raise

    @property
    def place(self) -> str:
        """Where it is, for messages; no password is in it."""
        return self._database.place

    def back_up(self, target: Path) -> AuditHead:
        """Write all that is kept at this moment to a new file, while everything goes on.

        Raises:
            StoreConflictError: there is such a file.
            StoreUnavailableError: it cannot be read or written.
        """
        return back_up(self._database, target)

    def restore(self, source: Path) -> AuditHead:
        """Fill this store, which must be empty, with a backup.

        Raises:
            BrokenAuditError: the backup's audit chain is not as it was written.
            NewerSchemaError: the backup was made by a newer version.
            StoreConflictError: something is kept here already.
            StoreUnavailableError: the backup cannot be read, or this store not written.
        """
        return restore(source, self._database)

    def close(self) -> None:
        """Commit what was submitted, and let go of the database."""
        self._writer.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
