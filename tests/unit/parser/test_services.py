"""Services, ServiceEntries and namespaces, as far as checks ask."""

import pytest

from parser.services import Service, ServicePort
from tests.unit.parser.documents import manifests


def service(spec: str) -> Service:
    found = manifests(f"apiVersion: v1\nkind: Service\nmetadata: {{name: db, namespace: shop}}\nspec: {spec}\n")
    assert not found.diagnostics
    assert found.skipped == {}
    (only,) = found.services
    return only


def test_a_service_is_read() -> None:
    assert service("{selector: {app: db}, ports: [{name: tcp-sql, port: 5432}], type: ClusterIP}") == Service(
        namespace="shop", name="db", selector={"app": "db"}, opaque=True, ports=(ServicePort(5432, 5432, opaque=True),)
    )


@pytest.mark.parametrize(
    ("port", "read"),
    [
        ("{port: 80, targetPort: 8080}", ServicePort(80, 8080, opaque=False)),
        ("{port: 80, targetPort: web}", ServicePort(80, None, opaque=False)),
        ("{port: 80, targetPort: null}", ServicePort(80, 80, opaque=False)),
        ("{port: 80, name: tcp}", ServicePort(80, 80, opaque=True)),
    ],
)
def test_a_port_leads_to_another_of_the_workload(port: str, read: ServicePort) -> None:
    assert service(f"{{ports: [{port}]}}").ports == (read,)


def test_a_port_without_a_number_is_left_out() -> None:
    assert service("{ports: [{name: http}, {port: many}]}").ports == ()


@pytest.mark.parametrize(
    ("ports", "opaque"),
    [
        ("[]", False),
        ("[{port: 1}]", False),
        ("[{name: http, port: 1}]", False),
        ("[{name: grpc-api, port: 1}]", False),
        ("[{name: tcp, port: 1}, {name: http-x, port: 2}]", False),
        ("[{name: tcp, port: 1}, {name: mysql-x, port: 2}]", True),
        ("[{name: HTTPS, port: 1}]", True),
        ("[{name: http, appProtocol: tcp, port: 1}]", True),
        ("[{name: tcp, appProtocol: http, port: 1}]", False),
        ("[{name: tcpish, port: 1}]", False),
    ],
)
def test_ports_that_carry_no_http_say_so_by_protocol_or_name(ports: str, opaque: bool) -> None:  # noqa: FBT001  # a case's expectation
    assert service(f"{{ports: {ports}}}").opaque is opaque


def test_a_service_entry_has_hosts() -> None:
    text = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: ext, namespace: shop}\nspec: {hosts: [api.example.com], ports: [{number: 443, name: tls, protocol: TLS}]}\n"
    assert manifests(text).services == (
        Service(namespace="shop", name="ext", external=True, hosts=("api.example.com",)),
    )


def test_a_namespace_is_its_name() -> None:
    found = manifests("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n")
    assert (found.namespaces, found.ambient, found.skipped) == (("shop",), (), {})


@pytest.mark.parametrize(("mode", "ambient"), [("ambient", ("shop",)), ("none", ())])
def test_a_namespace_says_whether_its_pods_have_a_ztunnel(mode: str, ambient: tuple[str, ...]) -> None:
    labels = f"{{istio.io/dataplane-mode: {mode}}}"
    found = manifests(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {labels}}}\n")
    assert found.ambient == ambient


@pytest.mark.parametrize("spec", ["[a]", "{selector: [a]}", "{ports: {a: b}}", "{ports: [x]}", "{ports: [{name: 1}]}"])
def test_the_wrong_type_in_what_is_read_is_an_error(spec: str) -> None:
    found = manifests(f"apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec: {spec}\n")
    assert [each.code for each in found.diagnostics] == ["wrong-type"]
    assert found.services == ()


def test_services_of_other_groups_are_skipped() -> None:
    found = manifests("apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\nspec: {template: {}}\n")
    assert (found.services, found.skipped) == ((), {"Service": 1})
