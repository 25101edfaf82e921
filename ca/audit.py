"""The audit chain: what the authority did and refused, each row sealed with the hash of the one before.

The hash of a row is SHA-256 over the previous row's hash (32 bytes; zeros before the first) and the row as JSON: keys
sorted, no spaces, ASCII. Anybody can compute it again. Whoever may write to the database could still cut the end off
and forge the rest anew, so a head that is kept elsewhere (printed, in a backup) is compared as well.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256
from typing import Self

from ca.errors import BrokenAuditError

__all__ = ["EMPTY", "AuditEvent", "AuditHead", "AuditRow", "Outcome", "seal", "verify_audit"]

MAX_TEXT = 4096
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


class Outcome(Enum):
    """How it ended."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Who did what, when, and how it ended.

    `subject` is the SPIFFE ID or entry that it was about, `serial` the certificate. Texts may come from strangers: what
    cannot be printed is kept escaped, so that no reader of the log takes it for a line of its own. Never a secret.
    """

    at: datetime
    actor: str
    action: str
    outcome: Outcome
    subject: str = ""
    serial: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        for name in ("actor", "action", "subject", "serial", "reason"):
            text = getattr(self, name)
            if len(text) > MAX_TEXT or not text.isprintable():
                object.__setattr__(self, name, _printable(text))


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the chain at one moment: how many rows there are, and the hash of the last."""

    number: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.number}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` gave.

        Raises:
            ValueError: it is not that.
        """
        number, _, digest = text.partition(":")
        if not (number.isascii() and number.isdecimal()) or len(digest) != 2 * len(EMPTY.hash):
            raise ValueError(f"{text!r} is not an audit head: a number, a colon and a SHA-256 in hexadecimal")
        return cls(int(number), bytes.fromhex(digest))


EMPTY = AuditHead(0, bytes(32))
"""The head of a chain without rows."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An event in its place: the first has number 1."""

    number: int
    event: AuditEvent
    hash: bytes

    @property
    def head(self) -> AuditHead:
        """The head of the chain that ends here."""
        return AuditHead(self.number, self.hash)


def seal(before: AuditHead, event: AuditEvent) -> AuditRow:
    """The row that follows `before`."""
    number = before.number + 1
    return AuditRow(number, event, sha256(before.hash + _canonical(number, event)).digest())


def verify_audit(rows: Iterable[AuditRow], *, head: AuditHead, kept: Iterable[AuditHead] = ()) -> AuditHead:
    """Go over the whole chain and return its head.

    `head` is where the store says that it ends; `kept` are heads of earlier moments that were kept elsewhere.

    Raises:
        BrokenAuditError: a row is missing or was changed, the end was cut off, or an earlier head is not of this chain.
    """
    wanted = {checkpoint.number: checkpoint for checkpoint in (*kept, head)}
    # Two heads of one number must agree, whichever of them the mapping has.
    for checkpoint in (*kept, head):
        if wanted[checkpoint.number] != checkpoint:
            raise BrokenAuditError(checkpoint.number, "a head that was kept elsewhere has another hash")
    wanted.setdefault(0, EMPTY)
    last = EMPTY
    for row in rows:
        if row.number != last.number + 1:
            raise BrokenAuditError(last.number + 1, f"it is missing; the next is row {row.number}")
        if row.hash != seal(last, row.event).hash:
            raise BrokenAuditError(row.number, "its hash is not that of its content after the row before")
        last = row.head
        if wanted.get(row.number, last) != last:
            raise BrokenAuditError(row.number, "a head that was kept elsewhere has another hash")
    if wanted[0] != EMPTY:
        raise BrokenAuditError(0, "a head that was kept elsewhere has another hash")
    longest = max(wanted)
    if longest > last.number:
        raise BrokenAuditError(last.number + 1, f"the chain ends before it, and had {longest} rows")
    if last != head:
        raise BrokenAuditError(last.number, f"the chain goes on after its head at row {head.number}")
    return last


def _canonical(number: int, event: AuditEvent) -> bytes:
    fields = {
        "action": event.action,
        "actor": event.actor,
        "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "number": number,
        "outcome": event.outcome.value,
        "reason": event.reason,
        "serial": event.serial,
        "subject": event.subject,
    }
    return _CANONICAL.encode(fields).encode()


def _printable(text: str) -> str:
    """Escaped first and cut then: what is read back must be left as it is, or its hash would be another."""
    escaped = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[:MAX_TEXT]
    )
    return escaped if len(escaped) <= MAX_TEXT and len(text) <= MAX_TEXT else escaped[: MAX_TEXT - 1] + "…"
