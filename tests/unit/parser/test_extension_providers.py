"""External authorizers in a mesh configuration; each rule of 6.1 and 8.7 has its case in `validation_rows.yaml`."""

import pytest
from envoy.type.v3.http_status_pb2 import StatusCode

from authz.extension_provider import BodyCheck, ExtensionProvider, GrpcProvider, HttpProvider
from authz.mesh_config import MeshConfig
from parser.diagnostics import Diagnostic
from parser.extension_providers import STATUS_CODES
from parser.mesh_config import parse_mesh_config
from tests.unit.parser.documents import manifests, marked

GRPC = "{name: grpc, envoyExtAuthzGrpc: {service: authz.ops.svc.cluster.local, port: 9191}}"


def read(*providers: str) -> tuple[MeshConfig | None, list[Diagnostic]]:
    return parse_mesh_config(f"extensionProviders: [{', '.join(providers)}]\n".encode(), "mesh.yaml")


def providers(*written: str) -> tuple[ExtensionProvider, ...]:
    config, problems = read(*written)
    assert not problems
    assert config is not None
    return config.extension_providers


def http(fields: str = "") -> str:
    return f"{{name: http, envoyExtAuthzHttp: {{service: a.example, port: 80, {fields}}}}}"


def codes(*written: str) -> list[str]:
    config, problems = read(*written)
    assert (config is None) is any(each.severity.value == "error" for each in problems)
    return [each.code for each in problems]


def test_a_grpc_authorizer_is_read_whole() -> None:
    written = """{name: grpc, envoyExtAuthzGrpc: {service: ops/authz.example, port: '9191', timeout: 500ms, failOpen: true,
      clearRouteCache: true, statusOnError: "503",
      includeRequestBodyInCheck: {maxRequestBytes: 1024, allowPartialMessage: true, packAsBytes: true}}}"""
    (found,) = providers(written)
    assert found == GrpcProvider(
        name="grpc",
        service="ops/authz.example",
        port=9191,
        timeout=0.5,
        fail_open=True,
        status_on_error=503,
        body=BodyCheck(max_request_bytes=1024, allow_partial_message=True, pack_as_bytes=True),
    )
    assert found.host == "authz.example"


def test_an_http_authorizer_is_read_whole() -> None:
    written = """pathPrefix: /check, includeRequestHeadersInCheck: [x-a, "x-b*", "*-c"], includeHeadersInCheck: [old],
      includeAdditionalHeadersInCheck: {x-from: mesh}, headersToUpstreamOnAllow: [x-user],
      headersToDownstreamOnAllow: [set-cookie], headersToDownstreamOnDeny: [www-authenticate]"""
    assert providers(http(written)) == (
        HttpProvider(
            name="http",
            service="a.example",
            port=80,
            path_prefix="/check",
            include_request_headers=("x-a", "x-b*", "*-c"),
            include_additional_headers={"x-from": "mesh"},
            headers_to_upstream_on_allow=("x-user",),
            headers_to_downstream_on_allow=("set-cookie",),
            headers_to_downstream_on_deny=("www-authenticate",),
        ),
    )


def test_the_deprecated_list_of_headers_counts_where_the_new_one_is_empty() -> None:
    (found,) = providers(http("includeHeadersInCheck: [old], includeRequestHeadersInCheck: []"))
    assert isinstance(found, HttpProvider)
    assert found.include_request_headers == ("old",)


def test_what_is_not_given_has_istios_default() -> None:
    (found,) = providers(GRPC)
    assert (found.timeout, found.fail_open, found.status_on_error, found.body) == (600.0, False, 403, None)
    assert providers(http("statusOnError: '', pathPrefix: ''")) == providers(http())


def test_providers_of_other_things_are_left_alone_whatever_is_in_them() -> None:
    others = ("{name: zipkin, zipkin: {service: 7}}", "{name: '', prometheus: {}}", "{name: Log_1, envoyFileAccessLog: x}", "{new: 1}")  # fmt: skip
    assert providers(*others) == ()
    assert [each.name for each in providers(*others, GRPC)] == ["grpc"]


def test_a_provider_knows_its_place_in_the_text_of_a_config_map_too() -> None:
    text = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\ndata:\n  mesh: |\n"
        f"    trustDomain: a\n    extensionProviders:\n    - {GRPC}\n"
    )
    config = manifests(text).mesh_config
    assert config is not None
    (found,) = config.extension_providers
    assert found.span is not None
    assert text.split("\n")[found.span.line - 1][found.span.column - 1 : found.span.end_column - 1] == "grpc"


