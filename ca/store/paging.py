"""Pages: lists in pieces, each taken up where the one before ended, however much was added meanwhile."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Row, Select, literal, tuple_

from ca.inventory import Page
from ca.store.schema import to_moment, to_number

__all__ = ["MAX_PAGE", "page", "prefixed"]

MAX_PAGE = 1000
_AFTER_ALL = "\x7f"
"""Follows every character that a SPIFFE ID may have."""

T = TypeVar("T")


def page(  # noqa: PLR0913  # what to list, and which piece of it
    connection: Connection,
    statement: Select[Any],
    order: tuple[Column[Any], ...],
    *,
    size: int,
    after: str | None,
    read: Callable[[Row[Any]], T],
) -> Page[T]:
    """At most `size` rows of `statement` in the ascending `order`, whose last column tells all rows apart.

    Raises:
        ValueError: `size` is out of bounds, or `after` is not what a page of this order ended with.
    """
    if not 1 <= size <= MAX_PAGE:
        raise ValueError(f"a page has 1 to {MAX_PAGE} rows, not {size}")
    if after is not None:
        marks = _read_mark(after, order)
        statement = statement.where(tuple_(*order) > tuple_(*marks))
    rows = connection.execute(statement.order_by(*order).limit(size + 1)).all()
    following = _mark(rows[size - 1], order) if len(rows) > size else None
    return Page(tuple(read(row) for row in rows[:size]), following)


def prefixed(statement: Select[Any], column: Column[str], prefix: str) -> Select[Any]:
    """Those rows whose SPIFFE ID begins with `prefix`, as a range that an index can find."""
    return statement.where(column >= prefix, column < prefix + _AFTER_ALL)


def _mark(row: Row[Any], order: tuple[Column[Any], ...]) -> str:
    values = [getattr(row, column.name) for column in order]
    return json.dumps([to_number(value) if isinstance(value, datetime) else value for value in values])


def _read_mark(text: str, order: tuple[Column[Any], ...]) -> list[Any]:
    wanted = [str if column.type.python_type is str else int for column in order]
    try:
        values = json.loads(text)
        if not isinstance(values, list) or [type(value) for value in values] != wanted:
            raise ValueError("it is of another order")  # noqa: TRY301  # told like the others
        return [
            literal(to_moment(value) if column.type.python_type is datetime else value, column.type)
            for value, column in zip(values, order, strict=True)
        ]
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError("this is not where a page of such a list ends; begin without it") from error
