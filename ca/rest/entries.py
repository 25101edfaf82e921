"""Registration entries over HTTP."""

import asyncio
from dataclasses import replace
from typing import Annotated

from fastapi import FastAPI, Query, Response
from pydantic import AwareDatetime, Field

from ca.entries import Entry, EntryFilter
from ca.office import Office
from ca.registration import require_registrable
from ca.rest.managing import ADMIN_SECURITY, WHO_MANAGES, Admin
from ca.rest.problems import ProblemError, documented
from ca.rest.words import (
    Answer,
    Asked,
    Id,
    Listed,
    Named,
    Prefix,
    Seconds,
    paged,
    read_name,
    read_trust_domain,
    seconds,
)
from ca.selector import Selector

__all__ = ["add_entries"]

_Selector = Annotated[str, Field(max_length=1024, examples=["k8s:ns:shop"])]


class EntryAsked(Asked):
    """A registration entry to be made."""

    spiffe_id: Named
    selectors: Annotated[list[_Selector], Field(min_length=1, max_length=64, description="All of them have to apply.")]
    ttl: Seconds | None = None
    jwt_ttl: Seconds | None = None
    dns_names: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=64)] = Field(
        default_factory=list
    )
    federates_with: Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=64)] = Field(
        default_factory=list
    )
    admin: Annotated[bool, Field(description="Whether who has it may manage the authority.")] = False
    hint: Annotated[str, Field(max_length=1024)] = ""


class EntryAnswer(Answer):
    """A registration entry. A lifetime that is not given is the authority's own."""

    id: str
    spiffe_id: str
    selectors: list[str]
    created: AwareDatetime
    ttl: int | None
    jwt_ttl: int | None
    dns_names: list[str]
    federates_with: list[str]
    admin: bool
    hint: str

    @classmethod
    def of(cls, entry: Entry) -> "EntryAnswer":
        """The same in words."""
        return cls(
            id=entry.id,
            spiffe_id=str(entry.spiffe_id),
            selectors=[str(selector) for selector in sorted(entry.selectors)],
            created=entry.created,
            ttl=None if entry.ttl is None else int(entry.ttl.total_seconds()),
            jwt_ttl=None if entry.jwt_ttl is None else int(entry.jwt_ttl.total_seconds()),
            dns_names=list(entry.dns_names),
            federates_with=[str(domain) for domain in sorted(entry.federates_with)],
            admin=entry.admin,
            hint=entry.hint,
        )


class EntriesAsked(Listed):
    """Which entries to list."""

    spiffe_id: Named | None = None
    prefix: Prefix | None = None
    selector: _Selector | None = None


class EntriesAnswer(Answer):
    """A piece of the list."""

    entries: list[EntryAnswer]
    next: str | None


def add_entries(app: FastAPI, office: Office) -> None:
    """Making, listing, reading and deleting them."""

    @app.post(
        "/v1/entries",
        summary="Make a registration entry",
        tags=["entries"],
        status_code=201,
        openapi_extra=ADMIN_SECURITY,
        responses={
            200: {"description": "There was one that says the same.", "model": EntryAnswer},
            **documented(
                *WHO_MANAGES,
                *("request-refused", "body-refused", "body-too-long", "media-type-refused"),
                *("name-refused", "lifetime-refused", "entry-refused", "conflict", "not-ready"),
            ),
        },
    )
    async def create(asked: EntryAsked, admin: Admin, response: Response) -> EntryAnswer:
        at = office.clock()
        spiffe_id = read_name(asked.spiffe_id)
        domains = frozenset(map(read_trust_domain, asked.federates_with))
        selectors = [Selector.parse(text) for text in asked.selectors]
        try:
            entry = replace(
                Entry.new(spiffe_id, selectors, at=at),
                ttl=seconds(asked.ttl),
                jwt_ttl=seconds(asked.jwt_ttl),
                dns_names=tuple(asked.dns_names),
                federates_with=domains,
                admin=asked.admin,
                hint=asked.hint,
            )
        except ValueError as error:
            raise ProblemError("entry-refused", str(error)) from error
        require_registrable(entry, office.trust_domain, office.settings)
        kept = await office.store.entries.create(entry, by=admin.name, at=at)
        response.headers["Location"] = f"/v1/entries/{kept.id}"
        if kept.id != entry.id:
            response.status_code = 200
        return EntryAnswer.of(kept)

    @app.get(
        "/v1/entries",
        summary="List registration entries",
        tags=["entries"],
        openapi_extra=ADMIN_SECURITY,
        responses=documented(*WHO_MANAGES, "request-refused", "name-refused", "not-ready"),
    )
    async def listed(asked: Annotated[EntriesAsked, Query()], _: Admin) -> EntriesAnswer:
        wanted = EntryFilter(
            spiffe_id=None if asked.spiffe_id is None else read_name(asked.spiffe_id),
            prefix=asked.prefix,
            selector=None if asked.selector is None else Selector.parse(asked.selector),
        )
        with paged():
            found = await asyncio.to_thread(office.store.entries.list, wanted, size=asked.size, after=asked.after)
        return EntriesAnswer(entries=[EntryAnswer.of(entry) for entry in found.rows], next=found.next)

    @app.get(
        "/v1/entries/{entry_id}",
        summary="One registration entry",
        tags=["entries"],
        openapi_extra=ADMIN_SECURITY,
        responses=documented(*WHO_MANAGES, "request-refused", "not-found", "not-ready"),
    )
    async def one(entry_id: Id, _: Admin) -> EntryAnswer:
        return EntryAnswer.of(await asyncio.to_thread(office.store.entries.get, entry_id))

    @app.delete(
        "/v1/entries/{entry_id}",
        summary="Delete a registration entry; what was issued by it stays good until it ends or is revoked",
        tags=["entries"],
        openapi_extra=ADMIN_SECURITY,
        responses=documented(*WHO_MANAGES, "request-refused", "not-found", "not-ready"),
    )
    async def delete(entry_id: Id, admin: Admin) -> EntryAnswer:
        return EntryAnswer.of(await office.store.entries.delete(entry_id, by=admin.name, at=office.clock()))
