"""The inventory that is kept, and what it takes to issue: intents, releases, answers to be repeated, revocations."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Row, Select, delete, func, select, type_coerce, update

from ca.audit import AuditEvent, Outcome
from ca.errors import NotKeptError, StoreConflictError
from ca.inventory import (
    Intent,
    InventoryFilter,
    Issued,
    IssuedKind,
    IssuedState,
    Page,
    Revocation,
    RevocationList,
    RevocationReason,
    RevokedSerial,
)
from ca.store.committing import Transaction, Writer
from ca.store.database import Database
from ca.store.paging import page, prefixed
from ca.store.pending import Pending
from ca.store.schema import REVOCATIONS, answers, heads, issued, to_number
from identity import SpiffeId

__all__ = ["ANSWERS_LAST", "SKEW", "Answer", "Inventory"]

SKEW = timedelta(seconds=10)
"""How far the clock may be behind what was issued already: replicas differ, and clocks are set."""
ANSWERS_LAST = timedelta(hours=24)
_LAST = 6
"""The last part of a life, as one of so many."""
_AT_A_TIME = 1000
"""Rows that are pruned in one transaction: others wait for milliseconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What `caller` got for a request that it named `key`; whoever repeats the request gets the same.

    `request_sha256` tells whether it is the same. `content` is good until `ends`, and is kept in the clear for a day: never a
    secret, and so never a token.
    """

    caller: str
    key: str
    request_sha256: bytes
    content: bytes
    ends: datetime


class Inventory:
    """Everything that was signed. A certificate is released when `complete` is done, and not before."""

    def __init__(self, database: Database, writer: Writer, *, skew: timedelta = SKEW) -> None:
        self._database = database
        self._writer = writer
        self._skew = skew

    def intend(self, intent: Intent, *, at: datetime) -> Pending[None]:
        """Write down what is about to be signed, before it is.

        Raises:
            ClockError: `at` is before what was issued already.
            StoreConflictError: there is something of that serial, or the key is another's or compromised.
            StoreUnavailableError: nobody can tell whether it was written.
        """
        name = str(intent.spiffe_id)
        row = (
            intent.serial,
            name,
            intent.kind.value,
            intent.issuer,
            to_number(intent.not_before),
            to_number(intent.not_after),
            intent.spki_sha256,
            intent.entry,
            intent.caller,
            to_number(at),
        )

        def work(transaction: Transaction) -> None:
            transaction.require_clock(at, self._skew)
            if intent.spki_sha256 is not None:
                transaction.require_key_of(intent.spki_sha256, name)
            transaction.intend(row)

        return self._writer.submit(work)

    def complete(self, intent: Intent, *, at: datetime) -> Pending[None]:
        """Record that what was intended is signed and about to be released. When this is done, it may be.

        Raises:
            StoreConflictError: it was never intended, or is released or revoked already.
            StoreUnavailableError: nobody can tell whether it was recorded; it must not be released.
        """

        def work(transaction: Transaction) -> None:
            transaction.release(intent.serial, at)
            transaction.audit(_issue_event(intent, at))

        return self._writer.submit(work)

    def complete_once(self, intent: Intent, answer: Answer, *, at: datetime) -> Pending[bytes]:
        """`complete`, unless the same request has an answer that is good still: then it stays an intent. What is to be answered is returned.

        Raises:
            StoreConflictError: as `complete`, or the key was used for another request.
            StoreUnavailableError: as `complete`.
        """

        def work(transaction: Transaction) -> bytes:
            row = transaction.read(_answer_query(answer.caller, answer.key)).one_or_none()
            if row is not None and row.given > at - ANSWERS_LAST:
                return _repeated(row, answer.key, answer.request_sha256)
            if row is not None:
                transaction.write(delete(answers).where(answers.c.caller == answer.caller, answers.c.key == answer.key))
            transaction.release(intent.serial, at)
            transaction.append(
                answers,
                {
                    "caller": answer.caller,
                    "key": answer.key,
                    "request_sha256": answer.request_sha256,
                    "answer": answer.content,
                    # What has expired is answered to nobody.
                    "given": min(at, answer.ends - ANSWERS_LAST),
                },
            )
            transaction.audit(_issue_event(intent, at))
            return answer.content

        return self._writer.submit(work)

    def recall(self, caller: str, key: str, request_sha256: bytes, *, at: datetime) -> bytes | None:
        """What the same request was answered within a day, and is good still; `None` if it was not.

        Raises:
            StoreConflictError: the key was used for another request.
            StoreUnavailableError: nobody can tell.
        """
        with self._database.read() as connection:
            row = connection.execute(_answer_query(caller, key)).one_or_none()
        if row is None or row.given <= at - ANSWERS_LAST:
            return None
        return _repeated(row, key, request_sha256)

    def get(self, serial: str) -> Issued:
        """The row of that serial.

        Raises:
            NotKeptError: there is none.
            StoreUnavailableError: nobody can tell.
        """
        with self._database.read() as connection:
            row = connection.execute(select(issued).where(issued.c.serial == serial)).one_or_none()
        if row is None:
            raise NotKeptError("certificate", serial)
        return _issued(row)

    def list(self, wanted: InventoryFilter, *, at: datetime, size: int = 100, after: str | None = None) -> Page[Issued]:
        """The rows that meet `wanted` at `at`.

        In the order in which they were intended; by name if a prefix is asked for, otherwise by when they end if that
        is. A list that goes on at a later `at` goes on in the same order.

        Raises:
            ValueError: `size` is out of bounds, or `after` is of another list.
            StoreUnavailableError: they cannot be read.
        """
        statement, order = _query(wanted, at)
        with self._database.read() as connection:
            return page(connection, statement, order, size=size, after=after, read=_issued)

    def revoke(self, serial: str, reason: RevocationReason, *, by: str, at: datetime) -> Pending[Issued]:
        """Revoke a certificate, and return its row. One that is revoked already stays as it is.

        Raises:
            NotKeptError: there is none of that serial.
            StoreUnavailableError: nobody can tell whether it was revoked.
        """

        def work(transaction: Transaction) -> Issued:
            row = transaction.read(select(issued).where(issued.c.serial == serial)).one_or_none()
            if row is None:
                raise NotKeptError("certificate", serial)
            if row.revoked is not None:
                return _issued(row)
            revoked = transaction.write(
                update(issued)
                .where(issued.c.serial == serial)
                .values(revoked=at, revoked_reason=reason.value)
                .returning(issued)
            ).one()
            transaction.count(REVOCATIONS)
            transaction.audit(
                AuditEvent(at, by, "revoke", Outcome.DONE, subject=row.spiffe_id, serial=serial, reason=reason.value)
            )
            return _issued(revoked)

        return self._writer.submit(work)

    def revocations(self, issuer: str, *, at: datetime) -> RevocationList:
        """What a revocation list of `issuer` says at `at`.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        with self._database.read() as connection:
            number = connection.execute(select(heads.c.value).where(heads.c.name == REVOCATIONS)).scalar_one()
            rows = connection.execute(
                select(issued.c.serial, issued.c.revoked, issued.c.revoked_reason)
                .where(
                    issued.c.issuer == issuer,
                    issued.c.revoked.is_not(None),
                    issued.c.not_after > at,
                    issued.c.kind == IssuedKind.X509.value,
                )
                .order_by(issued.c.not_after, issued.c.number)
            ).all()
        revoked = tuple(
            RevokedSerial(row.serial, Revocation(row.revoked, RevocationReason(row.revoked_reason))) for row in rows
        )
        return RevocationList(number, revoked)

    def count(self, wanted: InventoryFilter, *, at: datetime) -> int:
        """How many rows meet `wanted` at `at`.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        statement, _ = _query(wanted, at)
        with self._database.read() as connection:
            counted = select(func.count()).select_from(statement.with_only_columns(issued.c.number).subquery())
            return int(connection.execute(counted).scalar_one())

    def names_overdue(self, *, at: datetime) -> int:
        """How many names have certificates that are valid at `at`, all of them in the last sixth of their lives.

        Who renews at half of it, as everybody should, is not among them; who has ended meanwhile is.

        Raises:
            StoreUnavailableError: they cannot be read.
        """
        start, end = (type_coerce(column, BigInteger) for column in (issued.c.not_before, issued.c.not_after))
        valid, _ = _query(InventoryFilter(kind=IssuedKind.X509, state=IssuedState.VALID), at)
        names = (
            valid.with_only_columns(issued.c.spiffe_id)
            .group_by(issued.c.spiffe_id)
            .having(func.max(_LAST * end - (end - start)) < _LAST * to_number(at))
        )
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(names.subquery())).scalar_one())

    def last_expiry(self, issuers: Iterable[str]) -> dict[str, datetime]:
        """When the last of what each signed or was about to sign ends. What was revoked does not count.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        found: dict[str, datetime] = {}
        with self._database.read() as connection:
            for issuer in issuers:
                statement = (
                    select(issued.c.not_after)
                    .where(issued.c.issuer == issuer, issued.c.revoked.is_(None))
                    .order_by(issued.c.not_after.desc())
                    .limit(1)
                )
                latest = connection.execute(statement).scalar_one_or_none()
                if latest is not None:
                    found[issuer] = latest
        return found

    def prune(self, *, expired_before: datetime, by: str, at: datetime) -> int:
        """Forget what expired before `expired_before`, a little at a time, and return how many. The audit keeps what it says of them.

        Answers that nobody can ask for any more go as well.

        Raises:
            ValueError: something may be valid still.
            StoreUnavailableError: not all of it was forgotten.
        """
        if expired_before > at:
            raise ValueError(f"what expires before {expired_before.isoformat()} may be valid at {at.isoformat()}")
        total = 0
        while True:
            gone = self._writer.submit(lambda transaction: _prune(transaction, expired_before, by, at)).result()
            total += gone
            if gone < _AT_A_TIME:
                return total


