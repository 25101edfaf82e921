"""What is wrong only with several documents together; each row has its first case in `validation_rows.yaml`."""

from time import perf_counter

import pytest

from authz.mesh_config import MeshConfig
from authz.model import Policy, TargetRef
from authz.peer_authentication import MtlsMode, PeerAuthentication
from parser.cross_checks import check_mesh
from parser.diagnostics import Diagnostic
from parser.manifests import Manifests, parse_manifests
from parser.problems import MAX_PROBLEMS
from tests.unit.parser.documents import marked

POD = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop, labels: {app: api}}}"
WAYPOINT = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: w, namespace: shop}, spec: {gatewayClassName: istio-waypoint}}"
EDGE = "{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: shop}, spec: {gatewayClassName: istio}}"
AT_EDGE = "targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: edge}]"


def policy(spec: str, *, namespace: str = "shop", kind: str = "AuthorizationPolicy", name: str = "a") -> str:
    return f"{{apiVersion: security.istio.io/v1, kind: {kind}, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{{spec}}}}}"


def tokens(spec: str = "jwtRules: [{issuer: i}]", *, namespace: str = "shop") -> str:
    return policy(spec, namespace=namespace, kind="RequestAuthentication")


def check(*documents: str) -> list[Diagnostic]:
    found = parse_manifests([("f.yaml", text(*documents).encode())])
    assert not found.errors, found.diagnostics
    return list(check_mesh(found, found.mesh_config))


def text(*documents: str) -> str:
    return "\n---\n".join(documents) + "\n"


def codes(*documents: str) -> list[str]:
    return [each.code for each in check(*documents)]


def the_help(*documents: str) -> str | None:
    (problem,) = check(*documents)
    return problem.help


def test_nothing_is_missing_from_nothing() -> None:
    assert check() == []
    assert codes(policy("selector: {matchLabels: {app: x}}"), policy("rules: [{from: [{source: {namespaces: [x]}}]}]", name="b")) == []  # fmt: skip


# Workloads -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["AuthorizationPolicy", "RequestAuthentication", "PeerAuthentication"])
@pytest.mark.parametrize(
    ("selector", "namespace", "found"),
    [
        ("selector: {matchLabels: {app: api}}", "shop", []),
        ("selector: {matchLabels: {app: api, tier: x}}", "shop", ["no-workload"]),
        ("selector: {matchLabels: {app: api}}", "ops", ["no-workload"]),
        ("", "shop", []),
        ("", "ops", ["no-workload"]),
        ("", "istio-system", []),
    ],
)
def test_a_policy_for_nobody_is_warned_about(kind: str, selector: str, namespace: str, found: list[str]) -> None:
    assert codes(POD, policy(selector, namespace=namespace, kind=kind)) == found


def test_a_selector_in_the_root_namespace_selects_in_all() -> None:
    assert codes(POD, policy("selector: {matchLabels: {app: api}}", namespace="istio-system")) == []
    assert codes(POD, policy("selector: {matchLabels: {app: x}}", namespace="istio-system")) == ["no-workload"]


def test_a_policy_without_target_is_for_no_waypoint() -> None:
    assert codes(WAYPOINT, policy("")) == ["no-workload"]
    # For the whole mesh it may be meant for what comes later.
    assert codes(WAYPOINT, policy("", namespace="istio-system")) == []


def test_a_misspelt_label_gets_a_suggestion() -> None:
    assert the_help(POD, policy("selector: {matchLabels: {app: apii}}")) == "did you mean `app: api`?"


def test_a_problem_points_at_the_selector_or_at_the_name() -> None:
    for spec, place in (("selector: {matchLabels: {app: x}}", "{matchLabels: {app: x}}"), ("", "a")):
        namespace = "shop" if spec else "ops"
        documents = (POD, policy(spec, namespace=namespace))
        (problem,) = check(*documents)
        assert marked(text(*documents), problem) == place


