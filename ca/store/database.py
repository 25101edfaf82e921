"""Where the rows are: SQLite in a file of our own, or PostgreSQL."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from ca.errors import StoreUnavailableError
from ca.store.driver import Driver
from ca.store.statements import STATEMENTS

__all__ = ["Database", "Writing", "open_database"]

_BUSY = 5
"""Seconds for which a writer waits for another's transaction, which takes milliseconds."""
_WRITER = 0x6D657368
"""The advisory lock that a writer holds in PostgreSQL ("mesh")."""
_LOCK = {"sqlite": "BEGIN IMMEDIATE", "postgresql": f"SELECT pg_advisory_xact_lock({_WRITER})"}
"""What a transaction that writes begins with."""
_BEGUN = "meshward_begun"


class Database:
    """Connections that read, each on one snapshot, and connections that write, one at a time over all processes.

    One writer is what SQLite has. In PostgreSQL an advisory lock makes it so: then a sequence of rows is a sequence
    of commits, what one transaction has checked holds until it ends, and none deadlocks or has to be done again.
    """

    def __init__(self, place: str, reading: Engine, writing: Engine) -> None:
        self.place = place
        self._reading = reading
        self._writing = writing

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file."""
        return self._reading.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot, to read from.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        with self.explained(), self._reading.begin() as connection:
            yield connection

    def write(self) -> Connection:
        """A connection; its transaction holds the writers' lock from `begin()` on."""
        return self._writing.connect()

    def writing(self) -> "Writing":
        """A connection for one transaction after the other."""
        return Writing(self._writing, _LOCK[self._reading.dialect.name])

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what the library raises into our own error."""
        try:
            yield
        except SQLAlchemyError as error:
            raise self.unavailable(error) from error

    def unavailable(self, error: SQLAlchemyError) -> StoreUnavailableError:
        """What the database said. Its statements' values are not in it."""
        said = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
        return StoreUnavailableError(self.place, said.partition("\n")[0].strip() or type(error).__name__)

    def close(self) -> None:
        """Let go of all connections."""
        self._reading.dispose()
        self._writing.dispose()


class Writing:
    """A connection that stays: to take one from the pool, and to have the library begin and commit, takes longer than a small commit does.

    It belongs to one thread.
    """

    def __init__(self, engine: Engine, lock: str) -> None:
        self._engine = engine
        self._lock = lock
        self._connection: Connection | None = None

    def begin(self) -> Connection:
        """Begin a transaction, which holds the writers' lock. Commit it or roll it back before the next.

        Raises:
            DBAPIError: the database is away, or others hold the lock for too long.
        """
        if self._connection is not None:
            try:
                return self._begun(self._connection)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                # It was lost since the last transaction: nothing of this one has happened yet.
        self._connection = self._engine.connect().execution_options(**{_BEGUN: True})
        return self._begun(self._connection)

    def commit(self) -> None:
        """Have all of it on the disk.

        Raises:
            SQLAlchemyError: nobody can tell whether it is.
        """
        assert self._connection is not None  # noqa: S101  # it was begun
        if self._connection.in_transaction():
            self._connection.commit()
        else:
            Driver(self._connection).commit()

    def rollback(self) -> None:
        """Let none of it have happened. Where that cannot be told the connection goes, and with it what was begun."""
        if self._connection is None:
            return
        try:
            if self._connection.in_transaction():
                self._connection.rollback()
            else:
                Driver(self._connection).rollback()
        except SQLAlchemyError:
            self.close()

    def close(self) -> None:
        """Let go of it."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.invalidate()
            connection.close()

    def _begun(self, connection: Connection) -> Connection:
        try:
            Driver(connection).rows(self._lock)
        except DBAPIError:
            self.close()
            raise
        return connection


def open_database(url: str) -> Database:
    """`url` is `sqlite:////absolute/path`, `sqlite:///relative/path` or `postgresql://user@host/name`.

    Raises:
        StoreUnavailableError: it is neither, or the file is open to others. Nobody has tried to connect yet.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # The text is not repeated: it may hold a password.
        raise StoreUnavailableError(
            "given", "its URL cannot be read; begin with sqlite:/// or postgresql://"
        ) from error
    match parsed.drivername:
        case "sqlite":
            return _open_sqlite(parsed)
        case "postgresql" | "postgresql+psycopg":
            return _open_postgresql(parsed.set(drivername="postgresql+psycopg"))
        case other:
            raise StoreUnavailableError("given", f"no driver for `{other}`; begin with sqlite:/// or postgresql://")


def _open_sqlite(url: URL) -> Database:
    if not url.database or url.database == ":memory:":
        raise StoreUnavailableError("given", "a store is a file; say which, as in sqlite:////var/lib/meshward/store.db")
    path = Path(url.database)
    _make_private(path)
    reading, writing = (
        create_engine(
            f"sqlite:///{path}",
            hide_parameters=True,
            poolclass=QueuePool,
            connect_args={"timeout": _BUSY, "check_same_thread": False, "cached_statements": STATEMENTS},
            pool_size=size,
        )
        for size in (4, 1)
    )
    for engine, begin in ((reading, "BEGIN"), (writing, _LOCK["sqlite"])):
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _first(begin))
    event.listen(reading, "connect", lambda connection, _: connection.execute("PRAGMA query_only = ON"))
    return Database(str(path), reading, writing)


def _make_private(path: Path) -> None:
    """The directory is 0700 and the file 0600 before anything is in it; SQLite gives its other files the same mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        for place, right in ((path.parent, "700"), (path, "600")):
            mode = stat.S_IMODE(place.stat().st_mode)
            if mode & 0o077:
                raise StoreUnavailableError(
                    str(path), f"{place} is open to others (mode {mode:o}); chmod {right} {place}"
                )
    except OSError as error:
        raise StoreUnavailableError(str(path), error.strerror or type(error).__name__) from error


def _set_up_sqlite(connection: Any, _: object) -> None:
    # Ours is to say when a transaction begins.
    connection.isolation_level = None
    # FULL: a commit is on the disk when it returns, in WAL as well.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {pragma}").close()


def _open_postgresql(url: URL) -> Database:
    try:
        reading = create_engine(
            url, hide_parameters=True, pool_pre_ping=True, pool_size=4, isolation_level="REPEATABLE READ"
        )
        writing = create_engine(url, hide_parameters=True, pool_pre_ping=True, pool_size=1)
    except ModuleNotFoundError as error:
        raise StoreUnavailableError("given", "PostgreSQL needs the extra: pip install meshward[postgresql]") from error
    event.listen(reading, "connect", _set_up_postgresql_reader)
    event.listen(writing, "connect", _set_up_postgresql_writer)
    event.listen(writing, "begin", _first(_LOCK["postgresql"]))
    return Database(url.render_as_string(hide_password=True), reading, writing)


def _set_up_postgresql_reader(connection: Any, _: object) -> None:
    connection.execute("SET default_transaction_read_only = on")
    connection.commit()


def _set_up_postgresql_writer(connection: Any, _: object) -> None:
    # A replica that is stopped in the middle must not stop the others for good.
    for setting in ("lock_timeout = '5s'", "idle_in_transaction_session_timeout = '10s'"):
        connection.execute(f"SET {setting}")
    connection.prepared_max = STATEMENTS
    if connection.execute("SHOW synchronous_commit").fetchone()[0] == "off":
        connection.execute("SET synchronous_commit = on")
    connection.commit()


def _first(statement: str) -> Any:
    def begin(connection: Connection) -> None:
        # Not where the transaction was begun without the library.
        if _BEGUN not in connection.get_execution_options():
            connection.exec_driver_sql(statement)

    return begin
