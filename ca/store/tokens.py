"""Join tokens: each lets one caller in, once. Only what they hash to is kept."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from sqlalchemy import Row, delete, select, update

from ca.audit import AuditEvent, Outcome
from ca.errors import JoinTokenError, NotKeptError, TokenFault
from ca.inventory import Page
from ca.store.committing import Refusal, Transaction, Writer
from ca.store.database import Database
from ca.store.paging import page
from ca.store.pending import Pending
from ca.store.schema import join_tokens
from identity import SpiffeId

__all__ = ["JoinToken", "JoinTokens", "NewJoinToken"]

_BYTES = 32


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What is kept of a token: whoever shows it first, before it expires, is `spiffe_id`. `used` says when that was."""

    id: str
    spiffe_id: SpiffeId
    created: datetime
    expires: datetime
    used: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewJoinToken:
    """A token that was just made. Its `text`, 256 random bits, is nowhere else."""

    kept: JoinToken
    text: str = field(repr=False)


class JoinTokens:
    """The join tokens that were given out."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    def create(self, spiffe_id: SpiffeId, *, ttl: timedelta, by: str, at: datetime) -> Pending[NewJoinToken]:
        """Make a token that is good for `ttl`.

        Raises:
            ValueError: `ttl` is not positive.
            StoreUnavailableError: nobody can tell whether it was kept; it is lost in any case.
        """
        if ttl <= timedelta(0):
            raise ValueError(f"a join token that is good for {ttl} is good for nothing")
        text = secrets.token_urlsafe(_BYTES)
        kept = JoinToken(str(uuid4()), spiffe_id, at, at + ttl)

        def work(transaction: Transaction) -> NewJoinToken:
            transaction.append(
                join_tokens,
                {
                    "id": kept.id,
                    "token_sha256": _digest(text),
                    "spiffe_id": str(spiffe_id),
                    "created": at,
                    "expires": kept.expires,
                },
            )
            transaction.audit(_event(at, by, "token create", kept))
            return NewJoinToken(kept, text)

        return self._writer.submit(work)

    def redeem(self, text: str, *, by: str, at: datetime) -> Pending[JoinToken]:
        """Use up a token. Of all who show it at the same time, to whichever replica, one succeeds.

        Raises:
            JoinTokenError: it is unknown, used or expired. The audit says which.
            StoreUnavailableError: nobody can tell whether it was used up.
        """
        # Hashed first: what the comparison gives away of its time is of no use to whoever guesses.
        same = join_tokens.c.token_sha256 == _digest(text)

        def work(transaction: Transaction) -> JoinToken | Refusal:
            used = transaction.write(
                update(join_tokens)
                .where(same, join_tokens.c.used.is_(None), join_tokens.c.expires > at)
                .values(used=at)
                .returning(join_tokens)
            ).one_or_none()
            if used is not None:
                token = _token(used)
                transaction.audit(_event(at, by, "token redeem", token))
                return token
            row = transaction.read(select(join_tokens).where(same)).one_or_none()
            known = None if row is None else _token(row)
            if known is None:
                fault = TokenFault.UNKNOWN
            else:
                fault = TokenFault.EXPIRED if known.used is None else TokenFault.USED
            transaction.audit(_event(at, by, "token redeem", known, fault))
            return Refusal(JoinTokenError(fault))

        return self._writer.submit(work)

    def used(self, text: str) -> JoinToken:
        """A token that is used up.

        Raises:
            NotKeptError: there is none that has this text, or it is not.
            StoreUnavailableError: nobody can tell.
        """
        same = (join_tokens.c.token_sha256 == _digest(text)) & join_tokens.c.used.is_not(None)
        with self._database.read() as connection:
            row = connection.execute(select(join_tokens).where(same)).one_or_none()
        if row is None:
            raise NotKeptError("join token", "used")
        return _token(row)

    def withdraw(self, token_id: str, *, by: str, at: datetime) -> Pending[JoinToken]:
        """Forget a token, so that nobody can use it.

        Raises:
            NotKeptError: there is none of that id.
            StoreUnavailableError: nobody can tell whether it was forgotten.
        """

        def work(transaction: Transaction) -> JoinToken:
            row = transaction.read(select(join_tokens).where(join_tokens.c.id == token_id)).one_or_none()
            if row is None:
                raise NotKeptError("join token", token_id)
            token = _token(row)
            transaction.write(delete(join_tokens).where(join_tokens.c.id == token_id))
            transaction.audit(_event(at, by, "token withdraw", token))
            return token

        return self._writer.submit(work)

    def list(self, *, size: int = 100, after: str | None = None) -> Page[JoinToken]:
        """All tokens, oldest first.

        Raises:
            ValueError: `size` is out of bounds, or `after` is of another list.
            StoreUnavailableError: they cannot be read.
        """
        with self._database.read() as connection:
            return page(connection, select(join_tokens), (join_tokens.c.number,), size=size, after=after, read=_token)


def _digest(text: str) -> bytes:
    return sha256(text.encode(errors="replace")).digest()


def _token(row: Row[Any]) -> JoinToken:
    return JoinToken(row.id, SpiffeId.parse(row.spiffe_id), row.created, row.expires, row.used)


def _event(at: datetime, by: str, action: str, token: JoinToken | None, fault: TokenFault | None = None) -> AuditEvent:
    said = [] if token is None else [f"token {token.id}"]
    if fault is not None:
        said.append(fault.value)
    return AuditEvent(
        at,
        by,
        action,
        Outcome.DONE if fault is None else Outcome.REFUSED,
        subject="" if token is None else str(token.spiffe_id),
        reason=": ".join(said),
    )
