"""Gateways of the Gateway API, and the workloads that Istio makes of them."""

import pytest

from authz.workload import GATEWAY_CLASS_LABEL, GATEWAY_LABEL, ProxyKind, Workload
from parser.gateways import Gateway
from tests.unit.parser.documents import manifests

HEAD = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n"


def gateway(spec: str, *, metadata: str = "{name: edge, namespace: ingress}") -> str:
    return f"{HEAD}metadata: {metadata}\nspec: {spec}\n"


def workload(spec: str, *, metadata: str = "{name: edge, namespace: ingress}") -> Workload:
    found = manifests(gateway(spec, metadata=metadata))
    assert not found.diagnostics
    (only,) = found.workloads
    return only


def test_a_gateway_is_a_workload_with_the_names_that_istio_gives_it() -> None:
    found = workload("{gatewayClassName: istio, listeners: [{port: 80}, {port: 443}, {port: 80}]}")
    assert found == Workload(
        namespace="ingress",
        name="edge",
        labels={GATEWAY_LABEL: "edge", GATEWAY_CLASS_LABEL: "istio"},
        service_account="edge-istio",
        ports=(80, 443),
        router=True,
    )
    assert found.proxy is ProxyKind.GATEWAY
    assert found.span is not None


def test_a_waypoint_runs_as_its_own_name() -> None:
    found = workload("{gatewayClassName: istio-waypoint, listeners: [{port: 15008, protocol: HBONE}]}")
    assert (found.service_account, found.ports, found.proxy) == ("edge", (), ProxyKind.WAYPOINT)


def test_the_service_account_may_be_chosen() -> None:
    metadata = "{name: edge, annotations: {gateway.istio.io/service-account: gateways}}"
    assert workload("{gatewayClassName: istio}", metadata=metadata).service_account == "gateways"


def test_pods_have_the_labels_of_the_infrastructure_or_else_of_the_gateway() -> None:
    metadata = "{name: edge, labels: {own: a, gateway.networking.k8s.io/gateway-name: forged}}"
    own = workload("{gatewayClassName: istio}", metadata=metadata)
    assert own.labels == {"own": "a", GATEWAY_LABEL: "edge", GATEWAY_CLASS_LABEL: "istio"}
    given = workload(
        "{gatewayClassName: istio, infrastructure: {labels: {given: b, gateway.networking.k8s.io/x: z}}}",
        metadata=metadata,
    )
    assert given.labels == {"given": "b", GATEWAY_LABEL: "edge", GATEWAY_CLASS_LABEL: "istio"}


@pytest.mark.parametrize(
    "spec",
    [
        "{}",
        "{gatewayClassName: istio-remote}",
        "{gatewayClassName: istio, addresses: [{type: Hostname, value: istio-ingressgateway.istio-system.svc}]}",
        "{gatewayClassName: istio, addresses: [{value: 10.0.0.1}, {value: 10.0.0.2}]}",
    ],
)
def test_a_gateway_for_which_istio_runs_nothing_is_no_workload_but_a_target(spec: str) -> None:
    found = manifests(gateway(spec))
    assert found.workloads == ()
    assert found.gateways == (Gateway(namespace="ingress", name="edge"),)


@pytest.mark.parametrize("address", ["{type: IPAddress, value: 10.0.0.1}", "{value: 10.0.0.1}"])
def test_an_address_of_its_own_makes_no_difference(address: str) -> None:
    assert workload(f"{{gatewayClassName: istio, addresses: [{address}]}}").name == "edge"


def test_a_gateway_whose_pods_are_declared_is_no_second_workload() -> None:
    pods = f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: edge-istio, namespace: ingress}}\nspec: {{template: {{metadata: {{labels: {{{GATEWAY_LABEL}: edge}}}}}}}}\n"
    for text in (
        f"{pods}---\n{gateway('{gatewayClassName: istio}')}",
        f"{gateway('{gatewayClassName: istio}')}---\n{pods}",
    ):
        assert [each.name for each in manifests(text).workloads] == ["edge-istio"]
    elsewhere = pods.replace("namespace: ingress", "namespace: other")
    assert len(manifests(f"{elsewhere}---\n{gateway('{gatewayClassName: istio}')}").workloads) == 2


def test_the_same_gateway_twice_is_one_workload() -> None:
    text = gateway("{gatewayClassName: istio}")
    assert len(manifests(f"{text}---\n{text}").workloads) == 1


def test_a_gateway_of_istios_older_kind_is_skipped() -> None:
    text = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge}\nspec: {servers: []}\n"
    found = manifests(text)
    assert (found.gateways, found.workloads, found.skipped) == ((), (), {"Gateway": 1})


@pytest.mark.parametrize("spec", ["[a]", "{gatewayClassName: 1}", "{gatewayClassName: istio, listeners: {port: 80}}", "{gatewayClassName: istio, listeners: [{port: '80'}]}", "{addresses: [x]}"])  # fmt: skip
def test_the_wrong_type_in_what_is_read_is_an_error(spec: str) -> None:
    found = manifests(gateway(spec))
    assert [each.code for each in found.diagnostics] == ["wrong-type"]
    assert (found.gateways, found.workloads) == ((), ())
