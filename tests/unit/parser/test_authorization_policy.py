"""Each test of a refusal names its row in section 8 of the semantics."""

import pytest

from authz.model import Action, Condition, Operation, Rule, Source, TargetRef
from parser.manifests import parse_manifests
from tests.unit.parser.documents import codes, manifests, marked, only, policy, policy_text, problems

EVERYTHING = """
selector:
  matchLabels: {app: web, tier: front}
action: DENY
rules:
- from:
  - source:
      principals: [p1, p2]
      notPrincipals: [p3]
      requestPrincipals: [i/s]
      notRequestPrincipals: ["*"]
      namespaces: [n1]
      notNamespaces: [n2]
      ipBlocks: [10.0.0.0/8]
      notIpBlocks: [10.1.0.0/16]
      remoteIpBlocks: [192.0.2.7]
      notRemoteIpBlocks: ["2001:db8::/32"]
      trustDomains: ["*.example"]
      notTrustDomains: [evil.example]
  - source:
      serviceAccounts: [web, shop/api]
      notServiceAccounts: [admin]
  to:
  - operation:
      hosts: [a.example, "a.example:*"]
      notHosts: ["b.example:80"]
      ports: ["80"]
      notPorts: ["81"]
      methods: [GET]
      notMethods: [POST]
      paths: [/a, "/b/{*}/{**}"]
      notPaths: [/c*]
  when:
  - key: request.headers[x-role]
    values: [admin]
    notValues: [root]
- {}
"""


def test_every_field_reaches_the_model() -> None:
    found = policy(EVERYTHING)
    assert (found.namespace, found.name, found.id) == ("shop", "web", "shop/web")
    assert found.action is Action.DENY
    assert found.selector == {"app": "web", "tier": "front"}
    assert found.rules == (
        Rule(
            sources=(
                Source(
                    principals=("p1", "p2"),
                    not_principals=("p3",),
                    request_principals=("i/s",),
                    not_request_principals=("*",),
                    namespaces=("n1",),
                    not_namespaces=("n2",),
                    ip_blocks=("10.0.0.0/8",),
                    not_ip_blocks=("10.1.0.0/16",),
                    remote_ip_blocks=("192.0.2.7",),
                    not_remote_ip_blocks=("2001:db8::/32",),
                    trust_domains=("*.example",),
                    not_trust_domains=("evil.example",),
                ),
                Source(service_accounts=("web", "shop/api"), not_service_accounts=("admin",)),
            ),
            operations=(
                Operation(
                    hosts=("a.example", "a.example:*"),
                    not_hosts=("b.example:80",),
                    ports=("80",),
                    not_ports=("81",),
                    methods=("GET",),
                    not_methods=("POST",),
                    paths=("/a", "/b/{*}/{**}"),
                    not_paths=("/c*",),
                ),
            ),
            conditions=(Condition(key="request.headers[x-role]", values=("admin",), not_values=("root",)),),
        ),
        Rule(),
    )


def test_every_value_and_container_has_its_span() -> None:
    text = policy_text(EVERYTHING)
    found = policy(EVERYTHING)

    def at(*path: str | int) -> str:
        span = found.spans[path]
        return text.split("\n")[span.line - 1][span.column - 1 :][
            : span.end_column - span.column if span.line == span.end_line else None
        ]

    assert at("spec", "rules", 0, "from", 0, "source", "principals", 1) == "p2"
    assert at("spec", "rules", 0, "from", 0, "source", "principals") == "[p1, p2]"
    assert at("spec", "rules", 0, "when", 0, "key") == "request.headers[x-role]"
    assert at("spec", "rules", 1) == "{}"
    assert at("spec", "action") == "DENY"
    assert at("spec", "selector", "matchLabels", "tier") == "front"
    assert at("metadata", "name") == "web"
    assert found.spans["spec", "rules"].line == 9
    assert found.spans[()].line == 1
    assert found.span("spec", "rules", 0, "from", 9) == found.spans["spec", "rules", 0, "from"]


