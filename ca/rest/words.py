"""Words: what requests and answers of HTTP have in common, and reading names and times from them."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from ca.errors import RefusedNameError
from ca.rest.problems import ProblemError
from ca.store.paging import MAX_PAGE
from identity import InvalidSpiffeIdError, InvalidTrustDomainError, SpiffeId, TrustDomain

__all__ = [
    "Answer",
    "Asked",
    "Id",
    "Listed",
    "Named",
    "Prefix",
    "Seconds",
    "paged",
    "read_name",
    "read_trust_domain",
    "seconds",
]

_LONGEST_TIME = 10 * 365 * 24 * 3600


class Asked(BaseModel):
    """What somebody asks for. What is not described is refused: they mean something that they would not get."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Listed(BaseModel):
    """Which piece of a list: what every query of a list has, beside what the list can be narrowed by."""

    # Written in a URL all is text, so numbers are read from it; what is not described is refused here, too.
    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Annotated[int, Field(ge=1, le=MAX_PAGE, description="How many at most.")] = 100
    after: Annotated[
        str | None, Field(max_length=8192, description="What the piece before said as `next`.", examples=[None])
    ] = None


class Answer(BaseModel):
    """What they get."""

    model_config = ConfigDict(frozen=True)


Named = Annotated[str, Field(max_length=2048, examples=["spiffe://example.org/ns/shop/sa/web"])]
"""A SPIFFE ID; `read_name` reads it."""

Prefix = Annotated[
    str, Field(max_length=2048, pattern=r"^[\x21-\x7e]*$", description="Of the whole SPIFFE ID: how it begins.")
]

Id = Annotated[str, Path(pattern=r"^[\x21-\x7e]{1,128}$")]
"""What something that is kept is called, in a path."""

Seconds = Annotated[int, Field(gt=0, le=_LONGEST_TIME, description="In seconds.", examples=[3600])]


def read_name(text: str) -> SpiffeId:
    """The SPIFFE ID that `text` is.

    Raises:
        RefusedNameError: it is none.
    """
    try:
        return SpiffeId.parse(text)
    except InvalidSpiffeIdError as error:
        raise RefusedNameError(text, error.reason) from error


def read_trust_domain(text: str) -> TrustDomain:
    """The trust domain that `text` is.

    Raises:
        RefusedNameError: it is none.
    """
    try:
        return TrustDomain(text)
    except InvalidTrustDomainError as error:
        raise RefusedNameError(text, error.reason) from error


@contextmanager
def paged() -> Iterator[None]:
    """Tell a place in a list that is none as what it is, a mistake in the request.

    Raises:
        ProblemError: it is none.
    """
    try:
        yield
    except ValueError as error:
        raise ProblemError("request-refused", str(error)) from error


def seconds(number: int | None) -> timedelta | None:
    """As a time; what was not said stays so."""
    return None if number is None else timedelta(seconds=number)
