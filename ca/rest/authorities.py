"""The signing authorities over HTTP: what there is, what is waited for, rotating and tainting."""

import asyncio
from typing import Annotated

from fastapi import FastAPI, Path, Query
from pydantic import AwareDatetime, Field

from ca.authorities import Authorities, Slot
from ca.office import Office
from ca.phases import Pace, Phase, SlotKind
from ca.rest.managing import ADMIN_SECURITY, WHO_MANAGES, Admin
from ca.rest.problems import documented
from ca.rest.words import Answer
from ca.rotation import Wait, Waiting

__all__ = ["add_authorities"]


class SlotAnswer(Answer):
    """One signing authority, without its key."""

    id: str
    kind: SlotKind
    phase: Phase
    pace: Pace
    issuer: str | None
    published: Annotated[int, Field(description="The first sequence of the bundle that it is in.")]
    made: AwareDatetime
    not_before: AwareDatetime
    not_after: AwareDatetime
    activated: AwareDatetime | None
    superseded: AwareDatetime | None
    tainted: AwareDatetime | None
    retired: AwareDatetime | None

    @classmethod
    def of(cls, slot: Slot) -> "SlotAnswer":
        """The same in words."""
        return cls(
            id=slot.id,
            kind=slot.kind,
            phase=slot.phase,
            pace=slot.pace,
            issuer=slot.issuer,
            published=slot.published,
            made=slot.made,
            not_before=slot.not_before,
            not_after=slot.not_after,
            activated=slot.activated,
            superseded=slot.superseded,
            tainted=slot.tainted,
            retired=slot.retired,
        )


class WaitAnswer(Answer):
    """One thing that is waited for."""

    slot: str
    kind: SlotKind
    reason: Annotated[str, Field(description="Stable, for programs.")]
    detail: str
    until: AwareDatetime | None
    consumers: Annotated[list[str], Field(description="Who does not hold the bundle yet.")]
    deadline: Annotated[AwareDatetime | None, Field(description="When what signs meanwhile ends.")]

    @classmethod
    def of(cls, wait: Wait) -> "WaitAnswer":
        """The same in words."""
        return cls(
            slot=wait.slot,
            kind=wait.kind,
            reason=wait.reason.name.lower(),
            detail=wait.reason.value,
            until=wait.until,
            consumers=list(wait.consumers),
            deadline=wait.deadline,
        )


class AuthoritiesAnswer(Answer):
    """All of them."""

    trust_domain: str
    sequence: Annotated[int, Field(description="Of the bundle.")]
    slots: list[SlotAnswer]
    waiting: Annotated[list[WaitAnswer], Field(description="What keeps the next steps; empty while one is being done.")]
    failure: Annotated[str | None, Field(description="Why rotation stands still, if it does.")]


def add_authorities(app: FastAPI, office: Office) -> None:
    """Listing, rotating, tainting."""

    def described(authorities: Authorities, waiting: Waiting | None) -> AuthoritiesAnswer:
        failure = office.supervisor.failure
        return AuthoritiesAnswer(
            trust_domain=authorities.trust_domain.name,
            sequence=authorities.sequence,
            slots=[SlotAnswer.of(slot) for slot in authorities.slots],
            waiting=[] if waiting is None else [WaitAnswer.of(wait) for wait in waiting.waits],
            failure=None if failure is None else str(failure),
        )

    @app.get(
        "/v1/authorities",
        summary="What signs, signed and will sign, and what is waited for",
        tags=["authorities"],
        openapi_extra=ADMIN_SECURITY,
        responses=documented(*WHO_MANAGES, "not-ready"),
    )
    async def listed(_: Admin) -> AuthoritiesAnswer:
        authorities, step = await asyncio.to_thread(office.supervisor.outlook)
        return described(authorities, step if isinstance(step, Waiting) else None)

    @app.post(
        "/v1/authorities/{kind}/rotate",
        summary="Put a successor on its way; it signs once everybody can verify that",
        tags=["authorities"],
        openapi_extra=ADMIN_SECURITY,
        status_code=202,
        responses=documented(*WHO_MANAGES, "request-refused", "conflict", "not-ready"),
    )
    async def rotate(
        kind: SlotKind,
        admin: Admin,
        *,
        leave_behind: Annotated[bool, Query(description="Wait for no consumer that does not hold it yet.")] = False,
    ) -> AuthoritiesAnswer:
        pace = Pace.REGARDLESS if leave_behind else Pace.AT_ONCE
        return described(await asyncio.to_thread(office.supervisor.hurry, kind, pace=pace, by=admin.name), None)

    @app.post(
        "/v1/authorities/{slot}/taint",
        summary="Mark one as compromised; it signs no more, and what it signed is replaced",
        tags=["authorities"],
        openapi_extra=ADMIN_SECURITY,
        status_code=202,
        responses=documented(*WHO_MANAGES, "request-refused", "not-found", "conflict", "not-ready"),
    )
    async def taint(slot: Annotated[str, Path(pattern="^[0-9a-f]{1,64}$")], admin: Admin) -> AuthoritiesAnswer:
        return described(await asyncio.to_thread(office.supervisor.taint, slot, by=admin.name), None)
