"""Attacks on what a policy says, or is taken to say, that worked on others, each by the name it became known under.

A comment says what happened there; the test, what holds here.
"""

from collections.abc import Callable, Mapping
from time import perf_counter

import pytest

from authz import matcher, semantics
from authz.attributes import Attributes, Protocol
from authz.decision import Decision, Verdict
from authz.keys import KEYS, OPERATION_FIELDS, Use, resolve
from authz.model import Action, Condition, Operation, Policy, Rule, Source
from authz.tree import compile_policies
from extauthz import wire
from parser.cross_checks import check_mesh
from parser.diagnostics import Diagnostic
from parser.formatting import Syntax, format_manifest
from parser.manifests import parse_manifests
from parser.ward import parse_ward
from parser.ward_printer import print_ward
from tests import questions
from tests.attacks.asking import Asking, snapshot_of
from tests.integration.serving import policy, workload
from tests.laws.world import IDENTITIES, NAMESPACES, PRINCIPALS, SERVICE_ACCOUNTS, TRUST_DOMAIN_VALUES

TRUST_DOMAINS = ("cluster.local", "td.example")


def decide(policy: Policy, facts: Attributes) -> Decision:
    """By the reference and by the tree, which agree."""
    reference = semantics.decide((policy,), facts, trust_domains=TRUST_DOMAINS)
    assert compile_policies((policy,), trust_domains=TRUST_DOMAINS).decide(facts) == reference
    return reference


def denying(*rules: Rule) -> Policy:
    return Policy(namespace="shop", name="denied", action=Action.DENY, rules=rules)


def diagnostics(text: str) -> list[Diagnostic]:
    """All that there is to say about these manifests."""
    manifests = parse_manifests([("attack.yaml", text.encode())])
    return [*manifests.diagnostics, *check_mesh(manifests, manifests.mesh_config)]


# Values that look like expressions --------------------------------------------------------------------------------------


def identity(text: str) -> Attributes:
    return Attributes(identities=(f"spiffe://{text}",))


# For each attribute of text: how its key is written, the value around a piece of text, and a request with that piece there.
TEXTS: Mapping[str, tuple[str, str, Callable[[str], Attributes]]] = {
    "source.principal": ("", "cluster.local/ns/shop/sa/{}", lambda text: identity(f"cluster.local/ns/shop/sa/{text}")),
    "source.namespace": ("", "{}", lambda text: identity(f"cluster.local/ns/{text}/sa/web")),
    "source.serviceAccount": ("", "shop/{}", lambda text: identity(f"cluster.local/ns/shop/sa/{text}")),
    "source.trustDomain": ("", "{}", lambda text: identity(f"{text}/ns/shop/sa/web")),
    "request.auth.principal": (
        "",
        "https://idp/{}",
        lambda text: Attributes(claims={"iss": "https://idp", "sub": text}),
    ),
    "request.auth.audiences": ("", "{}", lambda text: Attributes(claims={"aud": [text]})),
    "request.auth.presenter": ("", "{}", lambda text: Attributes(claims={"azp": text})),
    "request.auth.claims": ("[groups]", "{}", lambda text: Attributes(claims={"groups": [text]})),
    "request.headers": ("[x-role]", "{}", lambda text: Attributes(headers={"x-role": (text,)})),
    "connection.sni": ("", "{}", lambda text: Attributes(sni=text)),
    "experimental.envoy.filters.": ("x[k]", "{}", lambda text: Attributes(metadata={"envoy.filters.x": {"k": text}})),
    "request.host": ("", "{}", lambda text: Attributes(host=text)),
    "request.method": ("", "{}", lambda text: Attributes(method=text)),
    "request.path": ("", "/{}", lambda text: Attributes(path=f"/{text}")),
}
# A value, and what it would match as an expression.
EXPRESSIONS = [
    *(
        ("a.b", "axb"),
        ("a|b", "a"),
        ("a+", "aa"),
        ("[ab]", "a"),
        ("(a)", "a"),
        ("a\\d", "a1"),
        ("^a$", "a"),
        ("a{2}", "aa"),
    ),
    *(
        ("(?i)a", "A"),
        ("\\Qa\\E", "a"),
        ("a.", "ab"),
        (".", "a"),
        ("a\\.b", "a.b"),
        ("%61", "a"),
        ("a%", "ab"),
        ("a_b", "axb"),
    ),
    *((".+", "ab"), ("a(", "a"), ("[", "a"), ("$", ""), ("\\w", "a"), ("#{a}", "a"), ("{{a}}", "a"), ("${a}", "a")),
]


