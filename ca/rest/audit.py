"""The audit chain over HTTP."""

import asyncio
from typing import Annotated

from fastapi import FastAPI, Query
from pydantic import AwareDatetime, Field

from ca.audit import AuditHead, AuditRow, Outcome
from ca.office import Office
from ca.rest.managing import ADMIN_SECURITY, WHO_MANAGES, Admin
from ca.rest.problems import ProblemError, documented
from ca.rest.words import Answer, Asked, Listed, paged

__all__ = ["add_audit"]


class RowAnswer(Answer):
    """A row of the chain."""

    number: int
    at: AwareDatetime
    actor: str
    action: str
    outcome: Outcome
    subject: str
    serial: str
    reason: str
    hash: Annotated[str, Field(description="SHA-256 over the hash before and the row, in hexadecimal.")]

    @classmethod
    def of(cls, row: AuditRow) -> "RowAnswer":
        """The same in words."""
        event = row.event
        return cls(
            number=row.number,
            at=event.at,
            actor=event.actor,
            action=event.action,
            outcome=event.outcome,
            subject=event.subject,
            serial=event.serial,
            reason=event.reason,
            hash=row.hash.hex(),
        )


class RowsAnswer(Answer):
    """A piece of the list."""

    rows: list[RowAnswer]
    next: str | None


class HeadAnswer(Answer):
    """Where the chain ends. Keep it elsewhere: only so does it show that an end was cut off."""

    head: Annotated[str, Field(description="The number of the last row, a colon, and its hash.")]


class VerificationAsked(Asked):
    """What to verify the chain with."""

    kept: Annotated[
        list[Annotated[str, Field(max_length=128)]],
        Field(max_length=1000, description="Heads of earlier moments, from elsewhere."),
    ] = Field(default_factory=list)


def add_audit(app: FastAPI, office: Office) -> None:
    """Listing the chain, verifying it, and saying where it ends."""

    @app.get(
        "/v1/audit",
        summary="List what was done and refused, oldest first",
        tags=["audit"],
        openapi_extra=ADMIN_SECURITY,
        responses=documented(*WHO_MANAGES, "request-refused", "not-ready"),
    )
    async def listed(asked: Annotated[Listed, Query()], _: Admin) -> RowsAnswer:
        with paged():
            found = await asyncio.to_thread(office.store.audit.list, size=asked.size, after=asked.after)
        return RowsAnswer(rows=[RowAnswer.of(row) for row in found.rows], next=found.next)

    @app.get(
        "/v1/audit/head",
        summary="Where the chain ends",
        tags=["audit"],
        openapi_extra=ADMIN_SECURITY,
        responses=documented(*WHO_MANAGES, "not-ready"),
    )
    async def head(_: Admin) -> HeadAnswer:
        return HeadAnswer(head=str(await asyncio.to_thread(office.store.audit.head)))

    @app.post(
        "/v1/audit/verify",
        summary="Go over the whole chain",
        tags=["audit"],
        openapi_extra=ADMIN_SECURITY,
        responses=documented(
            *WHO_MANAGES,
            *("request-refused", "body-refused", "body-too-long", "media-type-refused"),
            *("audit-broken", "not-ready"),
        ),
    )
    async def verify(asked: VerificationAsked, _: Admin) -> HeadAnswer:
        try:
            kept = [AuditHead.parse(text) for text in asked.kept]
        except ValueError as error:
            raise ProblemError("request-refused", str(error)) from error
        return HeadAnswer(head=str(await asyncio.to_thread(office.store.audit.verify, kept=kept)))