def _prune(transaction: Transaction, expired_before: datetime, by: str, at: datetime) -> int:
    oldest = (
        select(issued.c.number)
        .where(issued.c.not_after < expired_before)
        .order_by(issued.c.not_after, issued.c.number)
        .limit(_AT_A_TIME)
    )
    gone = transaction.write(delete(issued).where(issued.c.number.in_(oldest.scalar_subquery()))).rowcount
    transaction.write(delete(answers).where(answers.c.given <= at - ANSWERS_LAST))
    if gone:
        reason = f"{gone} that expired before {expired_before.isoformat()}"
        transaction.audit(AuditEvent(at, by, "prune", Outcome.DONE, reason=reason))
    return int(gone)


def _query(wanted: InventoryFilter, at: datetime) -> tuple[Select[Any], tuple[Any, ...]]:
    statement = select(issued)
    for column, value in (
        (issued.c.spiffe_id, wanted.spiffe_id and str(wanted.spiffe_id)),
        (issued.c.issuer, wanted.issuer),
        (issued.c.kind, wanted.kind and wanted.kind.value),
        (issued.c.caller, wanted.caller),
    ):
        if value is not None:
            statement = statement.where(column == value)
    for column, start, end in (
        (issued.c.intended, wanted.intended_from, wanted.intended_to),
        (issued.c.not_after, wanted.expires_from, wanted.expires_to),
    ):
        if start is not None:
            statement = statement.where(column >= start)
        if end is not None:
            statement = statement.where(column < end)
    if wanted.expiring_within is not None:
        statement = _in_state(statement, IssuedState.VALID, at).where(issued.c.not_after < at + wanted.expiring_within)
    if wanted.state is not None:
        statement = _in_state(statement, wanted.state, at)
    if wanted.prefix is not None:
        statement = prefixed(statement, issued.c.spiffe_id, wanted.prefix)
    return statement, _order(wanted)