# Targets --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["targetRef: {}", "targetRefs: [{}]"])
@pytest.mark.parametrize(
    ("target", "holds", "found"),
    [
        ("kind: Gateway, group: gateway.networking.k8s.io, name: edge", EDGE, []),
        ("kind: Gateway, group: gateway.networking.k8s.io, name: edgy", EDGE, ["missing-target"]),
        ("kind: Gateway, group: gateway.networking.k8s.io, name: edge", POD, []),
        ("kind: Service, name: api", "{apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}}", []),
        ("kind: Service, name: api", "{apiVersion: v1, kind: Service, metadata: {name: api, namespace: ops}}", ["missing-target"]),
        ("kind: ServiceEntry, group: networking.istio.io, name: e", "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: e, namespace: shop}}", []),
        ("kind: ServiceEntry, group: networking.istio.io, name: e", "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: f, namespace: shop}}", ["missing-target"]),
        ("kind: ServiceEntry, group: networking.istio.io, name: e", "{apiVersion: v1, kind: Service, metadata: {name: e, namespace: shop}}", []),
        ("kind: Service, name: api", POD, ["no-waypoint"]),
        ("kind: Service, name: api", text(POD, WAYPOINT), []),
    ],
)  # fmt: skip
def test_a_target_is_looked_for_among_others_of_its_kind(field: str, target: str, holds: str, found: list[str]) -> None:
    assert codes(holds, policy(field.replace("{}", "{" + target + "}"))) == found


def test_pods_may_stand_for_a_gateway_that_is_not_declared() -> None:
    pods = "{apiVersion: v1, kind: Pod, metadata: {name: x, namespace: shop, labels: {gateway.networking.k8s.io/gateway-name: old}}}"
    assert codes(EDGE, pods, policy("targetRef: {kind: Gateway, group: gateway.networking.k8s.io, name: old}")) == []


@pytest.mark.parametrize(
    ("name", "namespace", "found"),
    [
        ("istio-waypoint", "istio-system", []),
        ("istio-waypoint", "shop", ["inert-target"]),
        ("istio", "istio-system", ["inert-target"]),
    ],
)
def test_a_class_is_a_target_for_waypoints_in_the_root_namespace_only(name: str, namespace: str, found: list[str]) -> None:  # fmt: skip
    spec = f"targetRefs: [{{kind: GatewayClass, group: gateway.networking.k8s.io, name: {name}}}]"
    assert codes(policy(spec, namespace=namespace)) == found
    assert codes(tokens(spec, namespace=namespace)) == found


def test_the_root_namespace_is_that_of_the_mesh_configuration() -> None:
    spec = "targetRefs: [{kind: GatewayClass, group: gateway.networking.k8s.io, name: istio-waypoint}]"
    assert codes("rootNamespace: shop", policy(spec)) == []
    strict = policy("selector: {matchLabels: {app: api}}, mtls: {mode: STRICT}", kind="PeerAuthentication")
    assert codes("rootNamespace: shop", strict) == ["selector-in-root"]
    assert codes(strict) == []


def test_what_is_wrong_with_policies_that_no_document_holds_is_said_too() -> None:
    peers = PeerAuthentication(namespace="istio-system", name="a", selector={"app": "api"}, mode=MtlsMode.STRICT)
    waypoints = TargetRef(kind="GatewayClass", name="istio-waypoint", group="gateway.networking.k8s.io")
    found = Manifests(
        policies=(Policy(namespace="shop", name="a", target_refs=(waypoints,)),), peer_authentications=(peers,)
    )
    assert [each.code for each in check_mesh(found, None)] == ["inert-target", "selector-in-root"]


# Names ----------------------------------------------------------------------------------------------------------------------


def test_an_authorizer_is_looked_for_only_where_there_is_a_mesh_configuration() -> None:
    ask = policy("action: CUSTOM, provider: {name: exta}, rules: [{}]")
    provider = "extensionProviders: [{name: extb, envoyExtAuthzGrpc: {service: a, port: 1}}]"
    assert codes(ask) == []
    assert the_help("trustDomain: a", ask) == "it has no `extensionProviders`"
    assert the_help(provider, ask) == "did you mean `extb`?"
    assert the_help(provider.replace("extb", "other"), ask) == "its authorizers are `other`"
    assert codes(provider.replace("extb", "exta"), ask) == []


