"""The graph: who may call whom, a line for each caller of a workload who may more than anyone may."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from authz.attributes import Protocol
from authz.matcher import matches
from mesh.access.callers import Caller, CallerKind
from mesh.access.matrix import Answer, Cell, Matrix
from mesh.access.routes import Route
from mesh.snapshot import Snapshot

__all__ = ["Edge", "Graph", "Node", "What", "graph"]


@dataclass(frozen=True, slots=True)
class What:
    """What somebody may do: the routes that are always allowed, and those that are under conditions, by their names."""

    allowed: tuple[str, ...]
    depends: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.allowed or self.depends)


@dataclass(frozen=True, slots=True)
class Node:
    """A workload in its namespace, or in none a caller that the manifests do not hold.

    `mesh` is what anyone in the mesh may ask of it, and `plaintext` what even who shows no identity and no token may.
    """

    name: str
    namespace: str | None
    mesh: What
    plaintext: What


@dataclass(frozen=True, slots=True)
class Edge:
    """That a node may ask something of another, by their names."""

    source: str
    target: str
    what: What


@dataclass(frozen=True, slots=True)
class Graph:
    """The nodes, by namespace and name, those outside last; and the lines between them."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


_NOTHING = What((), ())


def graph(snapshot: Snapshot, matrices: Iterable[Matrix]) -> Graph:
    """Who may call whom, by the matrices of a mesh or of some of its workloads.

    Who may no more than anyone in the mesh has no line of his own: what anyone may is said at the workload.
    """
    running: defaultdict[str, list[str]] = defaultdict(list)
    namespaces = {workload.id: workload.namespace for workload in snapshot.registry}
    for workload in snapshot.registry:
        running[f"{workload.namespace}/{workload.service_account}"].append(workload.id)
    nodes: dict[str, Node] = {}
    edges: dict[tuple[str, str], What] = {}
    for matrix in matrices:
        by_kind = {caller.kind: _what(matrix, place) for place, caller in _columns(matrix)}
        mesh, plaintext = by_kind.get(CallerKind.OTHER, _NOTHING), by_kind.get(CallerKind.PLAINTEXT, _NOTHING)
        for subject in matrix.subjects:
            nodes[subject.name] = Node(subject.name, subject.workload.namespace, mesh, plaintext)
        accounts = [caller for _, caller in _columns(matrix) if caller.name in running]
        for place, caller in _columns(matrix):
            what = _what(matrix, place)
            beyond = mesh if caller.kind is not CallerKind.TOKEN else plaintext
            if not what or what in (mesh, beyond) or caller.kind in (CallerKind.OTHER, CallerKind.PLAINTEXT):
                continue
            # Of a namespace whose accounts are here, each has its own line.
            if caller.kind is CallerKind.PATTERN and any(_is_one(account, caller) for account in accounts):
                continue
            for source in running.get(caller.name) or [caller.name]:
                edges.update(((source, subject.name), what) for subject in matrix.subjects if subject.name != source)
    for source, _ in edges:
        if source not in nodes:
            nodes[source] = Node(source, namespaces.get(source), _NOTHING, _NOTHING)
    return Graph(
        nodes=tuple(sorted(nodes.values(), key=lambda node: (node.namespace is None, node.namespace or "", node.name))),
        edges=tuple(Edge(*ends, what) for ends, what in sorted(edges.items(), key=lambda item: item[0])),
    )


def _columns(matrix: Matrix) -> Iterator[tuple[int, Caller]]:
    return ((place, caller) for place, group in enumerate(matrix.callers) for caller in group)


def _is_one(account: Caller, pattern: Caller) -> bool:
    identity, predicate = account.identity, pattern.predicate
    return identity is not None and predicate is not None and matches(predicate.matcher, identity)


def _what(matrix: Matrix, place: int) -> What:
    column = [(route, cells[place]) for route, cells in zip(matrix.routes, matrix.cells, strict=True)]
    return What(tuple(_routes(column, Answer.ALLOW)), tuple(_routes(column, Answer.DEPENDS)))


def _routes(column: Sequence[tuple[Route, Cell]], answer: Answer) -> Iterator[str]:
    """The names of those that are answered so; all of a protocol by its name."""
    every = {protocol for protocol in Protocol if _all(column, protocol, answer)}
    if len(every) == len(Protocol):
        yield "anything"
        return
    if Protocol.HTTP in every:
        yield "any HTTP"
    yield from (
        route.name
        for route, cell in column
        if cell.answer is answer and not (route.protocol is Protocol.HTTP and Protocol.HTTP in every)
    )


def _all(column: Sequence[tuple[Route, Cell]], protocol: Protocol, answer: Answer) -> bool:
    answers = {cell.answer for route, cell in column if route.protocol is protocol} - {Answer.NEVER}
    return answers == {answer}
