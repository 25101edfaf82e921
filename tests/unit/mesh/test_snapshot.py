"""Which workload a request is for, and what it is not known for."""

import re
from dataclasses import replace

import pytest

from authz.attributes import Attributes, Protocol
from authz.decision import Match, Verdict
from authz.mesh_config import MeshConfig
from authz.model import Action, Policy, Rule, Source, TargetRef
from authz.peer_authentication import MtlsMode, PeerAuthentication
from authz.request_authentication import JwtRule, RequestAuthentication
from authz.span import Span
from authz.workload import GATEWAY_CLASS_LABEL, GATEWAY_LABEL, WAYPOINT_CLASS, ServiceRef, Workload
from mesh.deciding import refused_at_port, with_identity
from mesh.errors import UnknownWorkloadError
from mesh.snapshot import Snapshot

API = Workload(namespace="shop", name="api", labels={"app": "api"}, service_account="api", addresses=("10.0.0.9",))
CANARY = Workload(
    namespace="shop", name="canary", labels={"app": "api"}, service_account="api", addresses=("10.0.0.8",)
)
JOB = Workload(namespace="shop", name="job", labels={"app": "job"}, service_account="api", addresses=("10.0.0.7",))
DB = Workload(namespace="shop", name="db", labels={"app": "db"}, service_account="db", addresses=("10.0.0.6",))
FOR_JOBS = Policy(namespace="shop", name="for-jobs", selector={"app": "job"}, action=Action.ALLOW)
PRINCIPAL = "spiffe://cluster.local/ns/shop/sa/api"
NOBODY = "spiffe://cluster.local/ns/shop/sa/none"


def snapshot(*workloads: Workload) -> Snapshot:
    return Snapshot(policies=[FOR_JOBS], workloads=workloads, config=MeshConfig(), revision="r1")


def test_the_name_comes_before_the_principal_and_the_principal_before_the_address() -> None:
    mesh = snapshot(API, DB)
    assert mesh.find(workload="shop/db", principal=PRINCIPAL, address="10.0.0.9") is DB
    assert mesh.find(workload=None, principal=PRINCIPAL, address="10.0.0.6") is API
    assert mesh.find(workload=None, principal="spiffe://cluster.local/not-istio", address="10.0.0.6") is DB
    assert mesh.find(workload=None, principal=None, address="10.0.0.6") is DB


def test_workloads_of_one_account_are_as_good_as_one_where_the_same_policies_apply() -> None:
    found = snapshot(API, CANARY).find(workload=None, principal=PRINCIPAL, address=None)
    assert found in (API, CANARY)


def test_workloads_of_one_account_with_different_policies_are_told_apart_by_address_or_not_at_all() -> None:
    mesh = snapshot(API, JOB)
    assert mesh.find(workload=None, principal=PRINCIPAL, address="10.0.0.7") is JOB
    with pytest.raises(UnknownWorkloadError, match=r"any of `shop/api`, `shop/job`, with different policies: name it"):
        mesh.find(workload=None, principal=PRINCIPAL, address="192.0.2.1")


def test_workloads_of_one_name_with_different_policies_are_not_told_apart() -> None:
    other = Workload(namespace="shop", name="api", labels={"app": "job"})
    with pytest.raises(UnknownWorkloadError, match=r"several workloads are named `shop/api`"):
        snapshot(API, other).find(workload="shop/api", principal=None, address=None)
    same = Workload(namespace="shop", name="api", labels={"app": "api", "version": "2"})
    assert snapshot(API, same).find(workload="shop/api", principal=None, address=None).name == "api"


@pytest.mark.parametrize(
    ("workload", "principal", "address", "reason"),
    [
        ("shop/none", PRINCIPAL, "10.0.0.9", "no workload `shop/none` in the manifests"),
        ("", PRINCIPAL, "10.0.0.9", "no workload `` in the manifests"),
        ("a\nb", None, None, "no workload `a␊b` in the manifests"),
        (
            None,
            NOBODY,
            "192.0.2.1",
            f"no workload in the manifests has the destination's principal `{NOBODY}` and address `192.0.2.1`",
        ),
        (None, None, None, "the request names no destination"),
    ],
)
def test_an_unknown_destination_is_refused_with_what_led_nowhere(
    workload: str | None, principal: str | None, address: str | None, reason: str
) -> None:
    with pytest.raises(UnknownWorkloadError, match=f"^{re.escape(reason)}$"):
        snapshot(API, DB).find(workload=workload, principal=principal, address=address)