def test_every_attribute_of_text_is_tried_for_expressions() -> None:
    numbers = {"source.ip", "remote.ip", "destination.ip", "destination.port"}
    assert TEXTS.keys() == KEYS.keys() - numbers


# What means something else by itself: a path ends there, brackets ask for an element of a list, server names have no capitals.
OTHERWISE = {
    ("request.path", "(?i)a"),
    ("request.path", "#{a}"),
    ("experimental.envoy.filters.", "[ab]"),
    ("connection.sni", "\\Qa\\E"),
}


@pytest.mark.parametrize("key", TEXTS)
@pytest.mark.parametrize(("value", "other"), EXPRESSIONS)
def test_cve_2026_39350_a_value_is_letters_and_never_an_expression(key: str, value: str, other: str) -> None:
    # There the dot of a service account stood for any letter, so that `cert-manager.io` was also `cert-managerxio`.
    argument, around, request = TEXTS[key]
    written = around.format(value)
    if KEYS[key].use is Use.WHEN:
        rule = Rule(conditions=(Condition(key=key + argument, values=(written,)),))
    else:
        field = next(name for name, attribute in OPERATION_FIELDS.items() if attribute.key == key)
        rule = Rule(operations=(Operation(**{field: (written,)}),))
    itself = Verdict.ALLOW if (key, value) in OTHERWISE else Verdict.DENY
    assert decide(denying(rule), request(value)).verdict is itself
    assert decide(denying(rule), request(other)).verdict is Verdict.ALLOW


@pytest.mark.parametrize("pattern", ["*a.b", "a.b*", "*a|b", "(*", "[*", "*)"])
def test_cve_2026_39350_nor_is_what_stands_beside_a_star(pattern: str) -> None:
    # The same for the part of a pattern that is not its star.
    rule = Rule(
        sources=(Source(principals=(pattern,)), Source(namespaces=(pattern,)), Source(trust_domains=(pattern,)))
    )
    for text in ("axb", "a", "b", "ab"):
        assert decide(denying(rule), identity(f"{text}/ns/{text}/sa/{text}")).verdict is Verdict.ALLOW


# Callers on TCP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        *(Source(principals=(value,)) for value in PRINCIPALS),
        *(Source(not_principals=(value,)) for value in PRINCIPALS),
        *(Source(namespaces=(value,)) for value in NAMESPACES),
        *(Source(service_accounts=(value,)) for value in SERVICE_ACCOUNTS),
        *(Source(trust_domains=(value,)) for value in TRUST_DOMAIN_VALUES),
    ],
    ids=repr,
)
def test_cve_2020_16844_callers_are_told_apart_on_tcp_as_they_are_on_http(source: Source) -> None:
    # There `*/sa/admin` was compiled for TCP to a name that nobody has, and the DENY denied nobody.
    rule = Rule(sources=(source,))
    for name in IDENTITIES:
        http, tcp = (decide(denying(rule), Attributes(protocol=each, identities=(name,))) for each in Protocol)
        assert http == tcp, name


def test_cve_2020_16844_a_suffix_denies_a_connection() -> None:
    # The one that it was found with.
    text = policy("denied", "DENY", 'rules: [{from: [{source: {principals: ["*/sa/admin"]}}]}]')
    snapshot = snapshot_of(text)
    with Asking() as asking:
        admin = "spiffe://cluster.local/ns/shop/sa/admin"
        assert not asking.allowed(snapshot, questions.connection(source=admin))
        assert not asking.allowed(snapshot, questions.http(source=admin))
        assert asking.allowed(snapshot, questions.connection())