def _order(wanted: InventoryFilter) -> tuple[Any, ...]:
    """The order of the index that leads past the fewest rows that are not wanted."""
    if wanted.spiffe_id is not None:
        return (issued.c.number,)
    if wanted.prefix is not None:
        return (issued.c.spiffe_id, issued.c.number)
    ends = (wanted.expiring_within, wanted.expires_from, wanted.expires_to, wanted.issuer)
    if wanted.state in {IssuedState.VALID, IssuedState.EXPIRED, IssuedState.REVOKED} or any(
        value is not None for value in ends
    ):
        return (issued.c.not_after, issued.c.number)
    if wanted.intended_from is not None or wanted.intended_to is not None:
        return (issued.c.intended, issued.c.number)
    return (issued.c.number,)


def _in_state(statement: Select[Any], state: IssuedState, at: datetime) -> Select[Any]:
    """As `Issued.state` tells."""
    match state:
        case IssuedState.REVOKED:
            return statement.where(issued.c.revoked.is_not(None))
        case IssuedState.INTENDED:
            return statement.where(issued.c.revoked.is_(None), issued.c.released.is_(None))
        case IssuedState.VALID:
            return statement.where(issued.c.revoked.is_(None), issued.c.released.is_not(None), issued.c.not_after > at)
        case IssuedState.EXPIRED:
            return statement.where(issued.c.revoked.is_(None), issued.c.released.is_not(None), issued.c.not_after <= at)


def _answer_query(caller: str, key: str) -> Select[Any]:
    return select(answers).where(answers.c.caller == caller, answers.c.key == key)


def _repeated(row: Row[Any], key: str, request_sha256: bytes) -> bytes:
    if bytes(row.request_sha256) != request_sha256:
        raise StoreConflictError("idempotency key", key, "it was used for another request; take a new one")
    return bytes(row.answer)


def _issue_event(intent: Intent, at: datetime) -> AuditEvent:
    return AuditEvent(
        at,
        intent.caller,
        f"issue {intent.kind.value}",
        Outcome.DONE,
        subject=str(intent.spiffe_id),
        serial=intent.serial,
        reason="" if intent.entry is None else f"entry {intent.entry}",
    )


def _issued(row: Row[Any]) -> Issued:
    intent = Intent(
        serial=row.serial,
        spiffe_id=SpiffeId.parse(row.spiffe_id),
        kind=IssuedKind(row.kind),
        issuer=row.issuer,
        not_before=row.not_before,
        not_after=row.not_after,
        spki_sha256=None if row.spki_sha256 is None else bytes(row.spki_sha256),
        entry=row.entry,
        caller=row.caller,
    )
    revoked = None if row.revoked is None else Revocation(row.revoked, RevocationReason(row.revoked_reason))
    return Issued(intent, row.intended, row.released, revoked)
