"""Entitlements: which names a caller may have. Decided here and nowhere else, for every edge alike."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from ca.attestation import Attestor, Caller
from ca.entries import Entry
from ca.errors import EntitlementFault, NotEntitledError, NotKeptError
from ca.selector import Selector
from identity import SpiffeId

__all__ = ["ISTIO_ENTRY", "Entitlements", "KnownEntries"]

ISTIO_ENTRY = "service-account"
"""What stands for an entry where a cluster's service accounts have their names without one, as in Istio."""

_ALWAYS = datetime.min.replace(tzinfo=UTC)


class KnownEntries(Protocol):
    """Registration entries, as `ca.store.KeptEntries` has them."""

    def entries_for(self, selectors: frozenset[Selector], /) -> tuple[Entry, ...]:
        """Those that apply to a caller with `selectors`, oldest first."""

    def get(self, entry_id: str) -> Entry:
        """The one of that id, or `NotKeptError`."""


@dataclass(frozen=True, slots=True)
class Entitlements:
    """Who may have what, by the registration entries.

    `istio_clusters` are the names of Kubernetes clusters whose service accounts need no entry: each may have the name that
    Istio gives it.
    """

    entries: KnownEntries
    istio_clusters: frozenset[str] = field(default=frozenset())

    def of(self, caller: Caller) -> tuple[Entry, ...]:
        """What `caller` may have, the oldest entry first: the first is its default identity.

        Raises:
            StoreUnavailableError: nobody can tell.
        """
        match caller.attestor:
            case Attestor.ADMIN | Attestor.AUTHORITY:
                return ()
            case Attestor.CURRENT_SVID:
                return self._renewed(caller)
            case _:
                return (*self.entries.entries_for(caller.selectors), *self._of_service_account(caller))

    def one(self, caller: Caller, wanted: SpiffeId | None) -> Entry:
        """The entry by which `caller` may have `wanted`, or its only name where it leaves that open.

        Raises:
            NotEntitledError: it may have none, not that one, or several and did not say which.
            StoreUnavailableError: nobody can tell.
        """
        found = self.of(caller)
        if not found:
            raise NotEntitledError(caller.name, EntitlementFault.NO_IDENTITY, "no identity issued")
        if wanted is None:
            if len({entry.spiffe_id for entry in found}) > 1:
                reason = f"it may have {len(found)} names, and does not say which it asks for"
                raise NotEntitledError(caller.name, EntitlementFault.SEVERAL_IDENTITIES, reason)
            return found[0]
        for entry in found:
            if entry.spiffe_id == wanted:
                return entry
        reason = f"it may not have {str(wanted)!r}"
        raise NotEntitledError(caller.name, EntitlementFault.OTHER_IDENTITY, reason)

    def require_admin(self, caller: Caller) -> None:
        """See that `caller` may manage the authority: by the admin token, or by an SVID that it has by an entry for admins.

        Raises:
            NotEntitledError: it may not.
            StoreUnavailableError: nobody can tell.
        """
        if caller.attestor is Attestor.ADMIN:
            return
        if caller.attestor is Attestor.CURRENT_SVID and any(entry.admin for entry in self.of(caller)):
            return
        raise NotEntitledError(caller.name, EntitlementFault.NO_ADMIN, "it may not manage the authority")

    def _renewed(self, caller: Caller) -> tuple[Entry, ...]:
        """The one name of an SVID that is shown, by the entry that it was issued by or by one about holders of such SVIDs.

        Either has to be there still, and to say the same name.
        """
        named = [entry for entry in self.entries.entries_for(caller.selectors) if entry.spiffe_id == caller.spiffe_id]
        if caller.entry is None or caller.spiffe_id is None:
            return tuple(named)
        if caller.entry.partition("/")[0] == ISTIO_ENTRY:
            cluster = caller.entry.partition("/")[2]
            return (*_service_account_entry(caller.spiffe_id, cluster, caller, self.istio_clusters), *named)
        try:
            entry = self.entries.get(caller.entry)
        except NotKeptError:
            return tuple(named)
        return (entry, *named) if entry.spiffe_id == caller.spiffe_id else tuple(named)

    def _of_service_account(self, caller: Caller) -> tuple[Entry, ...]:
        if caller.attestor is not Attestor.KUBERNETES or caller.spiffe_id is None:
            return ()
        prefix = "cluster:"
        clusters = [each.value.removeprefix(prefix) for each in caller.selectors if each.value.startswith(prefix)]
        return tuple(
            entry
            for cluster in clusters
            for entry in _service_account_entry(caller.spiffe_id, cluster, caller, self.istio_clusters)
        )


def _service_account_entry(
    spiffe_id: SpiffeId, cluster: str, caller: Caller, clusters: frozenset[str]
) -> tuple[Entry, ...]:
    if cluster not in clusters:
        return ()
    return (Entry(f"{ISTIO_ENTRY}/{cluster}", spiffe_id, caller.selectors, _ALWAYS),)
