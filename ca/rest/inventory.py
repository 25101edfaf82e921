"""The inventory over HTTP: what was issued, and revoking it."""

import asyncio
from datetime import datetime
from typing import Annotated

from fastapi import FastAPI, Path, Query
from pydantic import AwareDatetime, Field

from ca.inventory import InventoryFilter, Issued, IssuedKind, IssuedState, RevocationReason
from ca.office import Office
from ca.rest.managing import ADMIN_SECURITY, WHO_MANAGES, Admin
from ca.rest.problems import documented
from ca.rest.words import Answer, Asked, Listed, Named, Prefix, Seconds, paged, read_name, seconds

__all__ = ["add_inventory"]

_Serial = Annotated[
    str,
    Path(pattern="^[0-9a-f]{1,40}$", description="In lower-case hexadecimal; of a token, its id (`jti`)."),
]


class IssuedAnswer(Answer):
    """A row of the inventory."""

    serial: str
    kind: IssuedKind
    state: IssuedState
    spiffe_id: str
    issuer: Annotated[str, Field(description="The id of what signed it.")]
    entry: Annotated[str | None, Field(description="The registration entry by which it was issued.")]
    caller: str
    not_before: AwareDatetime
    not_after: AwareDatetime
    intended: AwareDatetime
    released: AwareDatetime | None
    spki_sha256: str | None
    revoked: AwareDatetime | None
    revocation_reason: RevocationReason | None

    @classmethod
    def of(cls, row: Issued, at: datetime) -> "IssuedAnswer":
        """The same in words, as it is at `at`."""
        intent, revoked = row.intent, row.revoked
        return cls(
            serial=intent.serial,
            kind=intent.kind,
            state=row.state(at),
            spiffe_id=str(intent.spiffe_id),
            issuer=intent.issuer,
            entry=intent.entry,
            caller=intent.caller,
            not_before=intent.not_before,
            not_after=intent.not_after,
            intended=row.intended,
            released=row.released,
            spki_sha256=None if intent.spki_sha256 is None else intent.spki_sha256.hex(),
            revoked=None if revoked is None else revoked.at,
            revocation_reason=None if revoked is None else revoked.reason,
        )


class InventoryAsked(Listed):
    """Which rows to list: those that meet all that is given. Times are from, inclusive, to, exclusive."""

    spiffe_id: Named | None = None
    prefix: Prefix | None = None
    issuer: Annotated[str, Field(pattern=r"^[0-9a-f]{1,128}$")] | None = None
    kind: IssuedKind | None = None
    caller: Annotated[str, Field(max_length=4096, pattern=r"^[^\x00-\x1f]*$")] | None = None
    state: IssuedState | None = None
    expiring_within: Seconds | None = None
    intended_from: AwareDatetime | None = None
    intended_to: AwareDatetime | None = None
    expires_from: AwareDatetime | None = None
    expires_to: AwareDatetime | None = None

    def filter(self) -> InventoryFilter:
        """The same for the store."""
        return InventoryFilter(
            spiffe_id=None if self.spiffe_id is None else read_name(self.spiffe_id),
            prefix=self.prefix,
            issuer=self.issuer,
            kind=self.kind,
            caller=self.caller,
            state=self.state,
            expiring_within=seconds(self.expiring_within),
            intended_from=self.intended_from,
            intended_to=self.intended_to,
            expires_from=self.expires_from,
            expires_to=self.expires_to,
        )


class InventoryAnswer(Answer):
    """A piece of the list."""

    issued: list[IssuedAnswer]
    next: str | None


class RevocationAsked(Asked):
    """Why something is revoked (RFC 5280 5.3.1)."""

    # A name in JSON is text; strictly it would be none of these.
    reason: Annotated[RevocationReason, Field(strict=False)]


def add_inventory(app: FastAPI, office: Office) -> None:
    """Listing, reading and revoking."""

    @app.get(
        "/v1/inventory",
        summary="List what was issued",
        tags=["inventory"],
        openapi_extra=ADMIN_SECURITY,
        responses=documented(*WHO_MANAGES, "request-refused", "name-refused", "not-ready"),
    )
    async def listed(asked: Annotated[InventoryAsked, Query()], _: Admin) -> InventoryAnswer:
        at, wanted = office.clock(), asked.filter()
        with paged():
            found = await asyncio.to_thread(
                office.store.inventory.list, wanted, at=at, size=asked.size, after=asked.after
            )
        return InventoryAnswer(issued=[IssuedAnswer.of(row, at) for row in found.rows], next=found.next)

    @app.get(
        "/v1/inventory/{serial}",
        summary="One certificate or token",
        tags=["inventory"],
        openapi_extra=ADMIN_SECURITY,
        responses=documented(*WHO_MANAGES, "request-refused", "not-found", "not-ready"),
    )
    async def one(serial: _Serial, _: Admin) -> IssuedAnswer:
        return IssuedAnswer.of(await asyncio.to_thread(office.store.inventory.get, serial), office.clock())

    @app.post(
        "/v1/inventory/{serial}/revoke",
        summary="Revoke a certificate; one that is revoked stays as it is",
        tags=["inventory"],
        openapi_extra=ADMIN_SECURITY,
        responses=documented(
            *WHO_MANAGES,
            *("request-refused", "body-refused", "body-too-long", "media-type-refused"),
            *("not-found", "not-ready"),
        ),
    )
    async def revoke(serial: _Serial, asked: RevocationAsked, admin: Admin) -> IssuedAnswer:
        at = office.clock()
        return IssuedAnswer.of(await office.store.inventory.revoke(serial, asked.reason, by=admin.name, at=at), at)
