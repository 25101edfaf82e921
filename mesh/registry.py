"""Registry: finds the workload that a request is for."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain

from authz.workload import Workload
from identity import IdentityError, SpiffeId
from mesh.errors import UnknownWorkloadError
from parser.diagnostics import quoted

__all__ = ["Registry"]


class Registry:
    """The workloads of a snapshot, by every name that a request may give them."""

    __slots__ = ("_by_account", "_by_address", "_by_id")

    def __init__(self, workloads: Iterable[Workload]) -> None:
        self._by_id: dict[str, list[Workload]] = defaultdict(list)
        self._by_account: dict[tuple[str, str], list[Workload]] = defaultdict(list)
        self._by_address: dict[str, list[Workload]] = defaultdict(list)
        for workload in workloads:
            self._by_id[workload.id].append(workload)
            self._by_account[workload.namespace, workload.service_account].append(workload)
            for address in workload.addresses:
                self._by_address[address].append(workload)

    def __len__(self) -> int:
        return sum(map(len, self._by_id.values()))

    def __iter__(self) -> Iterator[Workload]:
        return chain.from_iterable(self._by_id.values())

    def named(self, workload_id: str) -> tuple[Workload, ...]:
        """The workloads `namespace/name`: several where, say, a Deployment and a Job share the name. Never empty.

        Raises:
            UnknownWorkloadError: There is none of that name.
        """
        if found := tuple(self._by_id.get(workload_id, ())):
            return found
        raise UnknownWorkloadError(f"no workload {quoted(workload_id)} in the manifests")

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
            f"{kind} {quoted(value)}" for kind, value in (("principal", principal), ("address", address)) if value
        )
        raise UnknownWorkloadError(
            f"no workload in the manifests has the destination's {given}"
            if given
            else "the request names no destination"
        )

    def _running_as(self, principal: str | None) -> list[Workload]:
        if not principal:
            return []
        try:
            account = SpiffeId.parse(principal).workload
        except IdentityError:
            return []
        return [] if account is None else self._by_account.get(account, [])
