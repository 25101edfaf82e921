"""The driver below the library, for what every certificate needs: the library takes longer over a statement than the database does."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

__all__ = ["Driver", "Values"]

_PLACEHOLDER = {"sqlite": "?", "postgresql": "%s"}

Values = tuple[object, ...]


class Driver:
    """The driver's own connection, within the transaction of the library's. Values stand in statements as `?`."""

    def __init__(self, connection: Connection) -> None:
        # Both drivers have connections that execute.
        self._raw: Any = connection.connection.driver_connection
        self._dialect = connection.dialect
        self.placeholder = _PLACEHOLDER[connection.dialect.name]

    def rows(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """What is asked for.

        Raises:
            DBAPIError: as the library has it.
        """
        try:
            return list(self._raw.execute(statement, values))
        except self._dialect.loaded_dbapi.Error as error:
            raise self._as_library_has_it(error) from error

    def change(self, statement: str, values: Values) -> int:
        """Do it, and say how many rows it met.

        Raises:
            DBAPIError: as `rows`.
        """
        try:
            return int(self._raw.execute(statement, values).rowcount)
        except self._dialect.loaded_dbapi.Error as error:
            raise self._as_library_has_it(error) from error

    def commit(self) -> None:
        """Commit.

        Raises:
            DBAPIError: nobody can tell whether it was committed.
        """
        self._ending(self._raw.commit)

    def rollback(self) -> None:
        """Roll back.

        Raises:
            DBAPIError: the connection is of no use any more.
        """
        self._ending(self._raw.rollback)

    def _ending(self, end: Callable[[], None]) -> None:
        try:
            end()
        except self._dialect.loaded_dbapi.Error as error:
            raise self._as_library_has_it(error) from error

    def _as_library_has_it(self, error: Any) -> BaseException:
        base = self._dialect.loaded_dbapi.Error
        said: BaseException = DBAPIError.instance(
            None,
            None,
            error,
            base,
            hide_parameters=True,
            connection_invalidated=self._dialect.is_disconnect(error, self._raw, None),
            dialect=self._dialect,
        )
        return said