def test_a_policy_without_spec_allows_nothing_by_having_no_rules() -> None:
    text = "apiVersion: security.istio.io/v1beta1\nkind: AuthorizationPolicy\nmetadata: {name: nothing}\n"
    for spec in ("", "spec:\n", "spec: {}\n", "spec: {rules: [], selector: null, action: ~}\n"):
        (found,) = manifests(text + spec).policies
        assert (found.action, found.rules, found.selector, found.namespace) == (Action.ALLOW, (), None, "default")


def test_the_namespace_of_documents_without_one_is_a_parameter() -> None:
    text = policy_text("rules: [{}]", metadata="{name: web}").encode()
    (found,) = parse_manifests([("f.yaml", text)], default_namespace="shop").policies
    assert found.id == "shop/web"


def test_null_and_empty_lists_read_as_absent() -> None:
    found = policy("rules:\n- from: []\n  to: null\n  when: []\n")
    assert found.rules == (Rule(),)


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("t", True), ("TRUE", True), ("True", True), ("false", False), ("F", False)]
)
def test_the_dry_run_annotation_is_read_as_go_reads_booleans(text: str, value: bool) -> None:  # noqa: FBT001  # a case's expectation
    found = policy("rules: [{}]", metadata=f"{{name: a, annotations: {{istio.io/dry-run: '{text}'}}}}")
    assert found.dry_run is value


# The envelope: M2-M6 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["CUSTOM", "AUDIT"])
def test_m2_only_allow_and_deny_can_be_tried_out(action: str) -> None:
    provider = "provider: {name: x}\n" if action == "CUSTOM" else ""
    spec = f"action: {action}\n{provider}rules: [{{}}]"
    assert codes(spec, metadata="{name: a, annotations: {istio.io/dry-run: 'true'}}") == ["dry-run-unsupported"]


@pytest.mark.parametrize("text", ["yes", "tRUE", "", "on"])
def test_m3_a_dry_run_that_is_no_boolean_is_an_error(text: str) -> None:
    assert codes("rules: [{}]", metadata=f"{{name: a, annotations: {{istio.io/dry-run: '{text}'}}}}") == ["bad-dry-run"]


def test_m3_an_unquoted_boolean_is_told_to_be_quoted() -> None:
    found = only("rules: [{}]", metadata="{name: a, annotations: {istio.io/dry-run: true}}")
    assert found == ("wrong-type", "true", 'quote it: "true"')


@pytest.mark.parametrize("name", ["webhook-always-reject", "parent-namespace", "parents"])
def test_m4_m5_annotations_of_istios_own_are_refused(name: str) -> None:
    metadata = f"{{name: a, annotations: {{internal.istio.io/{name}: 'x'}}}}"
    assert only("rules: [{}]", metadata=metadata)[:2] == ("reserved-annotation", f"internal.istio.io/{name}")


def test_m6_a_field_beside_the_spec_is_an_error() -> None:
    found = manifests(policy_text("rules: [{}]") + "specs: {}\n")
    (problem,) = found.diagnostics
    assert (problem.code, problem.help) == ("unknown-field", "did you mean `spec`?")


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ("{}", "missing-name"),
        ("null", "missing-name"),
        ("{generateName: web-}", "missing-name"),
        ("{name: ''}", "bad-name"),
        ("{name: a/b}", "bad-name"),
        ("{name: Web}", "bad-name"),
        ("{name: a, namespace: a/b}", "bad-name"),
        ("{name: a, namespace: a.b}", "bad-name"),
        ("{name: 1}", "wrong-type"),
        ("[a]", "wrong-type"),
        ("{name: a, labels: [x]}", "wrong-type"),
    ],
)
def test_names_are_those_that_kubernetes_accepts(metadata: str, code: str) -> None:
    assert code in codes("rules: [{}]", metadata=metadata)


@pytest.mark.parametrize("version", ["v1alpha1", "v2", "v1beta2", ""])
def test_an_unknown_version_of_the_group_is_an_error(version: str) -> None:
    found = manifests(policy_text("rules: [{}]").replace("/v1", "/" + version, 1))
    assert [each.code for each in found.diagnostics] == ["unsupported-version"]
    assert found.policies == ()


