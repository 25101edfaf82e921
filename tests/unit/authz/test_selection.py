"""Which policies apply, where the vectors have no words: the order, and targets that no parser lets through."""

import pytest

from authz.model import Policy, TargetRef
from authz.selection import applies, select
from authz.workload import GATEWAY_LABEL, Workload

API = Workload(namespace="shop", name="api", labels={"app": "api"})
EDGE = Workload(namespace="shop", name="edge", labels={GATEWAY_LABEL: "edge"})
TARGET = TargetRef(kind="Gateway", group="gateway.networking.k8s.io", name="edge")


def to(*targets: TargetRef, namespace: str = "shop") -> Policy:
    return Policy(namespace=namespace, name="p", target_refs=targets)


def test_policies_come_in_the_order_given_each_once() -> None:
    policies = [
        Policy(namespace="shop", name="b"),
        Policy(namespace="ops", name="x"),
        Policy(namespace="shop", name="a"),
        Policy(namespace="root", name="c"),
    ]
    assert [policy.name for policy in select(policies, API, root_namespace="root")] == ["b", "a", "c"]
    assert [policy.name for policy in select(policies, API, root_namespace="shop")] == ["b", "a"]


@pytest.mark.parametrize("selector", [None, {}, {"app": "api"}])
def test_a_selector_is_a_subset_of_the_labels(selector: dict[str, str] | None) -> None:
    assert applies(Policy(namespace="shop", name="p", selector=selector), API, root_namespace="root")


@pytest.mark.parametrize(
    "selector", [{"app": "web"}, {"app": "api", "tier": "back"}, {"App": "api"}, {"app": ""}, {"": ""}]
)
def test_a_selector_that_is_no_subset_does_not_apply(selector: dict[str, str]) -> None:
    assert not applies(Policy(namespace="shop", name="p", selector=selector), API, root_namespace="root")


def test_a_gateway_is_a_target_by_its_label() -> None:
    assert applies(to(TARGET), EDGE, root_namespace="root")
    assert not applies(to(TARGET), API, root_namespace="root")


def test_one_target_of_several_is_enough() -> None:
    assert applies(to(TargetRef(kind="Service", name="api"), TARGET), EDGE, root_namespace="root")


def test_a_policy_with_targets_has_no_selector_to_fall_back_on() -> None:
    policy = Policy(namespace="shop", name="p", selector={}, target_refs=(TargetRef(kind="Service", name="api"),))
    assert not applies(policy, API, root_namespace="root")


@pytest.mark.parametrize(
    "target",
    [
        TargetRef(kind="gateway", group="gateway.networking.k8s.io", name="edge"),
        TargetRef(kind="Gateway", group="", name="edge"),
        TargetRef(kind="Gateway", group="networking.istio.io", name="edge"),
        TargetRef(kind="Gateway", group="gateway.networking.k8s.io", name="Edge"),
        TargetRef(kind="Gateway", group="gateway.networking.k8s.io", name="edge", namespace="other"),
        TargetRef(kind="GatewayClass", group="gateway.networking.k8s.io", name="edge"),
        TargetRef(kind="HTTPRoute", group="gateway.networking.k8s.io", name="edge"),
        TargetRef(kind="Service", name="edge"),
    ],
)
def test_kind_group_name_and_namespace_of_a_target_must_all_be_right(target: TargetRef) -> None:
    assert not applies(to(target), EDGE, root_namespace="root")


@pytest.mark.parametrize("namespace", ["", "shop", None])
def test_a_target_may_name_the_namespace_that_it_is_in_anyway(namespace: str | None) -> None:
    target = TargetRef(kind="Gateway", group="gateway.networking.k8s.io", name="edge", namespace=namespace)
    assert applies(to(target), EDGE, root_namespace="root")


def test_a_target_of_a_policy_in_the_root_namespace_is_in_the_root_namespace() -> None:
    assert not applies(to(TARGET, namespace="root"), EDGE, root_namespace="root")
    assert applies(to(TARGET), EDGE, root_namespace="shop")
