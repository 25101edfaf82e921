"""Which mode a port has: each test is a sentence of semantics 5.1."""

from collections.abc import Mapping

from authz.peer_authentication import MtlsMode, PeerAuthentication, port_mode
from authz.workload import GATEWAY_LABEL, Workload

API = Workload(namespace="shop", name="api", labels={"app": "api", "tier": "web"})
STRICT, PERMISSIVE, DISABLE, UNSET = MtlsMode.STRICT, MtlsMode.PERMISSIVE, MtlsMode.DISABLE, MtlsMode.UNSET


def policy(  # what two policies may differ in
    mode: MtlsMode,
    *,
    namespace: str = "shop",
    name: str = "a",
    selector: Mapping[str, str] | None = None,
    ports: Mapping[int, MtlsMode] | None = None,
    created: str = "",
) -> PeerAuthentication:
    return PeerAuthentication(
        namespace=namespace, name=name, selector=selector, mode=mode, port_modes=ports or {}, created=created
    )


def mode(*policies: PeerAuthentication, port: int | None = 8080, workload: Workload = API) -> MtlsMode:
    found = port_mode(policies, workload, port, root_namespace="istio-system")
    assert port_mode(policies[::-1], workload, port, root_namespace="istio-system") == found, "the order matters"
    return found.mode


def test_without_a_policy_both_are_taken() -> None:
    assert mode() is PERMISSIVE


def test_a_policy_of_the_root_namespace_is_for_the_mesh_and_narrower_ones_win() -> None:
    mesh = policy(STRICT, namespace="istio-system")
    namespace = policy(PERMISSIVE)
    own = policy(DISABLE, name="b", selector={"app": "api"})
    assert mode(mesh) is STRICT
    assert mode(mesh, namespace) is PERMISSIVE
    assert mode(mesh, namespace, own) is DISABLE
    assert mode(mesh, own) is DISABLE


def test_unset_leaves_it_to_the_wider_policy() -> None:
    mesh = policy(STRICT, namespace="istio-system")
    assert mode(mesh, policy(UNSET), policy(UNSET, name="b", selector={"app": "api"})) is STRICT
    assert mode(policy(UNSET)) is PERMISSIVE


def test_an_empty_selector_is_none() -> None:
    assert mode(policy(STRICT, selector={})) is STRICT
    assert mode(policy(STRICT, namespace="istio-system", selector={})) is STRICT


def test_a_policy_of_another_namespace_or_for_other_labels_does_not_count() -> None:
    assert mode(policy(STRICT, namespace="ops")) is PERMISSIVE
    assert mode(policy(STRICT, selector={"app": "db"})) is PERMISSIVE
    assert mode(policy(STRICT, selector={"app": "api", "tier": "db"})) is PERMISSIVE


def test_a_selector_in_the_root_namespace_counts_for_nobody() -> None:
    in_root = Workload(namespace="istio-system", name="api", labels={"app": "api"})
    strict = policy(STRICT, namespace="istio-system", selector={"app": "api"})
    assert mode(strict) is PERMISSIVE
    assert mode(strict, workload=in_root) is PERMISSIVE


def test_of_each_scope_the_oldest_counts_and_then_the_first_by_name() -> None:
    old = policy(STRICT, name="z", created="2026-01-01T00:00:00Z")
    new = policy(DISABLE, name="a", created="2026-01-02T00:00:00Z")
    assert mode(old, new) is STRICT
    assert mode(policy(STRICT, name="a"), policy(DISABLE, name="b")) is STRICT


def test_a_port_has_its_own_mode_and_unset_means_that_of_the_workload() -> None:
    own = policy(STRICT, selector={"app": "api"}, ports={9090: DISABLE, 9091: UNSET})
    assert mode(own, port=9090) is DISABLE
    assert mode(own, port=9091) is STRICT
    assert mode(own, port=8080) is STRICT
    assert mode(own, port=None) is STRICT


def test_ports_are_taken_from_the_oldest_policy_of_the_workload_only() -> None:
    first = policy(UNSET, name="a", selector={"app": "api"}, ports={9090: DISABLE})
    second = policy(STRICT, name="b", selector={"tier": "web"}, ports={8080: STRICT})
    assert mode(first, second, port=8080) is PERMISSIVE
    assert mode(first, second, policy(STRICT, name="c"), port=9090) is DISABLE


def test_gateways_are_not_spoken_for() -> None:
    gateway = Workload(namespace="shop", name="gateway", labels={GATEWAY_LABEL: "public"})
    assert mode(policy(STRICT), workload=gateway) is PERMISSIVE


def test_the_policy_that_says_so_is_named() -> None:
    mesh = policy(STRICT, namespace="istio-system")
    own = policy(UNSET, name="b", selector={"app": "api"}, ports={9090: STRICT})
    assert port_mode([mesh, own], API, 9090, root_namespace="istio-system").by == own.id
    assert port_mode([mesh, own], API, 8080, root_namespace="istio-system").by == mesh.id
    assert port_mode([], API, 8080, root_namespace="istio-system").by == ""
