"""Bringing the tables up to date, when a store is opened."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from ca.errors import NewerSchemaError
from ca.store.database import Database

__all__ = ["HEAD", "migrate"]

HEAD = "0001"
"""The newest revision there is a script for."""

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> None:
    """Make the tables what this version wants. Replicas that start together wait for the first, which does it.

    Raises:
        NewerSchemaError: a newer version has been here.
        StoreUnavailableError: it cannot be done.
    """
    try:
        with database.read() as connection:
            if revision(connection) == HEAD:
                return
        _upgrade(database)
    except SQLAlchemyError as error:
        raise database.unavailable(error) from error


def revision(connection: Connection) -> str | None:
    """The revision of the tables; `None` if there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return None if found is None else str(found)


def _upgrade(database: Database) -> None:
    # It takes as long to load as all else that a verb needs, and is needed once in a version.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    # All of it in the one transaction that holds the writers' lock: done by one, seen whole by the others.
    with database.write() as connection, connection.begin():
        found = revision(connection)
        if found == HEAD:
            return
        if found is not None and found not in known:
            raise NewerSchemaError(database.place, found=found, known=HEAD)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
