"""The signing authorities that are kept, and what their consumers are known to hold."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from ca.audit import AuditEvent, Outcome
from ca.authorities import Authorities, Slot
from ca.errors import StoreConflictError
from ca.phases import Pace, Phase, SlotKind
from ca.store.committing import Transaction, Writer
from ca.store.database import Database
from ca.store.pending import Pending
from ca.store.schema import acknowledgements, authorities, slots
from identity import TrustDomain

__all__ = ["KeptAuthorities", "Version"]


@dataclass(frozen=True, slots=True)
class Version:
    """Authorities as they were kept, and how often they had been. `save` takes the number, so that no two step at once."""

    number: int
    authorities: Authorities


class KeptAuthorities:
    """The signing authorities of each trust domain, kept and read as a whole."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    def number(self, trust_domain: TrustDomain) -> int:
        """That of the version that was saved last; 0 if none was.

        Raises:
            StoreUnavailableError: nobody can tell.
        """
        statement = select(authorities.c.version).where(authorities.c.trust_domain == trust_domain.name)
        with self._database.read() as connection:
            return int(connection.execute(statement).scalar_one_or_none() or 0)

    def load(self, trust_domain: TrustDomain) -> Version | None:
        """What was saved last; `None` if nothing was.

        Raises:
            StoreUnavailableError: nobody can tell.
        """
        with self._database.read() as connection:
            row = connection.execute(
                select(authorities).where(authorities.c.trust_domain == trust_domain.name)
            ).one_or_none()
            if row is None:
                return None
            rows = connection.execute(
                select(slots).where(slots.c.trust_domain == trust_domain.name).order_by(slots.c.position)
            ).all()
        kept = Authorities(trust_domain, row.sequence, tuple(_slot(slot) for slot in rows), row.seen)
        return Version(row.version, kept)

    def save(
        self, changed: Authorities, *, before: Version | None, by: str, action: str, at: datetime
    ) -> Pending[Version]:
        """Keep what a step has made of `before`; `action` is what the audit calls the step.

        Raises:
            StoreConflictError: somebody else has saved since `before`, or the bundle changed and its sequence did not
                grow. Load again.
            StoreUnavailableError: nobody can tell whether it was kept.
        """
        name = changed.trust_domain.name
        version = 1 if before is None else before.number + 1

        def work(transaction: Transaction) -> Version:
            row = transaction.read(select(authorities).where(authorities.c.trust_domain == name)).one_or_none()
            if (0 if row is None else row.version) != version - 1:
                raise StoreConflictError("signing authorities of", name, "somebody else has changed them meanwhile")
            if row is not None and changed.sequence < row.sequence:
                raise StoreConflictError("bundle of", name, f"its sequence would fall from {row.sequence}")
            if before is not None and before.authorities.sequence == changed.sequence and _differ(before, changed):
                raise StoreConflictError("bundle of", name, f"it changes, and its sequence stays {changed.sequence}")
            values = {"sequence": changed.sequence, "version": version, "seen": changed.seen}
            if row is None:
                transaction.write(insert(authorities).values(trust_domain=name, **values))
            else:
                transaction.write(
                    update(authorities)
                    .where(authorities.c.trust_domain == name, authorities.c.version == row.version)
                    .values(values)
                )
            transaction.write(delete(slots).where(slots.c.trust_domain == name))
            rows = [_values(slot, name, position) for position, slot in enumerate(changed.slots)]
            if rows:
                transaction.write(insert(slots), rows)
            transaction.audit(
                AuditEvent(
                    at, by, action, Outcome.DONE, subject=name, reason=f"version {version}, bundle {changed.sequence}"
                )
            )
            return Version(version, changed)

        return self._writer.submit(work)

    def acknowledge(self, consumer: str, sequence: int, *, at: datetime) -> Pending[None]:
        """Remember that `consumer` holds the bundle of that sequence, with the next commit. What it held before is never taken back.

        Raises:
            StoreUnavailableError: nobody can tell whether it was kept.
        """

        def work(transaction: Transaction) -> None:
            transaction.acknowledge(consumer, sequence, at)

        return self._writer.submit(work, is_patient=True)

    def forget_acknowledged(self, *, before: datetime) -> Pending[None]:
        """Forget who was seen last before that.

        Raises:
            StoreUnavailableError: nobody can tell whether it was forgotten.
        """

        def work(transaction: Transaction) -> None:
            transaction.write(delete(acknowledgements).where(acknowledgements.c.seen < before))

        return self._writer.submit(work)

    def acknowledged(self, *, since: datetime) -> dict[str, int]:
        """The newest sequence of the bundle that each consumer holds, of those that were seen at `since` or later.

        Raises:
            StoreUnavailableError: nobody can tell.
        """
        # There is one for each workload of the mesh, and while a rotation waits this is asked every second: no more is read than is needed.
        statement = select(acknowledgements.c.consumer, acknowledgements.c.sequence)
        with self._database.read() as connection:
            rows = connection.execute(statement.where(acknowledgements.c.seen >= since))
            return {consumer: sequence for consumer, sequence in rows}  # noqa: C416  # a row is no pair to `dict`


def _differ(before: Version, changed: Authorities) -> bool:
    """Whether what is in the bundle is another. Told by the rows, so that no certificate is read here."""
    return _published(before.authorities) != _published(changed)


def _published(kept: Authorities) -> frozenset[str]:
    return frozenset(
        slot.id for slot in kept.slots if slot.kind is not SlotKind.INTERMEDIATE and slot.phase is not Phase.RETIRED
    )


def _values(slot: Slot, trust_domain: str, position: int) -> dict[str, Any]:
    return {
        "id": slot.id,
        "trust_domain": trust_domain,
        "position": position,
        "kind": slot.kind.value,
        "phase": slot.phase.value,
        "pace": slot.pace.value,
        "public": slot.public,
        "key_name": slot.key_name,
        "issuer": slot.issuer,
        "published": slot.published,
        "made": slot.made,
        "not_before": slot.not_before,
        "not_after": slot.not_after,
        "activated": slot.activated,
        "superseded": slot.superseded,
        "tainted": slot.tainted,
        "retired": slot.retired,
    }


def _slot(row: Row[Any]) -> Slot:
    return Slot(
        id=row.id,
        kind=SlotKind(row.kind),
        phase=Phase(row.phase),
        pace=Pace(row.pace),
        public=bytes(row.public),
        key_name=row.key_name,
        issuer=row.issuer,
        published=row.published,
        made=row.made,
        not_before=row.not_before,
        not_after=row.not_after,
        activated=row.activated,
        superseded=row.superseded,
        tainted=row.tainted,
        retired=row.retired,
    )