# Shape -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("rule: [{}]", ("unknown-field", "rule", "did you mean `rules`?")),
        ("rules:\n- from:\n  - source: {notPrincipal: [a]}", ("unknown-field", "notPrincipal", "did you mean `notPrincipals`?")),
        ("rules:\n- from:\n  - source: {not_principals: [a]}", ("unknown-field", "not_principals", "did you mean `notPrincipals`?")),
        ("rules:\n- from:\n  - principals: [a]", ("unknown-field", "principals", "it belongs in `source`")),
        ("rules:\n- to:\n  - operation: {principals: [a]}", ("unknown-field", "principals", "it belongs in `source`")),
        ("rules:\n- paths: [a]", ("unknown-field", "paths", "it belongs in `operation`")),
        ("rules:\n- source: {}", ("unknown-field", "source", "it belongs in `from`")),
        ("principals: [a]", ("unknown-field", "principals", "it belongs in `source`")),
        ("rules:\n- when:\n  - {key: source.ip, values: [192.0.2.1], notvalues: []}", ("unknown-field", "notvalues", "did you mean `notValues`?")),
        ("selector: {matchExpressions: []}", ("unknown-field", "matchExpressions", "known here: `matchLabels`")),
        ("action: Allow", ("unknown-value", "Allow", "did you mean `ALLOW`?")),
        ("action: PERMIT", ("unknown-value", "PERMIT", "write one of ALLOW, DENY, AUDIT, CUSTOM")),
        ("action: 1", ("wrong-type", "1", "write one of ALLOW, DENY, AUDIT, CUSTOM")),
        ("rules: {from: []}", ("wrong-type", "{from: []}", "begin each entry with `- `")),
        ("rules: x", ("wrong-type", "x", 'write it as a list: ["x"]')),
        ("rules:\n- - from", ("wrong-type", "- from", "remove the `- `")),
        ("rules: [x]", ("wrong-type", "x", "write the fields of `rules` below it, indented")),
        ("rules:\n- to:\n  - operation: {methods: GET}", ("wrong-type", "GET", 'write it as a list: ["GET"]')),
        ("rules:\n- to:\n  - operation: {ports: [8080]}", ("wrong-type", "8080", 'quote it: "8080"')),
        ("rules:\n- to:\n  - operation: {ports: [80, '81']}", ("wrong-type", "80", 'quote it: "80"')),
        ("rules:\n- to:\n  - operation: {methods: [on]}", ("wrong-type", "on", 'quote it: "on"')),
        ("rules:\n- to:\n  - operation: {methods: [~]}", ("wrong-type", "~", "remove the key, or write a value")),
        ("rules:\n- to:\n  - operation: {methods: [{a: b}]}", ("wrong-type", "{a: b}", None)),
        ("selector: {matchLabels: {version: 1.0}}", ("wrong-type", "1.0", 'quote it: "1.0"')),
        ("selector: [a]", ("wrong-type", "[a]", "remove the `- `")),
        ("provider: ext\naction: CUSTOM\nrules: [{}]", ("wrong-type", "ext", "write the fields of `provider` below it, indented")),
    ],
)  # fmt: skip
def test_what_has_the_wrong_shape_is_named_with_its_place_and_remedy(
    spec: str, expected: tuple[str, str, str | None]
) -> None:
    assert only(spec) == expected


def test_all_problems_are_found_at_once() -> None:
    spec = """
    action: Deny
    selector: {matchLabels: {app: 1}}
    rules:
    - from:
      - source: {principal: [a], ipBlocks: [x]}
      - null
      to:
      - operation: {ports: [8080, 'x']}
      when:
      - {key: source.ipp, values: [a]}
      - {values: [a]}
    - null
    """
    assert sorted(codes(spec)) == sorted(
        [
            "unknown-value",
            "wrong-type",
            "unknown-field",
            "bad-value",
            "null-from",
            "wrong-type",
            "bad-value",
            "unknown-key",
            "missing-key",
            "null-rule",
        ]
    )


# Selector and targets: S1-S8 ---------------------------------------------------------------------------------------------

GATEWAY = "{kind: Gateway, group: gateway.networking.k8s.io, name: g}"