def test_what_policies_ask_for_and_is_not_done_is_said() -> None:
    tokens = Policy(namespace="shop", name="tokens", rules=(Rule(sources=(Source(request_principals=("*",)),)),))
    custom = Policy(namespace="shop", name="ask", action=Action.CUSTOM, provider="opa", rules=(Rule(),))
    workloads = [Workload(namespace="shop", name="api")]
    gaps = list(Snapshot(policies=(tokens, custom), workloads=workloads, config=MeshConfig(), revision="1").warnings())
    assert [("tokens" in gap, "shop/ask" in gap) for gap in gaps] == [(True, False), (False, True)]
    assert not list(Snapshot(policies=(), workloads=workloads, config=MeshConfig(), revision="1").warnings())


def test_plaintext_is_denied_where_mtls_is_demanded_whatever_the_policies_say() -> None:
    everything = Policy(namespace="shop", name="everything", rules=(Rule(),))
    strict = PeerAuthentication(
        namespace="shop",
        name="strict",
        selector={"app": "api"},
        mode=MtlsMode.STRICT,
        port_modes={9090: MtlsMode.PERMISSIVE},
    )
    snapshot = Snapshot(
        policies=(everything,), peer_authentications=(strict,), workloads=[API], config=MeshConfig(), revision="1"
    )
    plaintext, identified = Attributes(destination_port=8080), Attributes(identities=("spiffe://x/y",))

    def at_port(workload: Workload, attributes: Attributes) -> str | None:
        refused = refused_at_port(snapshot.guard(workload), attributes)
        assert refused is None or refused.verdict is Verdict.DENY
        return None if refused is None else refused.reason

    reason = "plaintext, where PeerAuthentication shop/strict demands mTLS"
    assert at_port(API, plaintext) == at_port(API, replace(plaintext, protocol=Protocol.TCP)) == reason
    assert at_port(API, identified) is None
    assert at_port(API, Attributes(destination_port=9090)) is None
    assert at_port(DB, plaintext) is None


def test_where_mtls_is_switched_off_nobody_has_an_identity() -> None:
    off = PeerAuthentication(namespace="shop", name="off", mode=MtlsMode.DISABLE)
    snapshot = Snapshot(policies=(), peer_authentications=(off,), workloads=[API], config=MeshConfig(), revision="1")
    identified = Attributes(identities=("spiffe://x/y",), destination_port=8080)
    assert with_identity(snapshot.guard(API), identified).identities == ()
    assert with_identity(snapshot.guard(replace(API, namespace="other")), identified) == identified


def test_workloads_whose_ports_take_different_things_are_told_apart() -> None:
    strict = PeerAuthentication(
        namespace="shop", name="strict", selector={"app": "db"}, port_modes={8080: MtlsMode.STRICT}
    )
    other = replace(DB, service_account="api")
    snapshot = Snapshot(
        policies=(), peer_authentications=(strict,), workloads=[API, other], config=MeshConfig(), revision="1"
    )
    with pytest.raises(UnknownWorkloadError, match="name it"):
        snapshot.find(workload=None, principal=PRINCIPAL, address=None)


# One snapshot after the other

EVERYBODY = Policy(namespace="istio-system", name="all", rules=(Rule(),))
FOR_DB = Policy(namespace="shop", name="for-db", selector={"app": "db"})
ELSEWHERE = Policy(namespace="ops", name="elsewhere", rules=(Rule(),))
OPS = Workload(namespace="ops", name="api", labels={"app": "api"})


def after(previous: Snapshot | None, *policies: Policy, config: MeshConfig | None = None) -> Snapshot:
    return Snapshot(
        policies=policies, workloads=(API, DB, OPS), config=config or MeshConfig(), revision="r", previous=previous
    )


def test_what_the_same_policies_compile_to_is_shared_with_the_snapshot_before() -> None:
    before = after(None, FOR_DB, ELSEWHERE)
    now = after(before, replace(FOR_DB, action=Action.DENY, rules=(Rule(),)), ELSEWHERE)
    assert now.tree(API) is before.tree(API)
    assert now.guard(OPS) is before.guard(OPS)
    assert now.tree(DB) is not before.tree(DB)
    assert now.tree(DB).decide(Attributes()).verdict is Verdict.DENY


def test_a_policy_that_only_moved_is_not_compiled_again_and_its_place_is_the_new_one() -> None:
    def at(line: int) -> Policy:
        return replace(FOR_DB, spans={("spec", "rules", 0): Span("f.yaml", line, 1, line, 2)})

    first = after(None, at(1), ELSEWHERE)
    second = after(first, ELSEWHERE, at(2))
    third = after(second, at(3))
    assert first.tree(DB) is second.tree(DB) is third.tree(DB)
    places = [snapshot.place(Match("shop/for-db", 0)) for snapshot in (first, second, third)]
    assert [place.line for place in places if place is not None] == [1, 2, 3]


