"""Scope: for which workloads a policy is, as it says itself, whoever they are."""

from collections.abc import Iterator, Mapping
from itertools import combinations

from authz.model import TargetRef
from authz.selection import Attachable

__all__ = ["Scope", "may_meet", "scope_of", "wider_scopes"]

Scope = tuple[str, frozenset[tuple[str, str]], frozenset[TargetRef]]
"""Namespace, labels and targets: policies with the same are for the same workloads."""

# Of more labels nobody tells more than a few subsets, and there are too many to look for each.
_FEW = 4


def scope_of(policy: Attachable) -> Scope:
    """What `policy` says about where it is in force."""
    return policy.namespace, frozenset((policy.selector or {}).items()), frozenset(policy.target_refs)


def wider_scopes(scope: Scope, root_namespace: str) -> Iterator[Scope]:
    """Scopes of policies that are in force wherever one of this scope is, itself among them."""
    namespace, labels, targets = scope
    if targets:
        # What has no target is not for waypoints.
        yield scope
        return
    for place in dict.fromkeys((namespace, root_namespace)):
        for count in range(len(labels) + 1):
            if count in (0, len(labels)) or len(labels) <= _FEW:
                yield from ((place, frozenset(some), targets) for some in combinations(sorted(labels), count))


def may_meet(one: Attachable, other: Attachable, root_namespace: str) -> bool:
    """Whether there may be a workload that both are for."""
    if root_namespace not in (one.namespace, other.namespace) and one.namespace != other.namespace:
        return False
    if one.target_refs or other.target_refs:
        # Gateways take what has a target and what has none.
        return True
    return _agree(one.selector or {}, other.selector or {})


def _agree(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return all(other.get(label, value) == value for label, value in one.items())
