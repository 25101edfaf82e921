"""Invariants: what somebody claims of all requests, as values."""

from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase

from authz.mesh_given import MeshGiven
from authz.model import Condition, Operation, Source
from authz.span import Span, Written

__all__ = [
    "Always",
    "Assumed",
    "Baseline",
    "Callers",
    "Disjoint",
    "EveryRule",
    "Invariant",
    "Never",
    "NoNewAccess",
    "Only",
    "ProofFile",
    "Requests",
    "SameAs",
    "Spelling",
    "StableUnder",
]


_ANY_SOURCE, _ANY_OPERATION = Source(), Operation()


@dataclass(frozen=True, slots=True, kw_only=True)
class Callers:
    """Who calls: all that is given must hold, and none of `without`.

    `anonymous` is whether a token is taken of them (`False`) or none (`True`), `plaintext` the same of a certificate.
    """

    source: Source = _ANY_SOURCE
    conditions: tuple[Condition, ...] = ()
    anonymous: bool | None = None
    plaintext: bool | None = None
    without: "Callers | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What is asked for, and of whom: all that is given must hold, and none of `without`.

    `workloads` are names with `*` for any part between slashes, none for every workload; `span` is where they are written.
    """

    workloads: tuple[str, ...] = ()
    operation: Operation = _ANY_OPERATION
    conditions: tuple[Condition, ...] = ()
    without: "Requests | None" = None
    span: Span | None = field(default=None, compare=False, repr=False)

    def is_about(self, workload_id: str) -> bool:
        """Whether `namespace/name` is one of the workloads."""
        return not self.workloads or any(_named(pattern, workload_id) for pattern in self.workloads)


def _named(pattern: str, workload_id: str) -> bool:
    parts, names = pattern.split("/"), workload_id.split("/")
    return len(parts) == len(names) and all(map(fnmatchcase, names, parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Another version of the mesh: a directory, a file, or `git:REVISION`."""

    name: str
    span: Span


_ANYBODY, _ANYTHING = Callers(), Requests()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """What all have: the name by which people speak of it, where it is written, whether it may be about nothing, and why."""

    id: str
    span: Span
    may_be_empty: bool = False
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Never(_Claim):
    """No request of `callers` for `requests` is allowed."""

    callers: Callers = _ANYBODY
    requests: Requests = _ANYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Always(_Claim):
    """Every request of `callers` for `requests` is allowed."""

    callers: Callers = _ANYBODY
    requests: Requests = _ANYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Only(_Claim):
    """Of the requests for `requests` none but those of `callers` are allowed, and of those at least one."""

    callers: Callers
    requests: Requests = _ANYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Disjoint(_Claim):
    """No workload of one of these namespaces may call one of another."""

    namespaces: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoNewAccess(_Claim):
    """Nothing is allowed that was not before, but what `besides` says."""

    baseline: Baseline
    besides: tuple[tuple[Callers, Requests], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SameAs(_Claim):
    """Everything is decided as before."""

    baseline: Baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class EveryRule(_Claim):
    """Each rule decides some request (`reachable`), and some that no other rule decides as well (`not_shadowed`)."""

    reachable: bool
    not_shadowed: bool


class Spelling(Enum):
    """A way to write a request differently that means the same to applications."""

    PATH_NORMALIZATION = "path-normalization"
    HEADER_DUPLICATION = "header-duplication"
    HOST_CASE = "host-case"
    METHOD_CASE = "method-case"


@dataclass(frozen=True, slots=True, kw_only=True)
class StableUnder(_Claim):
    """No request that is denied is allowed when it is spelt otherwise."""

    spellings: tuple[Spelling, ...]
    requests: Requests = _ANYTHING


Invariant = Never | Always | Only | Disjoint | NoNewAccess | SameAs | EveryRule | StableUnder


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What is taken for granted of all requests, beside what there can be at all.

    `strict_mtls` is that every caller shows an identity, `istio_callers` that it is one as Istio issues them; `hosts` are those
    that are asked for, none for any.
    """

    strict_mtls: bool = False
    istio_callers: bool = False
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofFile:
    """A file of invariants: whose policies they are about, what is assumed, and what is claimed.

    `policies` are patterns of files, from where `file` is. `mesh` is what it states of the mesh.
    """

    file: str
    policies: tuple[Written, ...]
    invariants: tuple[Invariant, ...]
    assumed: Assumed
    mesh: MeshGiven = field(default_factory=MeshGiven)