def test_targets_reach_the_model() -> None:
    ref = TargetRef(kind="Gateway", name="g", group="gateway.networking.k8s.io")
    assert policy(f"targetRefs: [{GATEWAY}]").target_refs == (ref,)
    assert policy(f"targetRef: {GATEWAY}\ntargetRefs: []").target_refs == (ref,)
    assert policy("targetRefs: [{kind: Service, name: s}, {kind: Service, group: core, name: t}]").target_refs == (
        TargetRef(kind="Service", name="s"),
        TargetRef(kind="Service", name="t", group="core"),
    )


@pytest.mark.parametrize(
    "spec",
    [
        f"selector: {{matchLabels: {{a: b}}}}\ntargetRef: {GATEWAY}",
        f"selector: {{matchLabels: {{a: b}}}}\ntargetRefs: [{GATEWAY}]",
        f"targetRef: {GATEWAY}\ntargetRefs: [{GATEWAY}]",
    ],
)
def test_s1_only_one_way_to_attach(spec: str) -> None:
    assert codes(spec) == ["several-targets"]


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ("{'': a}", "empty-label"),
        ("{'a*': b}", "wildcard-label"),
        ("{a: '*'}", "wildcard-label"),
        (f"{{a: {'x' * 64}}}", "long-label"),
    ],
)
def test_s2_s3_s8_labels_are_whole_and_short(labels: str, code: str) -> None:
    assert codes(f"selector: {{matchLabels: {labels}}}") == [code]


@pytest.mark.parametrize("selector", ["{}", "{matchLabels: {}}"])
def test_s4_a_selector_without_labels_is_a_warning(selector: str) -> None:
    assert codes(f"selector: {selector}") == ["empty-selector"]
    assert manifests(policy_text(f"selector: {selector}")).policies[0].selector == {}


@pytest.mark.parametrize(
    ("ref", "code"),
    [
        ("{kind: Service}", "incomplete-target"),
        ("{kind: Service, name: ''}", "incomplete-target"),
        ("{kind: Service, name: s, namespace: other}", "foreign-target"),
        ("{kind: HTTPRoute, group: gateway.networking.k8s.io, name: r}", "unknown-target"),
        ("{kind: Gateway, name: g}", "unknown-target"),
        ("{kind: Gateway, group: networking.istio.io, name: g}", "unknown-target"),
        ("{kind: service, name: s}", "unknown-target"),
        ("{name: s}", "unknown-target"),
    ],
)
def test_s5_s6_s7_targets_are_named_known_and_near(ref: str, code: str) -> None:
    assert codes(f"targetRefs: [{ref}]") == [code]
    assert codes(f"targetRef: {ref}") == [code]


def test_more_targets_than_the_schema_has_are_refused() -> None:
    assert codes("targetRefs:\n" + "- {kind: Service, name: s}\n" * 17) == ["too-many-targets"]


# Actions, providers and rules: A1-A13, A28, A29 ------------------------------------------------------------------------


@pytest.mark.parametrize("rules", ["", "rules: []", "rules:"])
def test_a1_a7_deny_and_custom_need_rules(rules: str) -> None:
    assert codes(f"action: DENY\n{rules}") == ["no-rules"]
    assert codes(f"action: CUSTOM\nprovider: {{name: x}}\n{rules}") == ["no-rules"]
    assert codes(f"action: AUDIT\n{rules}") == []
    assert codes(f"action: ALLOW\n{rules}") == []


@pytest.mark.parametrize("provider", ["", "provider: {}", "provider: {name: ''}", "provider:"])
def test_a2_custom_needs_a_provider(provider: str) -> None:
    assert codes(f"action: CUSTOM\nrules: [{{}}]\n{provider}") == ["missing-provider"]


def test_a_custom_policy_names_its_provider() -> None:
    assert policy("action: CUSTOM\nrules: [{}]\nprovider: {name: ext}").provider == "ext"


FIELDS_OF_THE_CALLER = (
    "principals", "notPrincipals", "requestPrincipals", "notRequestPrincipals", "namespaces", "notNamespaces",
    "serviceAccounts", "notServiceAccounts", "trustDomains", "notTrustDomains",
)  # fmt: skip