@pytest.mark.parametrize(
    ("service", "lacking"),
    [
        ("authz.ops.svc.cluster.local", False),
        ("authz.ops.svc.td.example", False),
        ("ops/authz.ops.svc.cluster.local", False),
        ("shop/authz.ops.svc.cluster.local", True),
        ("authz.shop.svc.cluster.local", True),
        ("api.example.com", False),
        ("API.example.com", False),
        ("www.example.com", True),
        ("authz", True),
        ("10.0.0.1", False),
    ],
)
def test_the_service_of_an_authorizer_is_looked_for_among_services(service: str, lacking: bool) -> None:  # noqa: FBT001  # a case's expectation
    config = f"extensionProviders: [{{name: a, envoyExtAuthzGrpc: {{service: {service}, port: 1}}}}]"
    services = "{apiVersion: v1, kind: Service, metadata: {name: authz, namespace: ops}}"
    entries = "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: e}, spec: {hosts: [api.example.com]}}"
    assert codes(config, services, entries) == (["unknown-service"] if lacking else [])
    assert codes(config) == []


@pytest.mark.parametrize(
    ("value", "lacking"),
    [
        ("shop", False),
        ("ops", False),
        ("default", False),
        ("istio-system", False),
        ("Shop", True),
        ("sho", True),
        ("sho*", False),
        ("*hop", False),
        ("*op", False),
        ("x*", True),
        ("*x", True),
        ("*", False),
        ("s*p", False),
        ("x*y", False),
        ("z", True),
        ("a", True),
    ],
)
def test_a_namespace_is_looked_for_as_the_value_says(value: str, lacking: bool) -> None:  # noqa: FBT001  # a case's expectation
    shop = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"
    ops = "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ops}}"
    elsewhere = "{apiVersion: v1, kind: Pod, metadata: {name: q, namespace: shop}}"
    expected = ["unknown-namespace"] if lacking else []
    for spec in (
        f"from: [{{source: {{namespaces: ['{value}']}}}}]",
        f"from: [{{source: {{notNamespaces: ['{value}']}}}}]",
        f"when: [{{key: source.namespace, values: ['{value}']}}]",
        f"when: [{{key: source.namespace, notValues: ['{value}']}}]",
    ):
        assert codes(shop, ops, elsewhere, policy(f"rules: [{{{spec}}}]")) == expected


@pytest.mark.parametrize(
    ("field", "value", "lacking"),
    [
        ("principals", "cluster.local/ns/shpo/sa/web", True),
        ("notPrincipals", "cluster.local/ns/shpo/*", True),
        ("principals", "cluster.local/ns/shop/sa/web", False),
        ("principals", "cluster.local/ns/shp*", False),
        ("principals", "*/ns/shpo/sa/web", False),
        ("principals", "other/ns/shpo/sa/web", False),
        ("serviceAccounts", "shpo/web", True),
        ("notServiceAccounts", "shop/web", False),
        ("serviceAccounts", "web", False),
    ],
)
def test_a_namespace_in_the_name_of_a_caller_is_looked_for_too(field: str, value: str, lacking: bool) -> None:  # noqa: FBT001  # a case's expectation
    shop = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"
    expected = ["unknown-namespace"] if lacking else []
    assert codes(shop, policy(f"rules: [{{from: [{{source: {{{field}: ['{value}']}}}}]}}]")) == expected
    if "rincipals" in field:
        condition = f"rules: [{{when: [{{key: source.principal, values: ['{value}']}}]}}]"
        assert codes(shop, policy(condition)) == expected


def test_a_caller_of_a_mesh_that_is_called_otherwise_is_of_this_one() -> None:
    shop = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"
    for trust_domain in ("td.example", "cluster.local"):
        spec = f"rules: [{{from: [{{source: {{principals: [{trust_domain}/ns/shpo/sa/web]}}}}]}}]"
        assert codes("trustDomain: td.example", shop, policy(spec)) == ["unknown-namespace"]


# Rules that match nothing ------------------------------------------------------------------------------------------------------

READS_TOKENS = "rules: [{from: [{source: {requestPrincipals: ['*']}}]}]"


@pytest.mark.parametrize(
    ("verified", "found"),
    [
        (tokens(), []),
        (tokens(namespace="istio-system"), []),
        (tokens("selector: {matchLabels: {app: api}}, jwtRules: [{issuer: i}]"), []),
        (tokens("selector: {matchLabels: {app: web}}, jwtRules: [{issuer: i}]"), ["no-tokens", "no-workload"]),
        (tokens("jwtRules: []"), ["no-tokens"]),
        (tokens(namespace="ops"), ["no-tokens", "no-workload"]),
    ],
)
@pytest.mark.parametrize("rules", [READS_TOKENS, "rules: [{}, {when: [{key: 'request.auth.claims[a]', values: [b]}]}]"])
def test_a_rule_on_tokens_needs_somebody_to_verify_them(rules: str, verified: str, found: list[str]) -> None:
    assert sorted(codes(POD, verified, policy(rules))) == found