# Ports, and places where policies do not run ------------------------------------------------------------------------------


def test_istio_security_2021_002_a_port_is_the_connection_s_own_whatever_the_host_says() -> None:
    # There a gateway took to listen on 8080 where it had been 80, and a DENY of port 80 denied nothing any more.
    snapshot = snapshot_of(policy("denied", "DENY", 'rules: [{to: [{operation: {ports: ["8080"]}}]}]'))
    with Asking() as asking:
        for host in ("api.shop", "api.shop:80", "api.shop:8080", "api.shop:65536"):
            assert not asking.allowed(snapshot, questions.http(host=host))
            question = questions.http(host=host)
            question.attributes.destination.address.socket_address.port_value = 80
            assert asking.allowed(snapshot, question)


WAYPOINT_LESS = """
---
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec: {containers: [{name: c, image: x}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{name: http, port: 80}]}
"""


def test_a_policy_that_is_enforced_nowhere_is_called_so() -> None:
    # There a status said "more restrictive" of a DENY that was not enforced at all, for want of a waypoint.
    nowhere = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: denied, namespace: shop}
spec:
  targetRefs: [{kind: Service, group: "", name: api}]
  action: DENY
  rules: [{to: [{operation: {paths: [/admin]}}]}]
"""
    assert "no-waypoint" in [each.code for each in diagnostics(nowhere + WAYPOINT_LESS)]
    elsewhere = nowhere.replace(
        'kind: Service, group: "", name: api', "kind: GatewayClass, group: gateway.networking.k8s.io, name: x"
    )
    assert "inert-target" in [each.code for each in diagnostics(elsewhere)]
    # The other way to be surprised by the same policy: without its target it takes all TCP down.
    everywhere = policy("denied", "DENY", "rules: [{to: [{operation: {paths: [/admin]}}]}]")
    assert "denies-all-tcp" in [each.code for each in diagnostics(everywhere)]
    with Asking() as asking:
        assert not asking.allowed(snapshot_of(everywhere), questions.connection())


def test_cve_2021_31921_a_connection_that_is_passed_through_is_nobody_s() -> None:
    # There a gateway passed TLS through where no policy was applied. Whoever asks about such a connection knows no caller.
    for rules in (
        "rules: [{from: [{source: {principals: ['*']}}]}]",
        "rules: [{from: [{source: {namespaces: ['*']}}]}]",
        "rules: [{to: [{operation: {hosts: ['api.shop']}}]}]",
        "rules: [{from: [{source: {requestPrincipals: ['*']}}]}]",
    ):
        with Asking() as asking:
            snapshot = snapshot_of(policy("only", "ALLOW", rules))
            assert not asking.allowed(snapshot, questions.connection(source="", sni="api.shop")), rules


# Half of a configuration --------------------------------------------------------------------------------------------------

PROVIDERS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: '{extensionProviders: [%s]}'}\n"
TOKENS = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: t, namespace: shop}\nspec: {jwtRules: [%s]}\n"


@pytest.mark.parametrize(
    "text",
    [
        policy("ask", "CUSTOM", "rules: [{}]"),
        policy("ask", "CUSTOM", "provider: {}\nrules: [{}]"),
        policy("ask", "CUSTOM", 'provider: {name: ""}\nrules: [{}]'),
        policy("ask", "CUSTOM", "provider: {name: opa}"),
        policy("ask", "DENY", "provider: {name: opa}\nrules: [{}]"),
        policy("nothing", "DENY"),
        policy("nothing", "ALLOW", "rules: [{from: [{}]}]"),
        policy("nothing", "ALLOW", "rules: [{from: [{source: {}}]}]"),
        policy("nothing", "ALLOW", "rules: [{when: [{key: source.ip}]}]"),
        policy("nothing", "ALLOW", 'rules: [{to: [{operation: {paths: [""]}}]}]'),
        TOKENS % "{}",
        TOKENS % "{audiences: [a]}",
        TOKENS % '{issuer: "", audiences: [a]}',
        TOKENS % '{issuer: a, audiences: [""]}',
        TOKENS % '{issuer: a, jwks: ""}',
        TOKENS % '{issuer: a, jwks: "{}"}',
        TOKENS % "{issuer: a, jwksUri: a, jwks: b}",
        TOKENS % "{issuer: a, fromHeaders: [{}]}",
        PROVIDERS % "{envoyExtAuthzGrpc: {service: a.b.svc, port: 1}}",
        PROVIDERS % "{name: opa, envoyExtAuthzGrpc: {}}",
        PROVIDERS % "{name: opa, envoyExtAuthzGrpc: {service: a.b.svc}}",
        PROVIDERS % "{name: opa, envoyExtAuthzGrpc: {port: 1}}",
        PROVIDERS
        % "{name: opa, envoyExtAuthzGrpc: {service: a.b.svc, port: 1}, envoyExtAuthzHttp: {service: a.b.svc, port: 1}}",
    ],
)
def test_cve_2026_55689_half_of_a_configuration_is_an_error_and_never_a_check_less(text: str) -> None:
    # There an audience that was not set was not checked, in silence.
    assert parse_manifests([("attack.yaml", text.encode())]).errors > 0


@pytest.mark.parametrize(
    "name",
    [
        "SPIFFE://cluster.local/ns/shop/sa/web",
        "spiffe://CLUSTER.LOCAL/ns/shop/sa/web",
        "spiffe://cluster.local/ns/shop/sa/WEB",
    ],
)
def test_cve_2026_55170_names_are_compared_by_case(name: str) -> None:
    # There a database made no difference between `alice` and `ALICE`.
    rules = "rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}, {source: {namespaces: [SHOP]}}]}]"
    snapshot = snapshot_of(policy("only", "ALLOW", rules))
    with Asking() as asking:
        assert asking.allowed(snapshot, questions.http())
        assert not asking.allowed(snapshot, questions.http(source=name))
        # Nor is a workload of another name the same.
        assert not asking.allowed(snapshot_of(""), questions.http(), workload="shop/API")


NO_SUCH = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {action: CUSTOM, provider: {name: opa}, rules: [{to: [{operation: {paths: [/admin]}}]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: '{extensionProviders: [{name: ope, envoyExtAuthzGrpc: {service: a.b.svc, port: 1}}]}'}
"""


