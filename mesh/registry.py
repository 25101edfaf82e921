"""Registry: finds the workload that a request is for."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from authz.workload import Workload
from identity import IdentityError, SpiffeId
from mesh.errors import UnknownWorkloadError

__all__ = ["Registry"]


class Registry:
    """The workloads of a snapshot, by every name that a request may give them."""

    __slots__ = ("_by_account", "_by_address", "_by_id")

    def __init__(self, workloads: Iterable[Workload]) -> None:
        self._by_id: dict[str, Workload] = {}
        self._by_account: dict[tuple[str, str], list[Workload]] = defaultdict(list)
        self._by_address: dict[str, list[Workload]] = defaultdict(list)
        for workload in workloads:
            self._by_id[workload.id] = workload
            self._by_account[workload.namespace, workload.service_account].append(workload)
            for address in workload.addresses:
                self._by_address[address].append(workload)

    def __len__(self) -> int:
        return len(self._by_id)

    def workloads(self) -> Mapping[str, Workload]:
        """Every workload by its id, `namespace/name`."""
        return self._by_id

    def named(self, workload_id: str) -> Workload:
        """The workload `namespace/name`.

        Raises:
            UnknownWorkloadError: There is none of that name.
        """
        found = self._by_id.get(workload_id)
        if found is None:
            raise UnknownWorkloadError(f"no workload `{workload_id}` in the manifests")
        return found

    def candidates(self, *, principal: str | None, address: str | None) -> tuple[Workload, ...]:
        """The workloads that run as `principal`, narrowed by `address` where that helps; else those at `address`. Never empty.

        Raises:
            UnknownWorkloadError: Neither leads to a workload.
        """
        running = self._running_as(principal)
        located = self._by_address.get(address, []) if address else []
        both = [workload for workload in running if workload in located]
        if found := tuple(both or running or located):
            return found
        given = " and ".join(
            f"{kind} `{value}`" for kind, value in (("principal", principal), ("address", address)) if value
        )
        raise UnknownWorkloadError(
            f"no workload has the destination's {given}" if given else "the request names no destination"
        )

    def _running_as(self, principal: str | None) -> list[Workload]:
        if not principal:
            return []
        try:
            account = SpiffeId.parse(principal).workload
        except IdentityError:
            return []
        return [] if account is None else self._by_account.get(account, [])
