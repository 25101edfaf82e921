"""Reach: which of the workloads that manifests declare a policy is for, found without trying each."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from authz.request_authentication import RequestAuthentication
from authz.selection import Attachable, applies, select
from authz.workload import GATEWAY_LABEL, ProxyKind, Workload

__all__ = ["Reach"]

# A place in which workloads are looked for: a namespace, or everywhere.
_Place = str | None


class Reach:
    """The workloads of a mesh, by namespace and label. Of those that are alike to every policy it knows one."""

    def __init__(
        self, workloads: Iterable[Workload], tokens: Sequence[RequestAuthentication], *, root_namespace: str
    ) -> None:
        self._tokens = tokens
        self._root = root_namespace
        self._in: dict[_Place, list[Workload]] = defaultdict(list)
        self._labelled: dict[tuple[_Place, str, str], list[Workload]] = defaultdict(list)
        self._values: dict[tuple[_Place, str], list[str]] = defaultdict(list)
        self._takes_tokens: dict[int, bool] = {}
        alike = {(each.namespace, frozenset(each.labels.items()), each.proxy): each for each in workloads}
        for workload in alike.values():
            for place in (None, workload.namespace):
                self._in[place].append(workload)
                for label, value in workload.labels.items():
                    self._labelled[place, label, value].append(workload)

    @property
    def exists(self) -> bool:
        """Whether there are any workloads."""
        return bool(self._in)

    @property
    def has_waypoint(self) -> bool:
        """Whether one of the workloads is a waypoint."""
        return any(workload.proxy is ProxyKind.WAYPOINT for workload in self._in.get(None, ()))

    def of(self, policy: Attachable) -> Iterator[Workload]:
        """The workloads that `policy` is for, but for waypoints that it names by a service or a class."""
        candidates: Iterable[Workload]
        if policy.target_refs:
            named = (
                self._labelled.get((policy.namespace, GATEWAY_LABEL, each.name), ()) for each in policy.target_refs
            )
            candidates = chain.from_iterable(named)
        else:
            candidates = self.candidates(policy.namespace, policy.selector or {})
        return (workload for workload in candidates if applies(policy, workload, root_namespace=self._root))

    def candidates(self, namespace: str, selector: Mapping[str, str]) -> Sequence[Workload]:
        """At least the workloads that a policy in `namespace` selects: those with one of its labels, of which there are fewest."""
        place = None if namespace == self._root else namespace
        if not selector:
            return self._in.get(place, ())
        return min((self._labelled.get((place, *label), ()) for label in selector.items()), key=len)

    def values(self, namespace: str, label: str) -> Sequence[str]:
        """The values that a label has where a policy in `namespace` looks."""
        if not self._values:
            for place, name, value in self._labelled:
                self._values[place, name].append(value)
        return self._values.get((None if namespace == self._root else namespace, label), ())

    def takes_tokens(self, workload: Workload) -> bool:
        """Whether somebody's tokens are verified before `workload`."""
        known = self._takes_tokens.get(id(workload))
        if known is None:
            applicable = select(self._tokens, workload, root_namespace=self._root)
            known = self._takes_tokens[id(workload)] = any(policy.jwt_rules for policy in applicable)
        return known