def test_an_authorizer_that_there_is_not_is_named_before_it_denies_everything() -> None:
    # There a misspelt provider denied all requests, by a policy with a name that nobody had written.
    said = next(each for each in diagnostics(NO_SUCH) if each.code == "unknown-provider")
    assert "`opa`" in said.message
    assert said.help == "did you mean `ope`?"
    snapshot = snapshot_of(NO_SUCH)
    with Asking() as asking:
        assert asking.allowed(snapshot, questions.http())
        denied = asking.ask(snapshot, questions.http(path="/admin"))
        assert (denied.status.code, denied.dynamic_metadata["policy"]) == (7, "shop/ask")


def test_a_denial_for_want_of_an_authorizer_names_it() -> None:
    # The same, for whoever reads the denial and not the log.
    with Asking() as asking:
        denied = asking.ask(snapshot_of(NO_SUCH), questions.http(path="/admin"))
    assert "`opa`" in str(denied.dynamic_metadata["reason"])


# Size ---------------------------------------------------------------------------------------------------------------------

LONG = 60_000
SECONDS = 0.5


@pytest.mark.parametrize(
    ("rule", "facts"),
    [
        (Rule(sources=(Source(namespaces=(f"*{'a*' * 200}b",)),)), identity(f"x/ns/{'a' * LONG}/sa/x")),
        (Rule(sources=(Source(service_accounts=("a/b",)),)), identity(f"x{'/ns/a/sa' * (LONG // 8)}")),
        (Rule(sources=(Source(principals=(f"*{'a' * 100}b",)),)), identity("a" * LONG)),
        (Rule(sources=(Source(trust_domains=("*a",)),)), identity("a" * LONG)),
        (Rule(operations=(Operation(paths=(f"{'/{*}' * 100}/x",)),)), Attributes(path="/a" * (LONG // 2))),
        (Rule(operations=(Operation(paths=("/{**}/x/x/x/x",)),)), Attributes(path="/x" * (LONG // 2) + "y")),
        (Rule(operations=(Operation(paths=("/{*}/{**}",)),)), Attributes(path="/%" * (LONG // 2) + '"')),
        (
            Rule(conditions=(Condition(key="request.headers[x]", values=tuple(f"*{'a' * n}b" for n in range(500))),)),
            Attributes(headers={"x": ("a" * 100,) * 600}),
        ),
        (
            Rule(conditions=(Condition(key="request.auth.claims[a]", values=("x",)),)),
            Attributes(claims={"a": ["y"] * LONG}),
        ),
    ],
)
def test_istio_security_2026_006_no_policy_and_no_request_make_a_decision_slow(rule: Rule, facts: Attributes) -> None:
    # There an expression without bound took the memory of whoever compiled it, and with that the mesh.
    began = perf_counter()
    tree = compile_policies((denying(rule),), trust_domains=TRUST_DOMAINS)
    assert tree.decide(facts).verdict is Verdict.ALLOW
    assert perf_counter() - began < SECONDS


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025])
def test_cve_2024_27101_no_number_of_rules_or_values_loses_one(size: int) -> None:
    # There a batch that was one too many for its chunk was answered wrongly.
    by_rule = denying(*(Rule(operations=(Operation(paths=(f"/{number}",)),)) for number in range(size)))
    by_value = denying(Rule(operations=(Operation(paths=tuple(f"/{number}*" for number in range(size))),)))
    for policy_ in (by_rule, by_value):
        tree = compile_policies((policy_,), trust_domains=TRUST_DOMAINS)
        for number in {0, size // 2, size - 1}:
            decision = tree.decide(Attributes(path=f"/{number}"))
            assert decision.verdict is Verdict.DENY
            assert policy_ is by_value or (decision.match is not None and decision.match.rule == number)
        assert tree.decide(Attributes(path=f"/x{size}")).verdict is Verdict.ALLOW


# What is remembered ---------------------------------------------------------------------------------------------------------

SHARED = (
    "".join(workload(name) for name in ("one", "two", "three"))
    + policy("roles", "ALLOW", "rules: [{when: [{key: 'request.headers[x-role]', values: [buyer]}]}]", app=None)
    + policy("web", "ALLOW", "rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]", app="one")
    + policy("denied", "DENY", "rules: [{to: [{operation: {paths: [/admin*]}}]}]", app="two")
)
ASKED = [
    (workload, questions.http(path=path, source=source, headers=[("x-role", role)]))
    for workload in ("shop/one", "shop/two", "shop/three", "shop/nobody")
    for path in ("/items", "/admin")
    for source in (questions.WEB, "spiffe://cluster.local/ns/shop/sa/other", "")
    for role in ("buyer", "guest")
]


def test_cve_2026_33729_an_answer_depends_on_its_question_and_on_none_before_it() -> None:
    # There an answer was remembered for less than it depended on, and given to another caller.
    fresh = []
    for place, question in ASKED:
        matcher._expression.cache_clear()
        wire._names_in.cache_clear()
        with Asking() as asking:
            fresh.append(asking.ask(snapshot_of(SHARED), question, workload=place))
    snapshot = snapshot_of(SHARED)
    with Asking() as asking:
        forwards = [asking.ask(snapshot, question, workload=place) for place, question in ASKED]
        backwards = [asking.ask(snapshot, question, workload=place) for place, question in reversed(ASKED)]
    assert forwards == fresh
    assert backwards[::-1] == fresh
    assert {answer.status.code for answer in fresh} == {0, 7}


# Policies in another form ---------------------------------------------------------------------------------------------------

HOSTILE = [
    *(
        "]",
        "} or {",
        '"',
        '"] or true',
        "' or '",
        "\\",
        "\\n",
        "a\nb",
        "# comment",
        "a # b",
        "- x",
        "a: b",
        "&a",
        "*a",
        "!tag",
    ),
    *(
        "---",
        "...",
        "yes",
        "null",
        "1e3",
        "0x10",
        "~",
        "{{ x }}",
        "${x}",
        "deny when",
        "allow",
        "in",
        "not",
        "and",
        "\u2028",
        "\ufeff",
    ),
    *("a,b", "[a]", "{a}", "`x`", "$(x)", "%s", "policy x in y", "\t", " ", " a ", "\u017f", "e\u0301"),
]


@pytest.mark.parametrize("value", HOSTILE)
def test_cve_2022_23628_a_policy_in_another_form_means_the_same(value: str) -> None:
    # There a formatter moved a negation, and the policy meant another thing once it was tidy.
    rule = Rule(
        sources=(Source(principals=(value,), not_namespaces=(value, "b")),),
        operations=(Operation(paths=(f"/{value}*",), not_hosts=(value,)), Operation(methods=(value,))),
        conditions=(Condition(key="request.headers[x-a]", values=("a", value), not_values=(value,)),),
    )
    for action in (Action.ALLOW, Action.DENY, Action.AUDIT):
        said = Policy(namespace="shop", name="a", action=action, rules=(rule, Rule(), rule))
        assert parse_ward(print_ward(said)) == (said,)


def test_cve_2022_23628_formatting_there_and_back_changes_nothing_that_is_decided() -> None:
    # The same through the formatter, there and back.
    text = policy(
        "a",
        "DENY",
        """
        rules:
          - from: [{source: {notPrincipals: ["*"], namespaces: ["a*", b]}}]
            to: [{operation: {notPaths: ["/public/*", "/{*}/x"], methods: [GET, "yes"]}}]
            when: [{key: "request.headers[x: y]", notValues: ["- a", "null", "1e3", "# b"]}]
        """,
    )
    before = parse_manifests([("a.yaml", text.encode())])
    ward = format_manifest(text.encode(), "a.yaml", to=Syntax.WARD).text
    back = format_manifest(ward.encode(), "a.ward", to=Syntax.YAML).text
    for file, form in (("a.ward", ward), ("a.yaml", back), ("a.yaml", format_manifest(text.encode(), "a.yaml").text)):
        assert parse_manifests([(file, form.encode())]).policies == before.policies


def test_cve_2022_36085_no_key_reaches_past_what_it_names() -> None:
    # There a way around the list of what a policy may call was found. Here there is a closed list of what it can read.
    for key in (
        "__class__",
        "source.principal.__class__",
        "request.headers[__class__]",
        "request.auth.claims[__class__]",
    ):
        facts = Attributes(identities=("spiffe://a/b",), headers={"a": ("b",)}, claims={"a": "b"})
        rule = Rule(conditions=(Condition(key=key, values=("*",)),))
        assert decide(denying(rule), facts).verdict is Verdict.ALLOW, key
    assert resolve("request.headers[__class__]").read(Attributes(headers={"__class__": ("x",)})) == ("x",)


# Versions -------------------------------------------------------------------------------------------------------------------


def test_cve_2022_21679_what_a_newer_envoy_says_besides_is_no_reason_to_overlook_what_it_says() -> None:
    # The other direction: a question with fields that are unknown here is decided by those that are known.
    snapshot = snapshot_of(policy("denied", "DENY", "rules: [{to: [{operation: {hosts: [admin.shop]}}]}]"))
    to_come = b"\xa2\x06\x03abc"
    with Asking() as asking:
        for host, allowed in (("admin.shop", False), ("api.shop", True)):
            question = questions.http(host=host).SerializeToString() + to_come
            assert asking.allowed(snapshot, question) is allowed
