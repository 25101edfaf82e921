import pytest

from authz.workload import ProxyKind, Workload
from tests.unit.parser.documents import manifests

TEMPLATE = """
metadata: {labels: {app: web}}
spec:
  serviceAccountName: web
  containers:
  - {name: a, image: x, ports: [{containerPort: 8080, protocol: TCP}, {containerPort: 9090}]}
  - {name: b}
  - {name: c, ports: [{containerPort: 7070}]}
""".strip()


def indented(text: str, by: int) -> str:
    return text.replace("\n", "\n" + " " * by)


WEB = Workload(namespace="shop", name="web", labels={"app": "web"}, service_account="web", ports=(8080, 9090, 7070))


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "ReplicaSet"),
        ("batch/v1", "Job"),
    ],
)
def test_the_pods_of_a_workload_are_in_its_template(version: str, kind: str) -> None:
    text = (
        f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: web, namespace: shop, labels: {{app: other, extra: x}}}}\n"
        f"spec:\n  replicas: 3\n  template:\n    {indented(TEMPLATE, 4)}\n"
    )
    found = manifests(text)
    assert not found.diagnostics
    assert found.workloads == (WEB,)
    assert found.workloads[0].span is not None
    assert found.workloads[0].span.line == 3


def test_a_cron_job_keeps_its_template_in_a_job_template() -> None:
    text = (
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: web, namespace: shop}\n"
        f"spec:\n  jobTemplate:\n    spec:\n      template:\n        {indented(TEMPLATE, 8)}\n"
    )
    assert manifests(text).workloads == (WEB,)


def test_a_pod_is_its_own_template_and_may_know_its_addresses() -> None:
    text = """
    apiVersion: v1
    kind: Pod
    metadata: {name: web-1, namespace: shop, labels: {app: web}, ownerReferences: [{kind: ReplicaSet}]}
    spec: {containers: []}
    status: {podIP: 10.0.0.9, podIPs: [{ip: 10.0.0.9}, {ip: '2001:DB8::1'}], phase: Running}
    """
    (pod,) = manifests(text).workloads
    assert pod == Workload(namespace="shop", name="web-1", labels={"app": "web"}, addresses=("10.0.0.9", "2001:db8::1"))


def test_the_service_account_is_default_unless_given() -> None:
    for given, account in (
        ("", "default"),
        ("serviceAccount: old", "old"),
        ("serviceAccount: old, serviceAccountName: new", "new"),
    ):
        text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{{given}}}\n"
        (pod,) = manifests(text).workloads
        assert (pod.namespace, pod.service_account) == ("default", account)


def test_a_workload_entry_says_who_it_is_itself() -> None:
    text = """
    apiVersion: networking.istio.io/v1
    kind: WorkloadEntry
    metadata: {name: vm, namespace: shop, labels: {app: meta, tier: back}}
    spec:
      address: 192.0.2.7
      labels: {app: spec, class: vm}
      serviceAccount: vm
      ports: {http: 8080, grpc: 9090}
      weight: 1
    """
    (entry,) = manifests(text).workloads
    assert entry == Workload(
        namespace="shop",
        name="vm",
        labels={"app": "meta", "class": "vm", "tier": "back"},
        service_account="vm",
        addresses=("192.0.2.7",),
        ports=(8080, 9090),
    )


@pytest.mark.parametrize("address", ["vm.example.com", "unix:///var/run/x", "''"])
def test_an_address_that_is_no_ip_address_is_none(address: str) -> None:
    text = f"apiVersion: networking.istio.io/v1beta1\nkind: WorkloadEntry\nmetadata: {{name: vm}}\nspec: {{address: {address}}}\n"
    (entry,) = manifests(text).workloads
    assert entry.addresses == ()


def test_a_generated_name_does_for_a_workload() -> None:
    (pod,) = manifests("apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: once-}\n").workloads
    assert pod.name == "once"


@pytest.mark.parametrize(
    "spec",
    [
        "[a]",
        "{serviceAccountName: 1}",
        "{containers: {a: b}}",
        "{containers: [x]}",
        "{containers: [{ports: {containerPort: 1}}]}",
        "{containers: [{ports: [{containerPort: '80'}]}]}",
        "{containers: [{ports: [{containerPort: true}]}]}",
        "{containers: [{ports: [{containerPort: 80.0}]}]}",
    ],
)
def test_the_wrong_type_in_what_is_read_is_an_error(spec: str) -> None:
    found = manifests(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {spec}\n")
    assert [each.code for each in found.diagnostics] == ["wrong-type"]
    assert found.workloads == ()


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_a_port_out_of_range_is_an_error(port: str) -> None:
    text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{{ports: [{{containerPort: {port}}}]}}]}}\n"
    assert [each.code for each in manifests(text).diagnostics] == ["bad-port"]


def test_what_is_not_read_may_be_anything() -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, finalizers: 1}\nspec: {volumes: x, containers: [{env: 7}]}\nstatus: {phase: []}\n"
    assert not manifests(text).diagnostics


def test_kinds_of_other_groups_are_no_workloads() -> None:
    found = manifests("apiVersion: example.org/v1\nkind: Deployment\nmetadata: {name: a}\n")
    assert (found.workloads, found.skipped) == ((), {"Deployment": 1})


# Gateways ------------------------------------------------------------------------------------------------------------------


def pod(*, metadata: str = "{}", spec: str = "{}") -> Workload:
    text = f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: a}}\nspec: {{template: {{metadata: {metadata}, spec: {spec}}}}}\n"
    (found,) = manifests(text).workloads
    return found


@pytest.mark.parametrize("role", ["router", "waypoint"])
def test_pods_whose_proxy_is_no_sidecar_are_a_gateway(role: str) -> None:
    proxy = f"{{name: istio-proxy, args: [proxy, {role}, --domain, x]}}"
    assert pod(spec=f"{{containers: [{{name: app}}, {proxy}]}}").router
    assert pod(spec=f"{{containers: [{proxy}]}}").proxy is ProxyKind.GATEWAY


@pytest.mark.parametrize(
    "container",
    [
        "{name: istio-proxy, args: [proxy, sidecar]}",
        "{name: istio-proxy, args: [router]}",
        "{name: istio-proxy, args: proxy router}",
        "{name: istio-proxy, args: [[proxy], [router]]}",
        "{name: istio-proxy}",
        "{name: proxy, args: [proxy, router]}",
        "{args: [proxy, router]}",
    ],
)
def test_other_containers_make_no_gateway(container: str) -> None:
    assert not pod(spec=f"{{containers: [{container}]}}").router


@pytest.mark.parametrize(
    ("templates", "router"), [("gateway", True), ("spire, gateway", True), ("sidecar", False), ("gateways", False)]
)
def test_pods_that_are_injected_as_a_gateway_are_one(templates: str, router: bool) -> None:  # noqa: FBT001  # a case's expectation
    assert pod(metadata=f"{{annotations: {{inject.istio.io/templates: '{templates}'}}}}").router is router
