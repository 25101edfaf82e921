"""The matrix: for each caller of a workload and each route whether it is allowed, denied, or depends on what neither says.

A cell is about all requests of that caller for that route. The analysis looks for one that is allowed and for one that is denied,
and the decision tree decides each of them again, as it would in front of the workload.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from authz.analysis.access import Guarding
from authz.analysis.space import Case
from authz.attributes import Protocol
from authz.decision import Decision, Verdict
from authz.invariants import Assumed
from authz.workload import ProxyKind, ServiceRef
from mesh.access.asking import Asking, clauses, predicates
from mesh.access.callers import Caller, CallerKind, callers
from mesh.access.cells import Answer, Cell, Seen
from mesh.access.routes import PORT, Route, routes
from mesh.deciding import Offline, decide
from mesh.errors import PolicyStoreError
from mesh.proving.ground import Contradiction, Shared, weaker
from mesh.proving.subjects import Subject, alike, subjects
from mesh.snapshot import Snapshot
from parser.request import Destination, RequestDocument

__all__ = [
    "MOST_CELLS",
    "Answer",
    "Cell",
    "Matrix",
    "MatrixMaker",
    "Older",
    "TooLargeError",
    "matrices",
    "with_the_same_ports",
]

MOST_CELLS = 20_000
"""More than anybody looks at, and a minute's work."""


class TooLargeError(PolicyStoreError):
    """A matrix, or several in one picture, have more cells than anybody looks at."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Access to workloads that are guarded alike. `callers` are those together whom nothing tells apart; a row of `cells` for each route."""

    subjects: tuple[Subject, ...]
    callers: tuple[tuple[Caller, ...], ...]
    routes: tuple[Route, ...]
    cells: tuple[tuple[Cell, ...], ...]


def matrices(snapshot: Snapshot, workload: str | None = None) -> Iterator[Matrix]:
    """The matrix of each workload, or of those of that name, those together that have the same.

    Raises:
        UnknownWorkloadError: There is none of that name.
        TooLargeError: A matrix has more than `MOST_CELLS` cells.
        Contradiction: The tree decides a request otherwise than the analysis says.
    """
    some = subjects(snapshot)
    if workload is not None and len(snapshot.registry):
        ids = set(map(id, snapshot.registry.named(workload)))
        some = [each for each in some if id(each.workload) in ids]
    for guarding, group in alike(snapshot, some):
        for same in with_the_same_ports(group):
            yield MatrixMaker(snapshot, guarding, same).matrix()


def with_the_same_ports(group: Iterable[Subject]) -> Iterator[tuple[Subject, ...]]:
    """Of workloads that are guarded alike those together that have one matrix."""
    by_ports: dict[object, list[Subject]] = {}
    for subject in group:
        by_ports.setdefault((subject.workload.ports, subject.workload.proxy), []).append(subject)
    return map(tuple, by_ports.values())


@dataclass(frozen=True, slots=True)
class Older:
    """The version with which a matrix is compared, and what stood before the workloads in it."""

    snapshot: Snapshot
    guarding: Guarding


