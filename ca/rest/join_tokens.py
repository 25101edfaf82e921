"""Join tokens over HTTP."""

import asyncio
from datetime import timedelta
from typing import Annotated

from fastapi import FastAPI, Query, Response
from pydantic import AwareDatetime, Field

from ca.errors import RefusedNameError
from ca.joining import MAX_JOIN_TOKEN_TTL, new_join_token
from ca.office import Office
from ca.rest.managing import ADMIN_SECURITY, WHO_MANAGES, Admin
from ca.rest.problems import ProblemError, documented
from ca.rest.words import Answer, Asked, Id, Listed, Named, paged, read_name
from ca.store import JoinToken

__all__ = ["add_join_tokens"]


class TokenAsked(Asked):
    """A join token to be made."""

    spiffe_id: Annotated[Named, Field(description="Whose it is. An entry is made by which its holder may renew.")]
    ttl: Annotated[int, Field(gt=0, le=int(MAX_JOIN_TOKEN_TTL.total_seconds()), description="In seconds.")] = 600


class TokenAnswer(Answer):
    """What is kept of a join token."""

    id: str
    spiffe_id: str
    created: AwareDatetime
    expires: AwareDatetime
    used: AwareDatetime | None

    @classmethod
    def of(cls, token: JoinToken) -> "TokenAnswer":
        """The same in words."""
        return cls(
            id=token.id,
            spiffe_id=str(token.spiffe_id),
            created=token.created,
            expires=token.expires,
            used=token.used,
        )


class NewTokenAnswer(TokenAnswer):
    """A join token that was just made."""

    token: Annotated[str, Field(description="It is said this once, and kept nowhere.")]


class TokensAnswer(Answer):
    """A piece of the list."""

    join_tokens: list[TokenAnswer]
    next: str | None


def add_join_tokens(app: FastAPI, office: Office) -> None:
    """Making, listing and withdrawing them."""

    @app.post(
        "/v1/join-tokens",
        summary="Make a join token",
        tags=["join tokens"],
        status_code=201,
        openapi_extra=ADMIN_SECURITY,
        responses=documented(
            *WHO_MANAGES,
            *("request-refused", "body-refused", "body-too-long", "media-type-refused"),
            *("name-refused", "entry-refused", "not-ready"),
        ),
    )
    async def create(asked: TokenAsked, admin: Admin, response: Response) -> NewTokenAnswer:
        spiffe_id = read_name(asked.spiffe_id)
        if spiffe_id.trust_domain != office.trust_domain:
            raise RefusedNameError(asked.spiffe_id, f"not in trust domain `{office.trust_domain}`")
        ttl = timedelta(seconds=asked.ttl)
        try:
            made = await new_join_token(office.store, spiffe_id, ttl=ttl, by=admin.name, at=office.clock())
        except ValueError as error:
            raise ProblemError("entry-refused", str(error)) from error
        response.headers["Cache-Control"] = "no-store"
        return NewTokenAnswer(token=made.text, **TokenAnswer.of(made.kept).model_dump())

    @app.get(
        "/v1/join-tokens",
        summary="List join tokens",
        tags=["join tokens"],
        openapi_extra=ADMIN_SECURITY,
        responses=documented(*WHO_MANAGES, "request-refused", "not-ready"),
    )
    async def listed(asked: Annotated[Listed, Query()], _: Admin) -> TokensAnswer:
        with paged():
            found = await asyncio.to_thread(office.store.tokens.list, size=asked.size, after=asked.after)
        return TokensAnswer(join_tokens=[TokenAnswer.of(token) for token in found.rows], next=found.next)

    @app.delete(
        "/v1/join-tokens/{token_id}",
        summary="Withdraw a join token",
        tags=["join tokens"],
        openapi_extra=ADMIN_SECURITY,
        responses=documented(*WHO_MANAGES, "request-refused", "not-found", "not-ready"),
    )
    async def withdraw(token_id: Id, admin: Admin) -> TokenAnswer:
        return TokenAnswer.of(await office.store.tokens.withdraw(token_id, by=admin.name, at=office.clock()))