@pytest.mark.parametrize("config", [MeshConfig(trust_domain="td.example"), MeshConfig(trust_domain_aliases=("old",))])
def test_with_other_trust_domains_everything_is_compiled_again(config: MeshConfig) -> None:
    source = Source(principals=("cluster.local/ns/a/sa/b",))
    policy = Policy(namespace="shop", name="web", rules=(Rule(sources=(source,)),))
    before = after(None, policy)
    assert after(before, policy).tree(API) is before.tree(API)
    assert after(before, policy, config=config).tree(API) is not before.tree(API)


def test_with_another_root_namespace_its_policies_are_for_everybody() -> None:
    before = after(None, ELSEWHERE, EVERYBODY)
    now = after(before, ELSEWHERE, EVERYBODY, config=MeshConfig(root_namespace="ops"))
    matches = [snapshot.tree(API).decide(Attributes()).match for snapshot in (before, now)]
    assert matches == [Match("istio-system/all", 0), Match("ops/elsewhere", 0)]


@pytest.mark.parametrize("namespace", ["shop", "istio-system"])
def test_tokens_and_ports_follow_their_own_policies(namespace: str) -> None:
    def mesh(previous: Snapshot | None, issuer: str, mode: MtlsMode) -> Snapshot:
        tokens = RequestAuthentication(namespace=namespace, name="t", jwt_rules=(JwtRule(issuer=issuer),))
        peers = PeerAuthentication(namespace=namespace, name="p", mode=mode)
        return Snapshot(
            policies=(FOR_DB,),
            request_authentications=(tokens,),
            peer_authentications=(peers,),
            workloads=(API, OPS),
            config=MeshConfig(),
            revision="r",
            previous=previous,
        )

    first = mesh(None, "a", MtlsMode.STRICT)
    second = mesh(first, "b", MtlsMode.STRICT)
    third = mesh(second, "b", MtlsMode.DISABLE)
    assert [snapshot.guard(API).jwt_rules[0].issuer for snapshot in (first, second, third)] == ["a", "b", "b"]
    modes = [snapshot.port_mode(API, 8080).mode for snapshot in (first, second, third)]
    assert modes == [MtlsMode.STRICT, MtlsMode.STRICT, MtlsMode.DISABLE]
    assert first.tree(API) is third.tree(API)


def test_the_chain_of_a_service_follows_the_policies_of_the_namespace_of_the_service() -> None:
    waypoint = Workload(
        namespace="shop", name="way", labels={GATEWAY_CLASS_LABEL: WAYPOINT_CLASS, GATEWAY_LABEL: "way"}
    )
    service = ServiceRef(namespace="ops", name="api")
    policy = replace(ELSEWHERE, target_refs=(TargetRef(kind="Service", name="api"),))

    def mesh(previous: Snapshot | None, policy: Policy) -> Snapshot:
        return Snapshot(
            policies=(policy, FOR_DB), workloads=(waypoint,), config=MeshConfig(), revision="r", previous=previous
        )

    before = mesh(None, policy)
    assert before.tree(waypoint, service).decide(Attributes()).match == Match("ops/elsewhere", 0)
    same = mesh(before, policy)
    assert same.tree(waypoint, service) is before.tree(waypoint, service)
    other = mesh(same, replace(policy, rules=()))
    assert other.tree(waypoint, service).decide(Attributes()).match is None


def test_what_is_kept_of_workloads_that_are_spelled_out_does_not_grow_from_snapshot_to_snapshot() -> None:
    snapshot = after(None, FOR_DB, ELSEWHERE)
    sizes = set()
    for number in range(3):
        for spelled_out in range(2000):
            snapshot.guard(Workload(namespace="shop", name="", labels={"app": f"{number}-{spelled_out}"}))
        sizes.add(len(snapshot.guards.by_asked))
        snapshot = after(snapshot, FOR_DB)
    assert sizes == {1024 + 3}
    assert snapshot.tree(API) is snapshot.tree(replace(API, name="api2"))


def test_workloads_that_are_no_more_are_forgotten() -> None:
    snapshot = after(None, FOR_DB)
    for number in range(5):
        pods = [Workload(namespace="shop", name="api", labels={"app": "api", "hash": f"{number}"})]
        snapshot = Snapshot(policies=(FOR_DB,), workloads=pods, config=MeshConfig(), revision="r", previous=snapshot)
        assert (len(snapshot.guards.by_asked), len(snapshot.guards.trees)) == (1, 1)