class MatrixMaker:
    """Makes the matrix of workloads that are guarded alike; where there is an `old` version, with its callers and routes, too.

    Raises:
        TooLargeError: It would have more than `MOST_CELLS` cells.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        guarding: Guarding,
        some: tuple[Subject, ...],
        *,
        old: Older | None = None,
        assumed: Assumed | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._subjects = some
        self._document = _destination(snapshot, some[0])
        versions = [(snapshot, guarding)] if old is None else [(snapshot, guarding), (old.snapshot, old.guarding)]
        normalization, issuers = snapshot.config.path_normalization, dict(guarding.issuers)
        if old is not None:
            normalization = weaker(normalization, old.snapshot.config.path_normalization)
            issuers |= old.guarding.issuers
        self.asking: dict[Protocol, Asking] = {}
        for protocol in Protocol:
            shared = Shared(protocol, normalization=normalization, issuers=issuers, assumed=assumed or Assumed())
            self.asking[protocol] = Asking(shared, guarding, None if old is None else old.guarding)
        rules = [rule for asking in self.asking.values() for rule in asking.rules]
        workload = some[0].workload
        self._callers = callers(
            chain.from_iterable(version.registry for version, _ in versions),
            chain.from_iterable(map(predicates, rules)),
            issuers,
            trust_domains=guarding.trust_domains,
            over_mtls=workload.proxy is not ProxyKind.GATEWAY,
        )
        self._told_apart = any(len(its.modes) > 1 for _, its in versions) or any(
            clause.attribute == PORT for rule in rules for clause in clauses(rule)
        )
        self._only = workload.ports[0] if len(workload.ports) == 1 else None
        ports = workload.ports if self._told_apart and len(workload.ports) > 1 else (None,)
        self._routes = {protocol: routes(its.rules, protocol, ports) for protocol, its in self.asking.items()}
        most = max(map(len, self._routes.values()))
        self.size = sum(map(len, self._routes.values())) * len(self._callers)
        """How many cells it has before those that are alike are folded."""
        if most * len(self._callers) > MOST_CELLS:
            raise TooLargeError(
                f"the matrix of {some[0].name} has {most} routes and {len(self._callers)} kinds of callers, which is "
                f"more than {MOST_CELLS} cells"
            )

    def matrix(self) -> Matrix:
        """The matrix.

        Raises:
            Contradiction: The tree, or the reference, decides a request otherwise than the analysis says.
        """
        rows: list[tuple[Route, list[Cell]]] = []
        for protocol, asking in self.asking.items():
            literals = [(route, asking.route(route, self._only)) for route in self._routes[protocol]]
            whose = [asking.caller(group[0]) for group in self._callers]
            for route, literal in literals:
                rows.append((route, [self._cell(asking, caller, literal) for caller in whose]))
        return _folded(self._subjects, self._callers, rows)

    def within(self, protocol: Protocol) -> int:
        """The literal that holds for what a cell speaks for: whatever no rule tells from the requests of one.

        To be asked for before the first matrix.
        """
        asking = self.asking[protocol]
        any_of = asking.ground.space.circuit.any_of
        only = self._only if self._told_apart else None
        return asking.ground.space.circuit.all_of(
            (
                any_of([asking.callers_like(group[0]) for group in self._callers]),
                any_of([asking.routes_like(route, only) for route in self._routes[protocol]]),
            )
        )

    def _cell(self, asking: Asking, caller: int, route: int) -> Cell:
        found = [asking.find(caller, route, verdict) for verdict in (Verdict.ALLOW, Verdict.DENY)]
        allowed, denied = (None if case is None else Seen(case, self._decided(case)) for case in found)
        for seen, verdict in ((allowed, Verdict.ALLOW), (denied, Verdict.DENY)):
            if seen is not None and seen.decision.verdict is not verdict:
                raise Contradiction(f"{seen.case.attributes} is {seen.decision.verdict.value} by the tree")
        on = () if allowed is None or denied is None else tuple(asking.differing(allowed, denied))
        return Cell(allowed, denied, on, asking.before(caller, route))

    def _decided(self, case: Case) -> Decision:
        document = RequestDocument(destination=self._document, attributes=case.attributes)
        return decide(self._snapshot, document, Offline(at=0, allowed_by=case.allowed_by))


def _destination(snapshot: Snapshot, subject: Subject) -> Destination:
    workload, service = subject.workload, subject.service
    known: ServiceRef | None = service
    if len(snapshot.registry) and len(snapshot.registry.named(workload.id)) == 1:
        return Destination(workload=workload.id, service=known)
    return Destination(namespace=workload.namespace, labels=workload.labels, service=known)


# Folding: what is the same is shown once -------------------------------------------------------------------------------


_ORDER = (CallerKind.ACCOUNT, CallerKind.PATTERN, CallerKind.TOKEN, CallerKind.OTHER, CallerKind.PLAINTEXT)


def _folded(
    some: tuple[Subject, ...], groups: Sequence[Sequence[Caller]], rows: Sequence[tuple[Route, Sequence[Cell]]]
) -> Matrix:
    columns: list[tuple[list[Caller], list[Cell]]] = []
    for position, group in enumerate(groups):
        column = [cells[position] for _, cells in rows]
        same = next((known for known in columns if _alike(known[1], column)), None)
        if same is None:
            columns.append((list(group), column))
        else:
            same[0].extend(group)
    # Who is somebody stands before who is anybody.
    columns.sort(key=lambda column: max(_ORDER.index(caller.kind) for caller in column[0]))
    kept: list[tuple[Route, tuple[Cell, ...]]] = []
    for number, (route, _) in enumerate(rows):
        cells = tuple(column[number] for _, column in columns)
        if kept and (both := _together(kept[-1][0], route)) is not None and _alike(kept[-1][1], cells):
            kept[-1] = both, cells
        else:
            kept.append((route, cells))
    return Matrix(
        subjects=some,
        callers=tuple(tuple(group) for group, _ in columns),
        routes=tuple(route for route, _ in kept),
        cells=tuple(cells for _, cells in kept),
    )


def _alike(some: Sequence[Cell], others: Sequence[Cell]) -> bool:
    return all(one.told == other.told for one, other in zip(some, others, strict=True))


def _together(before: Route, route: Route) -> Route | None:
    """Both as one, if they differ in their methods only."""
    if (before.protocol, before.path, before.port) != (route.protocol, route.path, route.port) or before.others:
        return None
    if route.protocol is Protocol.TCP:
        return None
    if not route.others:
        return Route(methods=(*before.methods, *route.methods), path=route.path, port=route.port)
    # All methods but those that stand alone, and these are no longer alone.
    rest = tuple(method for method in route.methods if method not in before.methods)
    return Route(methods=rest, others=True, path=route.path, port=route.port)
