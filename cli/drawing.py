"""Which decision trees to draw: those of a workload, or the one that a request goes through."""

from collections.abc import Iterator

from authz.attributes import Attributes, Protocol
from authz.decision import Decision
from authz.trail import Trail, follow
from authz.tree import DecisionTree
from authz.workload import Workload
from cli.picture import Kind, Mark, Twig, picture
from mesh.deciding import Offline, decide, destination_of
from mesh.snapshot import Snapshot
from mesh.view import views
from parser.request import RequestDocument

__all__ = ["tree_of_request", "trees"]


def trees(snapshot: Snapshot, workload: Workload) -> Iterator[Twig]:
    """The tree for HTTP of a workload, and of the services behind a waypoint for which policies say something else."""
    for view in views(snapshot, workload):
        through = "" if view.service is None else f" for {view.service.namespace}/{view.service.name}"
        root = snapshot.tree(workload, view.service).root(Protocol.HTTP)
        yield picture(f"{workload.id}{through}", root, snapshot)


def tree_of_request(snapshot: Snapshot, document: RequestDocument, *, at: float) -> Twig:
    """The tree that a request goes through, with its way. One that is denied before, goes through none.

    Raises:
        UnknownWorkloadError: Its destination is not among the workloads of the snapshot, and not spelled out.
    """
    gone: list[tuple[DecisionTree, Trail]] = []

    def watched(tree: DecisionTree, attributes: Attributes, /, *, allowed_by: frozenset[str]) -> Decision:
        trail = follow(tree, attributes, allowed_by=allowed_by)
        gone.append((tree, trail))
        return trail.decision

    workload = destination_of(snapshot, document)
    title = workload.id if workload.name else f"a workload in {workload.namespace}"
    decision = decide(snapshot, document, Offline(at=at), watched)
    if not gone:
        return Twig(Kind.ROOT, title, f"{decision.verdict.value}: {decision.reason}", Mark.DEAD_END)
    tree, trail = gone[-1]
    return picture(title, tree.root(document.attributes.protocol), snapshot, trail)
