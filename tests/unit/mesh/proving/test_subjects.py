"""Which workload of one version is which of the other."""

from authz.invariants import Assumed, Baseline, SameAs
from authz.mesh_config import MeshConfig
from authz.model import Action, Policy, TargetRef
from authz.span import Span
from authz.workload import GATEWAY_CLASS_LABEL, GATEWAY_LABEL, WAYPOINT_CLASS, Workload
from mesh.comparing import Change, compare
from mesh.proving.proofs import Status, prove
from mesh.proving.subjects import pairs
from mesh.snapshot import Snapshot

API = Workload(namespace="shop", name="api", labels={"app": "api"})
WAYPOINT = Workload(
    namespace="shop",
    name="waypoint",
    labels={GATEWAY_LABEL: "waypoint", GATEWAY_CLASS_LABEL: WAYPOINT_CLASS},
)
CLOSED = Policy(namespace="shop", name="closed", action=Action.ALLOW)
FOR_SERVICE = Policy(
    namespace="shop",
    name="service",
    action=Action.ALLOW,
    target_refs=(TargetRef(group="", kind="Service", name="api"),),
)
FOR_LABEL = Policy(namespace="shop", name="db", action=Action.ALLOW, selector={"app": "db"})


def mesh(*policies: Policy, workloads: tuple[Workload, ...] = ()) -> Snapshot:
    return Snapshot(policies=policies, workloads=workloads, config=MeshConfig(), revision="")


def verdicts(old: Snapshot, new: Snapshot) -> set[tuple[Change, str]]:
    """The changes by subject, and that `same-as` agrees."""
    comparison = compare(old, new, assumed=Assumed())
    here = Span("x", 1, 1, 1, 1)
    claim = SameAs(id="x", span=here, baseline=Baseline(name="old", span=here))
    (proof,) = prove(new, [claim], assumed=Assumed(), baselines=lambda _: old)
    assert (proof.status is Status.PROVED) is (not comparison.differences)
    return {(each.change, subject.name) for each in comparison.differences for subject in each.subjects}


def test_a_service_of_a_waypoint_is_not_the_workload_of_its_name() -> None:
    both = (API, WAYPOINT)
    old, new = mesh(CLOSED, FOR_SERVICE, workloads=both), mesh(CLOSED, workloads=both)
    assert len(pairs(old, new)) == 3
    assert verdicts(old, new) == {(Change.NEWLY_ALLOWED, "shop/api")}


def test_workloads_that_share_a_name_are_told_apart_by_their_labels() -> None:
    job = Workload(namespace="shop", name="api", labels={"app": "job"})
    old = mesh(Policy(namespace="shop", name="x", action=Action.ALLOW, selector={"app": "job"}), workloads=(API, job))
    new = mesh(workloads=(API, job))
    assert len(pairs(old, new)) == 2
    assert verdicts(old, new) == {(Change.NEWLY_ALLOWED, "shop/api")}
    assert not verdicts(old, mesh(*old.policies, workloads=(job, API)))


def test_where_no_workloads_are_declared_a_policy_that_is_gone_was_for_somebody() -> None:
    assert verdicts(mesh(FOR_LABEL, Policy(namespace="shop", name="audit", action=Action.AUDIT)), mesh()) == {
        (Change.NEWLY_ALLOWED, "shop/app=db")
    }
    assert verdicts(mesh(), mesh(FOR_LABEL)) == {(Change.NEWLY_DENIED, "shop/app=db")}


def test_workloads_that_only_one_version_declares_are_taken_for_both() -> None:
    old, new = mesh(CLOSED), mesh(CLOSED, workloads=(API,))
    assert not verdicts(old, new)
    assert all(pair.old and pair.new for pair in pairs(old, new))


def test_what_was_added_and_removed_is_named() -> None:
    web = Workload(namespace="shop", name="web", labels={"app": "web"})
    comparison = compare(mesh(CLOSED, workloads=(API,)), mesh(CLOSED, workloads=(web,)), assumed=Assumed())
    assert [each.name for each in comparison.added] == ["shop/web"]
    assert [each.name for each in comparison.removed] == ["shop/api"]
    # Nothing was allowed to the new one, and nothing is.
    assert not comparison.differences
