"""Bringing the tables up to date, when a store is opened."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from ca.errors import NewerSchemaError
from ca.store.database import Database

__all__ = ["migrate"]

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> None:
    """Make the tables what this version wants. Replicas that start together wait for the first, which does it.

    Raises:
        NewerSchemaError: a newer version has been here.
        StoreUnavailableError: it cannot be done.
    """
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    scripts = ScriptDirectory.from_config(config)
    known = scripts.get_current_head() or ""
    try:
        # All of it in the one transaction that holds the writers' lock: done by one, seen whole by the others.
        with database.write() as connection, connection.begin():
            found = revision(connection)
            if found == known:
                return
            if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
                raise NewerSchemaError(database.place, found=found, known=known)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        raise database.unavailable(error) from error


def revision(connection: Connection) -> str | None:
    """The revision of the tables; `None` if there are none."""
    return MigrationContext.configure(connection).get_current_revision()
