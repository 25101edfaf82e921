"""Each test names its row in section 8.3 of the semantics."""

from time import perf_counter

import pytest

from parser.edits import Addition
from tests.unit.parser.documents import codes, only, problems


def source(field: str, *values: str) -> str:
    return f"rules:\n- from:\n  - source: {{{field}: [{quoted(values)}]}}\n"


def operation(field: str, *values: str) -> str:
    return f"rules:\n- to:\n  - operation: {{{field}: [{quoted(values)}]}}\n"


def when(key: str, *values: str, field: str = "values") -> str:
    return f"rules:\n- when:\n  - {{key: '{key}', {field}: [{quoted(values)}]}}\n"


def quoted(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{value}'" for value in values)


@pytest.mark.parametrize("field", ["ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"])
def test_a14_addresses_and_ranges(field: str) -> None:
    assert codes(source(field, "10.0.0.1", "10.1.2.3/8", "::1", "2001:db8::/32")) == []
    for wrong in ("10.0.0", "10.0.0.0/33", "x", "fe80::1%eth0", "10.0.0.0/255.0.0.0", "10.0.0.0/08", " 10.0.0.1"):
        assert only(source(field, "10.0.0.1", wrong))[:2] == ("bad-value", f"'{wrong}'")


@pytest.mark.parametrize(
    "spec",
    [
        source("principals", ""),
        source("notNamespaces", "a", ""),
        source("ipBlocks", ""),
        operation("paths", ""),
        operation("notHosts", ""),
        operation("ports", ""),
        when("request.headers[a]", ""),
        when("source.ip", "", field="notValues"),
    ],
)
def test_a15_no_value_is_empty(spec: str) -> None:
    assert only(spec)[:2] == ("empty-value", "''")


@pytest.mark.parametrize(
    "spec", [source("serviceAccounts", "{}"), source("notServiceAccounts", "{}"), when("source.serviceAccount", "{}")]
)
def test_a16_to_a20_service_accounts(spec: str) -> None:
    def with_value(*values: str) -> str:
        return spec.replace("'{}'", quoted(values))

    assert codes(with_value("web", "shop/web", "a" * 320)) == []
    assert codes(with_value(*["web"] * 16)) == []
    assert codes(with_value(*["web"] * 17)) == ["too-many-values"]
    for wrong in ("*", "web*", "a/b/c", "/web", "shop/", "a" * 321):
        assert only(with_value(wrong))[:2] == ("bad-value", f"'{wrong}'")


@pytest.mark.parametrize(
    "spec", [source("trustDomains", "{}"), source("notTrustDomains", "{}"), when("source.trustDomain", "{}")]
)
def test_a21_a22_trust_domains(spec: str) -> None:
    for right in ("*", "*.example", "example*", "td.example", "cluster.local"):
        assert codes(spec.replace("{}", right)) == []
    for wrong in ("*a*", "a*b", "**"):
        assert codes(spec.replace("{}", wrong)) == ["bad-value"]


def test_a23_a_slash_in_a_trust_domain_is_refused_in_the_field_only() -> None:
    assert codes(source("trustDomains", "a/b")) == ["bad-value"]
    assert codes(when("source.trustDomain", "a/b")) == []


@pytest.mark.parametrize(
    "spec", [operation("ports", "{}"), operation("notPorts", "{}"), when("destination.port", "{}")]
)
def test_a24_ports(spec: str) -> None:
    for right in ("0", "80", "65535"):
        assert codes(spec.replace("{}", right)) == []
    for wrong in ("65536", "-1", "http", "80-90", "*", "٣"):
        assert codes(spec.replace("{}", wrong)) == ["bad-value"]


@pytest.mark.parametrize("field", ["paths", "notPaths"])
def test_a25_a26_a27_paths(field: str) -> None:
    for right in ("/a", "*", "/a/*", "*/a", "a", "/a/{*}", "/{**}", "/a/{*}/b/{**}", "/a/{**}/b"):
        assert codes(operation(field, right)) == []
    for wrong in (
        "/a/{**}/{*}",
        "/{**}/{**}",
        "/a{*}",
        "/{x}",
        "/a}",
        "/a/{*}/b*",
        "/a/{*}//b",
        "a/{*}",
        "/é/{*}",
        "/{***}",
    ):
        assert only(operation(field, wrong))[:2] == ("bad-value", f"'{wrong}'")


@pytest.mark.parametrize(
    "key",
    [
        "request.headers",
        "request.headers[]",
        "request.headersX[a]",
        "request.auth.claims",
        "request.auth.claims[a",
        "experimental.envoy.filters.a",
    ],
)
def test_a31_a_key_without_its_name_in_brackets(key: str) -> None:
    assert only(when(key, "a"))[:2] == ("malformed-key", f"'{key}'")


@pytest.mark.parametrize("key", ["source.ip", "remote.ip", "destination.ip"])
def test_a32_addresses_in_conditions(key: str) -> None:
    assert codes(when(key, "10.0.0.0/8")) == []
    assert codes(when(key, "x")) == ["bad-value"]
    assert codes(when(key, "x", field="notValues")) == ["bad-value"]


@pytest.mark.parametrize(
    "key",
    ["destination.namespace", "destination.labels[app]", "destination.labels", "destination.name", "destination.user"],
)
def test_a33_a34_a35_keys_of_the_past(key: str) -> None:
    code, text, help_ = only(when(key, "a"))
    assert (code, text) == ("retired-key", f"'{key}'")
    assert help_


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("source.princpal", "did you mean `source.principal`?"),
        ("request.header[x-a]", "did you mean `request.headers[x-a]`?"),
        ("request.auth.claim[a][b]", "did you mean `request.auth.claims[a][b]`?"),
        ("source.ip[a]", "did you mean `source.ip`?"),
        ("Source.IP", "did you mean `source.ip`?"),
        ("request.path", "write it as `paths` of an operation in `to`"),
        ("request.method", "write it as `methods` of an operation in `to`"),
        ("zzzzzzzz", None),
    ],
)
def test_a36_an_unknown_key_gets_a_suggestion(key: str, remedy: str | None) -> None:
    assert only(when(key, "a")) == ("unknown-key", f"'{key}'", remedy)