def test_the_statuses_are_those_of_envoy_but_for_its_zero() -> None:
    assert set(StatusCode.values()) - {0} == STATUS_CODES


@pytest.mark.parametrize("status", ["0", "200.5", "299", "-403", "+403", "Forbidden", "999999999999", "٤٠٣"])
def test_a_status_that_envoy_does_not_have_is_an_error(status: str) -> None:
    assert codes(http(f"statusOnError: '{status}'")) == ["bad-status"]


def test_a_status_without_quotes_is_an_error_as_it_is_to_istio() -> None:
    _, (problem,) = read(http("statusOnError: 503"))
    assert (problem.code, problem.help) == ("wrong-type", 'quote it: "503"')


@pytest.mark.parametrize(
    "service", ["authz", "authz.ops.svc.cluster.local", "ops/authz.example", "10.0.0.1", "'2001:db8::1'", "A.Example"]
)
def test_a_service_is_a_host_in_a_namespace_or_without(service: str) -> None:
    assert codes(f"{{name: a, envoyExtAuthzGrpc: {{service: {service}, port: 1}}}}") == []


@pytest.mark.parametrize(
    "service",
    ["''", "a/b/c", "/a", "ops/", "Ops/a", "a_b", "a..b", "-a", "a.", "'*.example'", "ops/10.0.0.1", "http://a", "a:80", "a b", "1.2.3.4.5", "a" * 64, "a." * 127 + "aa", "é"],
)  # fmt: skip
def test_a_service_that_is_none_is_an_error(service: str) -> None:
    assert codes(f"{{name: a, envoyExtAuthzGrpc: {{service: {service}, port: 1}}}}") == ["bad-service"]


@pytest.mark.parametrize("port", ["0", "65536", "-1", "'0'"])
def test_a_port_out_of_range_is_an_error(port: str) -> None:
    assert codes(f"{{name: a, envoyExtAuthzGrpc: {{service: a, port: {port}}}}}") == ["bad-port"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ("timeout: 0s", "bad-duration"),
        ("timeout: -1s", "bad-duration"),
        ("timeout: soon", "bad-duration"),
        ("timeout: 5", "wrong-type"),
        ("failOpen: 'true'", "wrong-type"),
        ("failOpn: true", "unknown-field"),
        ("pathPrefix: check", "bad-path-prefix"),
        ("pathPrefix: '/a b'", "bad-path-prefix"),
        ("pathPrefix: '/%zz'", "bad-path-prefix"),
        ("includeRequestHeadersInCheck: [a, '*']", "lone-wildcard"),
        ("includeHeadersInCheck: ['*']", "lone-wildcard"),
        ("headersToUpstreamOnAllow: ['*']", "lone-wildcard"),
        ("headersToDownstreamOnAllow: ['*']", "lone-wildcard"),
        ("headersToDownstreamOnDeny: ['*']", "lone-wildcard"),
        ("headersToDownstreamOnDeny: ['']", "empty-value"),
        ("includeAdditionalHeadersInCheck: {'a b': c}", "bad-header"),
        ('includeAdditionalHeadersInCheck: {a: "b\\r\\nc: d"}', "bad-header"),
        ("includeRequestBodyInCheck: {}", "bad-size"),
        ("includeRequestBodyInCheck: {maxRequestBytes: 0}", "bad-size"),
        ("includeRequestBodyInCheck: {maxRequestBytes: 4294967296}", "bad-size"),
        ("includeRequestBodyInCheck: {maxBytes: 1}", "unknown-field"),
    ],
)
def test_what_is_wrong_with_an_http_authorizer_is_an_error(fields: str, code: str) -> None:
    assert code in codes(http(fields))


def test_only_http_authorizers_have_headers_and_paths() -> None:
    assert codes("{name: a, envoyExtAuthzGrpc: {service: a, port: 1, pathPrefix: /a}}") == ["unknown-field"]


@pytest.mark.parametrize("name", ["A", "a_b", "a.b", "-a", "a-", "a" * 64, "a/b"])
def test_the_name_of_an_authorizer_is_a_dns_label(name: str) -> None:
    assert codes(f"{{name: {name}, envoyExtAuthzGrpc: {{service: a, port: 1}}}}") == ["bad-name"]


