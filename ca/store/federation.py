"""The bundles of other trust domains, as they were fetched last: each by itself, and none ever replaced by an older one."""

from datetime import datetime

from sqlalchemy import delete, insert, select, update

from ca.audit import AuditEvent, Outcome
from ca.errors import NotKeptError, StoreConflictError
from ca.store.committing import Refusal, Transaction, Writer
from ca.store.database import Database
from ca.store.pending import Pending
from ca.store.schema import federated_bundles
from identity import Bundle, TrustDomain, parse_bundle, to_document

__all__ = ["FederatedBundles"]

_ACTION = "federated bundle"


class FederatedBundles:
    """What other trust domains are verified with."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    def load(self) -> tuple[Bundle, ...]:
        """All of them, by the names of their trust domains.

        Raises:
            StoreUnavailableError: nobody can tell.
        """
        with self._database.read() as connection:
            rows = connection.execute(select(federated_bundles).order_by(federated_bundles.c.trust_domain)).all()
        return tuple(parse_bundle(bytes(row.document), TrustDomain(row.trust_domain)) for row in rows)

    def names(self) -> frozenset[TrustDomain]:
        """Of which trust domains something is kept.

        Raises:
            StoreUnavailableError: nobody can tell.
        """
        with self._database.read() as connection:
            return frozenset(map(TrustDomain, connection.execute(select(federated_bundles.c.trust_domain)).scalars()))

    def keep(self, bundle: Bundle, *, by: str, at: datetime) -> Pending[bool]:
        """Keep what was fetched instead of what was kept before, and say whether it is another.

        Raises:
            StoreConflictError: it is older than what is kept. The audit says so.
            StoreUnavailableError: nobody can tell whether it was kept.
        """
        name, document = bundle.trust_domain.name, to_document(bundle)
        here = federated_bundles.c.trust_domain == name

        def work(transaction: Transaction) -> bool | Refusal:
            row = transaction.read(select(federated_bundles).where(here)).one_or_none()
            if row is not None and bytes(row.document) == document:
                transaction.write(update(federated_bundles).where(here).values(fetched=max(at, row.fetched)))
                return False
            if row is not None:
                fault = _fault(parse_bundle(bytes(row.document), bundle.trust_domain), bundle)
                if fault is not None:
                    transaction.audit(AuditEvent(at, by, _ACTION, Outcome.REFUSED, subject=name, reason=fault))
                    return Refusal(StoreConflictError("bundle of", name, fault))
            if row is None:
                transaction.write(
                    insert(federated_bundles).values(trust_domain=name, document=document, fetched=at, changed=at)
                )
            else:
                transaction.write(
                    update(federated_bundles).where(here).values(document=document, fetched=at, changed=at)
                )
            transaction.audit(AuditEvent(at, by, _ACTION, Outcome.DONE, subject=name, reason=_described(bundle)))
            return True

        return self._writer.submit(work)

    def forget(self, trust_domain: TrustDomain, *, by: str, at: datetime) -> Pending[None]:
        """Keep none of that trust domain, as when it was set up anew and counts from the beginning.

        Raises:
            NotKeptError: there is none.
            StoreUnavailableError: nobody can tell whether it was forgotten.
        """
        name = trust_domain.name
        here = federated_bundles.c.trust_domain == name

        def work(transaction: Transaction) -> None:
            if transaction.read(select(federated_bundles.c.trust_domain).where(here)).one_or_none() is None:
                raise NotKeptError("bundle of", name)
            transaction.write(delete(federated_bundles).where(here))
            transaction.audit(AuditEvent(at, by, "federated bundle forget", Outcome.DONE, subject=name))

        return self._writer.submit(work)


def _fault(kept: Bundle, new: Bundle) -> str | None:
    if kept.sequence is None:
        return None
    if new.sequence is None:
        return f"it does not say its sequence, which was {kept.sequence}"
    if new.sequence < kept.sequence:
        return f"its sequence would fall from {kept.sequence} to {new.sequence}"
    return None


def _described(bundle: Bundle) -> str:
    sequence = "without sequence" if bundle.sequence is None else f"sequence {bundle.sequence}"
    return f"{sequence}: {len(bundle.x509_authorities)} roots, {len(bundle.jwt_authorities)} JWT keys"