@pytest.mark.parametrize(
    ("rule", "warns"),
    [
        ("{from: [{source: {requestPrincipals: ['*']}}]}", True),
        ("{from: [{source: {trustDomains: [a]}}]}", True),
        ("{from: [{source: {requestPrincipals: ['*'], namespaces: [a]}}]}", False),
        ("{from: [{source: {requestPrincipals: ['*']}}, {source: {notIpBlocks: [10.0.0.1]}}]}", False),
        ("{from: [{source: {serviceAccounts: [a]}}]}", False),
        ("{from: [{source: {namespaces: [a]}}], to: [{operation: {paths: [/a]}}]}", True),
        ("{to: [{operation: {methods: [GET]}}]}", True),
        ("{to: [{operation: {methods: [GET], ports: ['80']}}]}", False),
        ("{to: [{operation: {methods: [GET]}}, {operation: {notPorts: ['80']}}]}", False),
        ("{when: [{key: 'request.headers[a]', values: [b]}]}", False),
        ("{}", False),
    ],
)
def test_a37_a_deny_rule_on_http_alone_is_warned_about(rule: str, warns: bool) -> None:  # noqa: FBT001  # a case's expectation
    assert codes(f"action: DENY\nrules: [{rule}]") == (["denies-all-tcp"] if warns else [])
    assert codes(f"action: ALLOW\nrules: [{rule}]") == []


@pytest.mark.parametrize(
    "spec",
    [
        source("principals", "a*b", "*"),
        source("requestPrincipals", "no-slash"),
        operation("methods", "get", "BREW"),
        operation("hosts", "https://x:80", "EXAMPLE.com:80"),
        operation("paths", "no-slash", "a*b", "/a", "/a"),
    ],
)
def test_what_istio_accepts_is_accepted_however_odd(spec: str) -> None:
    assert codes(spec) == []


# What Istio takes and nobody can mean: section 10.2 -----------------------------------------------------------------------


@pytest.mark.parametrize("spec", [source("principals", "{}"), source("notPrincipals", "{}"), when("source.principal", "{}")])  # fmt: skip
def test_a_principal_with_its_scheme_is_an_error_for_it_matches_nobody(spec: str) -> None:
    name = "spiffe://cluster.local/ns/shop/sa/web"
    assert only(spec.replace("{}", name)) == ("spiffe-scheme", f"'{name}'", f"write `{name[9:]}`")
    assert codes(spec.replace("{}", "spiffe/web")) == []