@pytest.mark.parametrize("field", FIELDS_OF_THE_CALLER)
def test_a3_custom_cannot_look_at_who_calls(field: str) -> None:
    spec = f"rules:\n- from:\n  - source: {{{field}: [a]}}\n"
    assert codes("action: DENY\n" + spec) in ([], ["denies-all-tcp"])
    assert codes("action: CUSTOM\nprovider: {name: x}\n" + spec) == ["not-for-custom"]


@pytest.mark.parametrize(
    ("key", "refused"),
    [
        ("source.principal", True),
        ("source.namespace", True),
        ("source.serviceAccount", True),
        ("source.trustDomain", True),
        ("request.auth.principal", True),
        ("request.auth.claims[a]", True),
        ("request.headers[a]", False),
        ("connection.sni", False),
    ],
)
def test_a4_custom_conditions_cannot_either(key: str, refused: bool) -> None:  # noqa: FBT001  # a case's expectation
    spec = f"action: CUSTOM\nprovider: {{name: x}}\nrules:\n- when:\n  - {{key: '{key}', values: [a]}}\n"
    assert codes(spec) == (["not-for-custom"] if refused else [])


@pytest.mark.parametrize("action", ["ALLOW", "DENY", "AUDIT"])
def test_a6_only_custom_has_a_provider(action: str) -> None:
    assert codes(f"action: {action}\nrules: [{{}}]\nprovider: {{name: x}}") == ["unexpected-provider"]


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ("[null]", "null-rule"),
        ("[{from: [null]}]", "null-from"),
        ("[{to: [null]}]", "null-to"),
        ("[{when: [null]}]", "null-when"),
        ("[{from: [{}]}]", "missing-source"),
        ("[{from: [{source: null}]}]", "missing-source"),
        ("[{to: [{}]}]", "missing-operation"),
        ("[{from: [{source: {}}]}]", "empty-source"),
        ("[{from: [{source: {principals: []}}]}]", "empty-source"),
        ("[{to: [{operation: {paths: null}}]}]", "empty-operation"),
        ("[{when: [{values: [a]}]}]", "missing-key"),
        ("[{when: [{key: '', values: [a]}]}]", "missing-key"),
        ("[{when: [{key: source.ip}]}]", "missing-values"),
        ("[{when: [{key: source.ip, values: [], notValues: null}]}]", "missing-values"),
    ],
)
def test_a8_a10_a11_a12_a28_a29_nothing_may_be_left_open(rules: str, code: str) -> None:
    assert codes(f"rules: {rules}") == [code]


def test_more_rules_or_sources_than_the_schema_has_are_refused() -> None:
    assert codes("rules:\n" + "- {}\n" * 512) == []
    assert codes("rules:\n" + "- {}\n" * 513) == ["too-many-rules"]
    assert codes("rules:\n- from:\n" + "  - source: {namespaces: [a]}\n" * 513) == ["too-many-sources"]


@pytest.mark.parametrize("other", ["principals", "notPrincipals", "namespaces", "notNamespaces"])
@pytest.mark.parametrize("field", ["serviceAccounts", "notServiceAccounts"])
def test_a13_service_accounts_stand_alone(field: str, other: str) -> None:
    assert codes(f"rules:\n- from:\n  - source: {{{field}: [a], {other}: [b]}}") == ["conflicting-fields"]


def test_what_follows_from_another_problem_is_not_reported_too() -> None:
    assert codes("action: DENY\nrules: x") == ["wrong-type"]
    assert codes("action: deny") == ["unknown-value"]
    assert codes("rules:\n- from:\n  - source: {principal: [a]}") == ["unknown-field"]
    assert codes("rules:\n- when:\n  - {key: source.ip, values: 192.0.2.1}") == ["wrong-type"]
    assert codes("rules:\n- to:\n  - operation: {ports: [eighty], paths: {a: b}}") == [
        "wrong-type",
        "bad-value",
    ] or codes("rules:\n- to:\n  - operation: {ports: [eighty], paths: {a: b}}") == ["bad-value", "wrong-type"]


def test_an_alias_used_twice_is_reported_once() -> None:
    spec = "rules:\n- from:\n  - source: {ipBlocks: &b [x]}\n  - source: {ipBlocks: *b}\n"
    found = problems(spec)
    assert [each.code for each in found] == ["bad-value"]
    assert marked(policy_text(spec), found[0]) == "x"