def test_an_authorizer_needs_a_name_a_service_and_a_port() -> None:
    assert codes("{envoyExtAuthzGrpc: {service: a, port: 1}}") == ["missing-name"]
    assert codes("{name: a, envoyExtAuthzGrpc: {}}") == ["bad-service", "bad-port"]


def test_what_follows_from_another_problem_is_not_reported_too() -> None:
    assert codes("{name: a, envoyExtAuthzGrpc: x}") == ["wrong-type"]
    assert codes("{name: a, envoyExtAuthzGrpc: {service: [a], port: [1]}}") == ["wrong-type", "wrong-type"]
    assert codes("x") == ["wrong-type"]


def test_names_are_unique_among_all_providers() -> None:
    assert codes(GRPC, GRPC) == ["duplicate-provider"]
    assert codes("{name: grpc, zipkin: {}}", GRPC) == ["duplicate-provider"]
    assert codes(GRPC, "{name: grpc, zipkin: {}}") == ["duplicate-provider"]
    assert codes("{name: a, zipkin: {}}", "{name: a, zipkin: {}}") == []


def test_a_provider_is_of_one_kind() -> None:
    both = "{name: a, envoyExtAuthzGrpc: {service: a, port: 1}, envoyExtAuthzHttp: {service: a, port: 1}}"
    assert codes(both) == ["two-providers"]


@pytest.mark.parametrize(
    ("field", "code"), [("envoyExtAuthzGRPC", "error"), ("envoy_ext_authz_grpc", "error"), ("envoyExtAuthGrpc", "warning")]
)  # fmt: skip
def test_a_kind_misspelt_is_not_taken_for_somebody_elses(field: str, code: str) -> None:
    _, (problem,) = read(f"{{name: a, {field}: {{service: a, port: 1}}}}")
    assert (problem.code, problem.severity.value) == ("unknown-field", code)


@pytest.mark.parametrize(("one", "other", "confused"), [("auth", "auth-ns", True), ("auth", "auth-n", True), ("auth", "auth-nsx", False), ("auth", "auth2", False), ("auth-ns", "auth-ns-ns", True), ("a", "b-ns", False)])  # fmt: skip
def test_names_that_envoy_cannot_tell_apart_are_an_error(one: str, other: str, confused: bool) -> None:  # noqa: FBT001  # a case's expectation
    written = [f"{{name: {name}, envoyExtAuthzGrpc: {{service: a, port: 1}}}}" for name in (one, other)]
    assert codes(*written) == (["confusable-providers"] if confused else [])
    assert codes(*reversed(written)) == (["confusable-providers"] if confused else [])


def test_a_problem_points_at_the_value() -> None:
    text = f"extensionProviders: [{http('pathPrefix: check')}]\n"
    _, (problem,) = parse_mesh_config(text.encode(), "mesh.yaml")
    assert marked(text, problem) == "check"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("defaultConfig: {gatewayTopology: {numTrustedProxies: -1}}", "bad-number"),
        ("defaultConfig: {gatewayTopology: {numTrustedProxies: 4294967296}}", "bad-number"),
        ("defaultConfig: {gatewayTopology: {numTrustedProxies: two}}", "wrong-type"),
        ("defaultConfig: {gatewayTopology: 2}", "wrong-type"),
        ("defaultConfig: {gatewayTopology: {num_trusted_proxies: 2}}", "unknown-field"),
        ("defaultConfig: {gateway_topology: {numTrustedProxies: 2}}", "unknown-field"),
    ],
)
def test_trusted_proxies_are_a_number(text: str, code: str) -> None:
    config, problems = parse_mesh_config(text.encode(), "mesh.yaml")
    assert config is None
    assert [each.code for each in problems] == [code]


def test_trusted_proxies_are_none_unless_given() -> None:
    for text in ("defaultConfig: {}", "defaultConfig: {gatewayTopology: {}}", "defaultConfig: {concurrency: 1}"):
        assert parse_mesh_config(text.encode(), "mesh.yaml") == (MeshConfig(), [])
    config, _ = parse_mesh_config(b"defaultConfig: {gatewayTopology: {numTrustedProxies: '3'}}", "mesh.yaml")
    assert config == MeshConfig(trusted_proxies=3)