@pytest.mark.parametrize("field", ["hosts", "notHosts"])
@pytest.mark.parametrize(
    ("hosts", "warned", "remedy"),
    [
        (("a.example",), 1, "add `a.example:*`"),
        (("*.example",), 1, "add `*.example:8080` for each port in use"),
        (("a.example", "b.example"), 2, None),
        (("a.example", "b.example:*"), 1, "add `a.example:*`"),
        (("a.example", "a.example:*"), 0, None),
        (("a.example", "a.example:8080"), 0, None),
        (("*.example", "*.example:80"), 0, None),
        (("a.example:8080",), 0, None),
        (("a.example", "a.exam*"), 0, None),
        (("a.example", "b.exam*"), 1, "add `a.example:*`"),
        (("*",), 0, None),
        (("a.*",), 0, None),
        (("[::1]",), 1, "add `[::1]:*`"),
        (("[::1]", "[::1]:80"), 0, None),
    ],
)
def test_a_host_without_a_variant_with_a_port_is_warned_about(
    field: str, hosts: tuple[str, ...], warned: int, remedy: str | None
) -> None:
    found = problems(operation(field, *hosts))
    assert [(each.code, each.severity.value) for each in found] == [("host-without-port", "warning")] * warned
    assert remedy is None or [each.help for each in found] == [remedy]


@pytest.mark.parametrize(
    ("action", "field", "mended"),
    [("DENY", "hosts", True), ("ALLOW", "hosts", False), ("DENY", "notHosts", False), ("ALLOW", "notHosts", True)],
)
def test_a_host_gets_its_variant_only_where_that_keeps_out_more(action: str, field: str, mended: bool) -> None:  # noqa: FBT001  # a case's expectation
    spec = f"action: {action}\nrules: [{{to: [{{operation: {{ports: ['80'], {field}: [a.example]}}}}]}}]"
    (found,) = problems(spec)
    expected = [Addition(found.span, "a.example:*")] if mended else []
    assert list(found.fix) == expected


def test_a_suffix_of_hosts_gets_none() -> None:
    (found,) = problems("action: DENY\nrules: [{to: [{operation: {ports: ['80'], hosts: ['*.example']}}]}]")
    assert found.fix == ()


@pytest.mark.parametrize("field", ["values", "notValues"])
@pytest.mark.parametrize(
    ("value", "warned"),
    [("true", True), ("False", True), ("7", True), ("-1.5", True), ("v7", False), ("truely", False), ("7*", False)],
)
def test_a_claim_compared_with_what_is_no_text_in_a_token_is_warned_about(field: str, value: str, warned: bool) -> None:  # noqa: FBT001  # a case's expectation
    found = codes("action: DENY\n" + when("request.auth.claims[a][b]", value, field=field))
    assert found == (["claim-not-text"] if warned else [])
    assert codes("action: DENY\n" + when("request.auth.audiences", value, field=field)) == []


TOKENLESS = "token-not-required"


@pytest.mark.parametrize(
    ("rule", "warned"),
    [
        ("{from: [{source: {notRequestPrincipals: [a/b]}}]}", True),
        ("{when: [{key: request.auth.presenter, notValues: [x]}]}", True),
        ("{when: [{key: 'request.auth.claims[a]', notValues: [x]}]}", True),
        ("{from: [{source: {namespaces: [shop]}}], when: [{key: request.auth.principal, notValues: [x]}]}", True),
        ("{from: [{source: {requestPrincipals: ['*']}}, {source: {namespaces: [shop]}}], when: [{key: request.auth.principal, notValues: [x]}]}", True),
        ("{from: [{source: {requestPrincipals: ['*'], notRequestPrincipals: [a/b]}}]}", False),
        ("{from: [{source: {requestPrincipals: ['*']}}], when: [{key: request.auth.principal, notValues: [x]}]}", False),
        ("{when: [{key: request.auth.principal, values: ['*'], notValues: [x]}]}", False),
        ("{from: [{source: {notRequestPrincipals: [a/b]}}], when: [{key: request.auth.audiences, values: [x]}]}", False),
        ("{from: [{source: {notRequestPrincipals: ['*']}}]}", False),
        ("{when: [{key: request.auth.principal, notValues: ['*']}]}", False),
        ("{when: [{key: 'request.headers[a]', notValues: [x]}]}", False),
    ],
)  # fmt: skip
def test_an_allow_rule_that_excludes_tokens_and_requires_none_is_warned_about(rule: str, warned: bool) -> None:  # noqa: FBT001  # a case's expectation
    assert codes(f"rules: [{rule}]") == ([TOKENLESS] if warned else [])
    assert TOKENLESS not in codes(f"action: DENY\nrules: [{rule}]")


def test_ten_thousand_hosts_and_prefixes_are_checked_in_little_time() -> None:
    hosts = tuple(f"{'a' * (number % 200)}{number}.example" for number in range(10_000))
    prefixes = tuple(f"{'b' * length}*" for length in range(1, 2000))
    started = perf_counter()
    assert "too-many-problems" in codes(operation("hosts", *hosts, *prefixes))
    assert perf_counter() - started < 5
