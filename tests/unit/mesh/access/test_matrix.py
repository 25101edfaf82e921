"""Who may call what: who is told apart, what is asked, and what an answer depends on."""

from pathlib import Path

import pytest

from authz.attributes import Protocol
from mesh.access.graph import Graph, graph
from mesh.access.matrix import Answer, Cell, Matrix, TooLargeError, matrices
from mesh.directory import DirectoryStore
from mesh.errors import UnknownWorkloadError
from mesh.snapshot import Snapshot

DEPLOYMENTS = """
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {serviceAccountName: api, containers: [{name: api, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {serviceAccountName: web, containers: []}
---
apiVersion: v1
kind: Pod
metadata: {name: batch, namespace: shop, labels: {app: batch}}
spec: {serviceAccountName: batch, containers: []}
"""


@pytest.fixture
def of(tmp_path: Path) -> "Of":
    return Of(tmp_path)


class Of:
    """The matrices of policies in ward before `shop/api`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def snapshot(self, ward: str, *, workloads: str = DEPLOYMENTS, mesh: str = "") -> Snapshot:
        (self._directory / "workloads.yaml").write_text(workloads)
        (self._directory / "policies.ward").write_text(ward)
        (self._directory / "mesh.config").write_text(mesh or "{}")
        store = DirectoryStore((str(self._directory),), str(self._directory / "mesh.config"), {})
        return store.load().snapshot

    def __call__(self, ward: str, *, workloads: str = DEPLOYMENTS, mesh: str = "") -> Matrix:
        (matrix,) = matrices(self.snapshot(ward, workloads=workloads, mesh=mesh), "shop/api")
        return matrix


def cell(matrix: Matrix, caller: str, route: str) -> Cell:
    """The cell of a caller and a route, by their names."""
    (column,) = [n for n, group in enumerate(matrix.callers) if caller in [each.name for each in group]]
    (row,) = [n for n, each in enumerate(matrix.routes) if each.name == route]
    return matrix.cells[row][column]


def answers(matrix: Matrix, route: str) -> dict[str, Answer]:
    return {caller.name: cell(matrix, caller.name, route).answer for group in matrix.callers for caller in group}


OTHER = "anyone else in the mesh"


def test_callers_are_told_apart_by_who_they_are(of: Of) -> None:
    matrix = of('policy p in shop allow from source.principal in ["cluster.local/ns/shop/sa/web"]')
    assert answers(matrix, "any (other paths)") == {
        "shop/web": Answer.ALLOW,
        "shop/api": Answer.DENY,
        "shop/batch": Answer.DENY,
        OTHER: Answer.DENY,
        "plaintext": Answer.DENY,
    }
    assert [[each.name for each in group] for group in matrix.callers] == [
        ["shop/web"],
        ["shop/api", "shop/batch", OTHER, "plaintext"],
    ]


def test_whom_a_policy_names_and_no_manifest_has_is_a_caller(of: Of) -> None:
    matrix = of(
        'policy p in shop allow from source.principal in ["partner.example/ns/x/sa/y"] or allow from source.namespace in [ops] '
        'policy d in shop deny from source.serviceAccount in ["ops/night"]'
    )
    route = "any (other paths)"
    assert cell(matrix, "partner.example/ns/x/sa/y", route).answer is Answer.ALLOW
    assert cell(matrix, "ops/night", route).answer is Answer.DENY
    whole = cell(matrix, "namespace ops", route)
    assert (whole.answer, whole.on) == (Answer.DEPENDS, ("source.serviceAccount",))


def test_an_account_that_can_be_nobodys_does_not_speak_for_anybody(of: Of) -> None:
    odd = DEPLOYMENTS.replace("serviceAccountName: api", "serviceAccountName: a b")
    matrix = of("policy p in shop allow everything", workloads=odd)
    assert cell(matrix, "shop/a b", "any (other paths)").answer is Answer.NEVER
    assert cell(matrix, OTHER, "any (other paths)").answer is Answer.ALLOW


def test_routes_are_methods_and_paths_that_policies_name_and_what_they_do_not(of: Of) -> None:
    matrix = of(
        'policy p in shop allow to request.method in [GET] and request.path in ["/a", "/b/*", "*.png", "/c/{*}/d"]'
    )
    assert [route.name for route in matrix.routes] == [
        "GET /a",
        "other /a",
        "GET /b/x",
        "other /b/x",
        "GET /c/x/d",
        "other /c/x/d",
        "GET /x.png",
        "other /x.png",
        "any (other paths)",
        "TCP",
    ]
    assert cell(matrix, OTHER, "GET /c/x/d").answer is Answer.ALLOW
    assert cell(matrix, OTHER, "other /a").answer is Answer.DENY
    assert cell(matrix, OTHER, "any (other paths)").answer is Answer.DENY


def test_methods_that_are_answered_alike_are_one_route(of: Of) -> None:
    matrix = of('policy p in shop allow to request.method in [GET, PUT, HEAD] and request.path in ["/a"]')
    assert [route.name for route in matrix.routes][:2] == ["GET,HEAD,PUT /a", "other /a"]
    open_to_all = of('policy p in shop deny to request.method in [GET] and request.path in ["/b"]')
    assert [route.name for route in open_to_all.routes][:2] == ["GET /b", "other /b"]


@pytest.mark.parametrize(
    ("condition", "on"),
    [
        ("when request.headers[x-role] in [buyer]", "request.headers[x-role]"),
        ('when source.ip in ["10.0.0.0/8"]', "source.ip"),
        ("when connection.sni in [a.example]", "connection.sni"),
        ("to request.host in [a.example]", "request.host"),
    ],
)
def test_what_a_cell_leaves_open_is_named_where_it_matters(of: Of, condition: str, on: str) -> None:
    found = cell(of(f"policy p in shop allow {condition}"), OTHER, "any (other paths)")
    assert (found.answer, found.on) == (Answer.DEPENDS, (on,))
    assert found.allowed is not None
    assert found.denied is not None


def test_conditions_of_several_policies_are_met_together(of: Of) -> None:
    found = cell(
        of(
            "policy p in shop allow when request.headers[x-a] in [one] "
            "policy d in shop deny when not request.headers[x-b] in [two]"
        ),
        OTHER,
        "any (other paths)",
    )
    assert found.answer is Answer.DEPENDS
    assert found.allowed is not None
    assert found.allowed.case.attributes.headers == {"x-a": ("one",), "x-b": ("two",)}


def test_a_condition_that_another_policy_makes_vain_is_none(of: Of) -> None:
    found = cell(
        of(
            "policy p in shop allow when request.headers[x-a] in [one] "
            "policy d in shop deny when request.headers[x-a] in [one]"
        ),
        OTHER,
        "any (other paths)",
    )
    assert found.answer is Answer.DENY


def test_who_shows_a_token_is_a_caller_and_bad_tokens_are_not_spoken_of(of: Of) -> None:
    matrix = of(
        "tokens t in shop for app=api accept issuer https://idp.example audience in [shop] keys at https://idp.example/k "
        'policy p in shop for app=api allow from request.auth.principal in ["https://idp.example/*"] '
        'policy o in shop for app=api allow to request.path in ["/open"]'
    )
    assert cell(matrix, "a token of https://idp.example", "any (other paths)").answer is Answer.ALLOW
    assert cell(matrix, "plaintext, no token", "any (other paths)").answer is Answer.DENY
    assert cell(matrix, "shop/web", "any (other paths)").on == ("request.auth.principal",)
    assert cell(matrix, "shop/web", "any /open").answer is Answer.ALLOW


def test_plaintext_is_refused_where_mtls_is_demanded_and_nobody_is_somebody_where_it_is_off(of: Of) -> None:
    strict = of("mtls m in shop strict policy p in shop allow everything")
    refused = cell(strict, "plaintext", "any (other paths)")
    assert refused.answer is Answer.DENY
    assert refused.decision is not None
    assert "shop/m demands mTLS" in refused.decision.reason
    off = of('mtls m in shop disable policy p in shop allow from source.principal in ["cluster.local/ns/shop/sa/web"]')
    assert cell(off, "shop/web", "any (other paths)").answer is Answer.DENY


def test_ports_are_told_apart_where_the_workload_has_several(of: Of) -> None:
    several = DEPLOYMENTS.replace("[{containerPort: 8080}]", "[{containerPort: 8080}, {containerPort: 9090}]")
    ward = "policy p in shop allow to destination.port in [9090]"
    matrix = of(ward, workloads=several)
    assert cell(matrix, OTHER, "any (other paths) on port 9090").answer is Answer.ALLOW
    assert cell(matrix, OTHER, "any (other paths) on port 8080").answer is Answer.DENY
    assert cell(of(ward), OTHER, "any (other paths)").answer is Answer.DENY


def test_what_an_external_authorizer_decides_depends_on_it(of: Of) -> None:
    provider = "extensionProviders: [{name: opa, envoyExtAuthzGrpc: {service: opa.ops.svc.cluster.local, port: 9000}}]"
    found = cell(of('policy c in shop custom by opa to request.path in ["/a"]', mesh=provider), OTHER, "any /a")
    assert (found.answer, found.on) == (Answer.DEPENDS, ("an external authorizer",))


def test_a_path_that_no_proxy_hands_on_is_asked_for_by_nobody(of: Of) -> None:
    matrix = of(
        'policy p in shop deny to request.path in ["/a//b"]', mesh="pathNormalization: {normalization: MERGE_SLASHES}"
    )
    assert cell(matrix, OTHER, "any /a//b").answer is Answer.NEVER


def test_the_rule_that_decides_is_told(of: Of) -> None:
    found = cell(of('policy p in shop deny to request.path in ["/a"]'), OTHER, "any /a")
    assert found.decision is not None
    assert found.decision.match == ("shop/p", 0)


def test_a_workload_that_is_not_there_is_said(of: Of) -> None:
    with pytest.raises(UnknownWorkloadError, match="no workload `shop/nobody`"):
        list(matrices(of.snapshot("policy p in shop allow nothing"), "shop/nobody"))


def test_a_matrix_that_nobody_looks_at_is_refused(of: Of) -> None:
    paths = ", ".join(f'"/p{number}"' for number in range(150))
    names = ", ".join(f'"cluster.local/ns/a/sa/n{number}"' for number in range(150))
    policies = " ".join(
        f'policy p{number} in shop allow from source.principal in ["cluster.local/ns/a/sa/n{number}"]'
        for number in range(150)
    )
    with pytest.raises(TooLargeError, match=r"shop/api has \d+ routes and \d+ kinds of callers"):
        of(f"{policies} policy all in shop allow from source.principal in [{names}] and to request.path in [{paths}]")


# The graph --------------------------------------------------------------------------------------------------------------


def lines(found: Graph) -> dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]]:
    return {(edge.source, edge.target): (edge.what.allowed, edge.what.depends) for edge in found.edges}


def test_the_graph_has_a_line_for_who_may_more_than_anyone(of: Of) -> None:
    snapshot = of.snapshot(
        'policy p in shop for app=api allow from source.principal in ["cluster.local/ns/shop/sa/web"] and to request.path in ["/a"] '
        "or allow from source.namespace in [ops] and when request.headers[x] in [y]"
        " policy none in shop allow nothing"
    )
    found = graph(snapshot, matrices(snapshot))
    assert lines(found) == {
        ("shop/web", "shop/api"): (("any /a",), ()),
        ("namespace ops", "shop/api"): ((), ("any HTTP",)),
    }
    assert [(node.name, node.namespace) for node in found.nodes] == [
        ("shop/api", "shop"),
        ("shop/batch", "shop"),
        ("shop/web", "shop"),
        ("namespace ops", None),
    ]


def test_what_anyone_may_is_said_at_the_workload(of: Of) -> None:
    snapshot = of.snapshot(
        'policy p in shop for app=api allow from source.principal in ["*"] or allow to request.path in ["/open"]'
    )
    found = graph(snapshot, matrices(snapshot))
    (api,) = [node for node in found.nodes if node.name == "shop/api"]
    assert (api.mesh.allowed, api.plaintext.allowed) == (("anything",), ("any /open",))
    assert lines(found) == {}


def test_over_tcp_nothing_of_http_is_asked(of: Of) -> None:
    matrix = of('policy p in shop deny to request.path in ["/a"]')
    assert [route.name for route in matrix.routes if route.protocol is Protocol.TCP] == ["TCP"]
    # A DENY that is about HTTP denies every connection, for what cannot be compared is left out of it.
    assert cell(matrix, OTHER, "TCP").answer is Answer.DENY
