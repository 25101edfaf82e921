"""Backups: the whole store as one file, which is a SQLite store whatever the original is."""

import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, text

from ca.audit import AuditHead
from ca.errors import StoreConflictError, StoreUnavailableError
from ca.store.database import Database, open_database
from ca.store.migrating import migrate
from ca.store.schema import heads, metadata
from ca.store.trail import kept_head, verify_kept

__all__ = ["back_up", "restore"]

_AT_A_TIME = 1000


def back_up(database: Database, target: Path) -> AuditHead:
    """Write all that is kept at this moment to `target`, a new file, and return where its audit chain ends.

    Issuing goes on meanwhile. The file has no key and no token in it, and all of the inventory; it is 0600.

    Raises:
        StoreConflictError: there is such a file.
        StoreUnavailableError: it cannot be read or written. There is no file then.
    """
    if target.exists():
        raise StoreConflictError("backup", str(target), "there is such a file already; choose another name")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as name:
            fresh = Path(name) / "store"
            if database.is_sqlite:
                _copy_file(Path(database.place), fresh)
            else:
                _copy_rows(database, fresh)
            head = _finished(fresh)
            # A link and not a rename: it fails if somebody has put a file there meanwhile.
            os.link(fresh, target)
            _sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailableError(str(target), str(error)) from error
    return head


def restore(source: Path, database: Database) -> AuditHead:
    """Fill an empty store with a backup, all of it or nothing, and return where its audit chain ends.

    A backup of an earlier version is brought up to date on the way; the file stays as it is.

    Raises:
        BrokenAuditError: the backup's audit chain is not as it was written.
        NewerSchemaError: the backup was made by a newer version.
        StoreConflictError: something is kept in the store already.
        StoreUnavailableError: the backup cannot be read, or the store not written.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="meshward-restore-") as name:
            copy = Path(name) / "store"
            shutil.copyfile(source, copy)
            copy.chmod(0o600)
            _require_sound(source, copy)
            backup = open_database(f"sqlite:///{copy}")
            try:
                migrate(backup)
                with backup.read() as reading:
                    head = verify_kept(reading)
                    _fill(database, reading)
            finally:
                backup.close()
    except OSError as error:
        raise StoreUnavailableError(str(source), error.strerror or type(error).__name__) from error
    return head


def _copy_file(source: Path, target: Path) -> None:
    target.touch(mode=0o600)
    reading, writing = sqlite3.connect(source), sqlite3.connect(target)
    try:
        reading.backup(writing)
    finally:
        reading.close()
        writing.close()


def _copy_rows(database: Database, target: Path) -> None:
    copy = open_database(f"sqlite:///{target}")
    try:
        migrate(copy)
        with database.read() as reading:
            _fill(copy, reading)
    finally:
        copy.close()


def _fill(database: Database, reading: Connection) -> None:
    with database.explained(), database.write() as connection, connection.begin():
        for table in metadata.sorted_tables:
            if table is not heads and connection.execute(select(func.count()).select_from(table)).scalar_one():
                raise StoreConflictError(
                    "store", database.place, f"it has {table.name} already; restore into an empty one"
                )
        connection.execute(heads.delete())
        for table in metadata.sorted_tables:
            for rows in reading.execution_options(yield_per=_AT_A_TIME).execute(select(table)).mappings().partitions():
                connection.execute(insert(table), [_plain(row) for row in rows])
            if not database.is_sqlite:
                _go_on_counting(connection, table)


def _plain(row: Any) -> dict[str, Any]:
    return {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}


def _go_on_counting(connection: Connection, table: Table) -> None:
    """New rows of PostgreSQL come after those that were brought along with their numbers."""
    if "number" not in table.c or not table.c.number.autoincrement:
        return
    connection.execute(
        text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'number'), max(number)) FROM {table.name}")  # noqa: S608  # our tables
    )


def _finished(path: Path) -> AuditHead:
    """See that the copy is sound, and that it is one file, on the disk."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = DELETE").close()
    finally:
        connection.close()
    _require_sound(path, path)
    database = open_database(f"sqlite:///{path}")
    try:
        with database.read() as reading:
            head = kept_head(reading)
    finally:
        database.close()
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = DELETE").close()
    finally:
        connection.close()
    _sync(path)
    return head


def _require_sound(named: Path, path: Path) -> None:
    try:
        connection = sqlite3.connect(path)
        try:
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreUnavailableError(str(named), f"it is not a backup: {error}") from error
    if said != "ok":
        raise StoreUnavailableError(str(named), f"the backup is damaged: {said}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
