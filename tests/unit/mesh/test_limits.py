"""What is too much is refused before work starts, with the figure, the limit and what to do; the verdict of a capped answer is exact."""

import re
from collections.abc import Callable

import pytest

from authz.analysis.circuit import Circuit
from authz.invariants import Assumed, Callers, Never, Requests
from authz.mesh_config import MeshConfig
from authz.model import Operation, Policy, Rule
from authz.span import Span
from authz.workload import Workload
from cli.overlay_svg import svg_of_overlays
from cli.reports.differences import WRITERS, headlines
from mesh import comparing, limits
from mesh.access.overlay import overlays
from mesh.comparing import Change, compare
from mesh.differences import told_of
from mesh.limits import TooManyError
from mesh.minimizing import minimize
from mesh.proving.proofs import prove
from mesh.snapshot import Snapshot
from mesh.who_can import who_can


def mesh(rules: int, name: str = "p") -> Snapshot:
    some = tuple(Rule(operations=(Operation(paths=(f"/{name}{number}",)),)) for number in range(rules))
    return Snapshot(
        policies=(Policy(namespace="shop", name="p", rules=some),),
        workloads=(Workload(namespace="shop", name="api"),),
        config=MeshConfig(),
        revision="",
    )


def proved(snapshot: Snapshot) -> object:
    claim = Never(id="A", span=Span("", 1, 1, 1, 1), callers=Callers(), requests=Requests())
    return list(prove(snapshot, [claim], assumed=Assumed(), baselines=lambda _: snapshot))


ASKED: dict[str, tuple[str, Callable[[Snapshot], object]]] = {
    "diff": ("mesh.comparing.MOST_RULES", lambda snapshot: compare(mesh(1), snapshot, assumed=Assumed())),
    "diff, as it was": ("mesh.comparing.MOST_RULES", lambda snapshot: compare(snapshot, mesh(1), assumed=Assumed())),
    "prove": ("mesh.proving.proofs.MOST_RULES", proved),
    "who-can": ("mesh.who_can.MOST_TOLD_RULES", lambda snapshot: who_can(snapshot, "shop/api")),
    "minimize": ("mesh.minimizing.MOST_MINIMIZED_RULES", minimize),
}


@pytest.mark.parametrize("verb", ASKED)
def test_too_many_rules_are_refused_before_anything_is_asked(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, ask = ASKED[verb]
    # The real ones take a while to come to.
    monkeypatch.setattr(limit, 5)
    ask(mesh(5))

    def solve(*_: object) -> None:
        raise AssertionError("the solver was asked")

    monkeypatch.setattr(Circuit, "solve", solve)
    with pytest.raises(
        TooManyError, match=r"6 stand before shop/api, and no more than 5 are answered about; ask about fewer"
    ):
        ask(mesh(6))


def test_too_many_questions_are_refused() -> None:
    limits.refuse_too_many_questions(1_000, 100)
    with pytest.raises(TooManyError, match="101 invariants of 1,000 workloads are 101,000, and no more than 100,000"):
        limits.refuse_too_many_questions(1_000, 101)


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        (mesh(2), mesh(9), {Change.NEWLY_ALLOWED}),
        (mesh(9), mesh(2), {Change.NEWLY_DENIED}),
        (mesh(7, "a"), mesh(5, "b"), set(Change)),
    ],
)
def test_where_not_all_regions_are_told_the_verdict_is_exact_and_that_there_are_more_is_said(
    old: Snapshot, new: Snapshot, changes: set[Change], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "MOST_REGIONS", 1)
    comparison = compare(old, new, assumed=Assumed())
    assert {difference.change for difference in comparison.differences} == changes
    found = told_of(comparison, old, new)
    assert {change for change in Change if found.count(change)} == changes
    for name, write in WRITERS.items():
        assert re.search(r"the first 100 regions|\"most_regions\": 100", write(found).decode()), name
    some = overlays(old, new, comparison.changed, assumed=Assumed())
    assert "the first 100 regions" in svg_of_overlays(some, found, old=old, new=new, head=headlines(found))