def test_without_any_request_authentication_tokens_may_be_verified_elsewhere() -> None:
    assert codes(POD, policy(READS_TOKENS)) == []


def test_it_is_enough_that_one_of_the_workloads_takes_tokens() -> None:
    other = "{apiVersion: v1, kind: Pod, metadata: {name: q, namespace: shop}}"
    assert codes(POD, other, tokens("selector: {matchLabels: {app: api}}, jwtRules: [{issuer: i}]"), policy(READS_TOKENS)) == []  # fmt: skip


def test_tokens_at_a_gateway_are_looked_for_there() -> None:
    assert codes(EDGE, tokens(f"{AT_EDGE}, jwtRules: [{{issuer: i}}]"), policy(f"{AT_EDGE}, {READS_TOKENS}")) == []
    assert codes(EDGE, tokens(f"{AT_EDGE}, jwtRules: []"), policy(f"{AT_EDGE}, {READS_TOKENS}")) == ["no-tokens"]


def test_tokens_at_the_services_of_a_waypoint_are_not_judged() -> None:
    at_service = "targetRefs: [{kind: Service, name: api}]"
    assert codes(WAYPOINT, tokens("targetRefs: [{kind: Service, name: web}]"), policy(f"{at_service}, {READS_TOKENS}")) == []  # fmt: skip
    both = "targetRefs: [{kind: Service, name: api}, {kind: Gateway, group: gateway.networking.k8s.io, name: w}]"
    assert codes(WAYPOINT, tokens(f"{at_service}, jwtRules: [{{issuer: i}}]"), policy(f"{both}, {READS_TOKENS}")) == []


def test_a_rule_on_http_is_dead_where_every_service_of_every_workload_carries_something_else() -> None:
    def service(name: str, *, app: str = "api", protocol: str = "mysql") -> str:
        return f"{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: shop}}, spec: {{selector: {{app: {app}}}, ports: [{{name: {protocol}, port: 1}}]}}}}"

    http = policy("rules: [{to: [{operation: {methods: [GET]}}]}, {from: [{source: {namespaces: [shop]}}]}]")
    other = "{apiVersion: v1, kind: Pod, metadata: {name: q, namespace: shop, labels: {app: web}}}"
    assert codes(POD, service("a"), http) == ["dead-rule"]
    assert codes(POD, service("a"), service("b", protocol="http"), http) == []
    assert codes(POD, service("a", app="web"), http) == []
    assert codes(POD, other, service("a"), http) == []
    assert codes(POD, other, service("a"), service("b", app="web"), http) == ["dead-rule"]
    assert codes(POD, service("a"), policy("action: DENY, rules: [{to: [{operation: {methods: [GET], ports: ['1']}}]}]")) == []  # fmt: skip


# Cost -------------------------------------------------------------------------------------------------------------------------


def test_thousands_of_policies_and_workloads_are_checked_in_seconds() -> None:
    documents = [f"{{apiVersion: v1, kind: Pod, metadata: {{name: p{n}, namespace: shop, labels: {{app: a{n}}}}}}}" for n in range(2000)]  # fmt: skip
    documents += [
        policy(f"selector: {{matchLabels: {{app: a{n}}}}}, {READS_TOKENS}", name=f"a{n}", namespace="istio-system")
        for n in range(2000)
    ]
    documents.append(tokens())
    found = parse_manifests([("f.yaml", text(*documents).encode())])
    started = perf_counter()
    assert check_mesh(found, MeshConfig()) == ()
    assert perf_counter() - started < 5


def test_problems_are_kept_up_to_a_number_for_each_file() -> None:
    names = ", ".join(f"n{number}" for number in range(MAX_PROBLEMS * 3))
    documents = (POD, "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}", policy(f"rules: [{{from: [{{source: {{namespaces: [{names}]}}}}]}}]"))  # fmt: skip
    assert len(check(*documents)) == MAX_PROBLEMS + 1
