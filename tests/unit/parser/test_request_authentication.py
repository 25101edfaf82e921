"""RequestAuthentication documents; each row of section 8.4 has its case in `validation_rows.yaml`."""

import json

import pytest

from authz.model import TargetRef
from authz.request_authentication import ClaimToHeader, JwtRule, Presence, RequestAuthentication, TokenHeader
from parser.diagnostics import render
from parser.manifests import Manifests, parse_manifests

HEAD = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {metadata}\nspec:\n"
KEY = {"kty": "RSA", "kid": "1", "n": "sXch", "e": "AQAB"}


def read(spec: str, *, metadata: str = "{name: a, namespace: shop}") -> Manifests:
    return parse_manifests([("f.yaml", (HEAD.replace("{metadata}", metadata) + spec + "\n").encode())])


def rule(fields: str) -> Manifests:
    return read(f"  jwtRules: [{{issuer: i, {fields}}}]")


def codes(found: Manifests) -> list[str]:
    assert bool(found.request_authentications) is not found.errors
    return [each.code for each in found.diagnostics]


def the_rule(fields: str) -> JwtRule:
    (policy,) = rule(fields).request_authentications
    (only,) = policy.jwt_rules
    return only


def key_set(*keys: object) -> str:
    return "jwks: '" + json.dumps({"keys": keys}) + "'"


def test_a_policy_is_read_whole() -> None:
    spec = """\
  selector: {matchLabels: {app: api}}
  jwtRules:
  - issuer: https://idp.example
    audiences: [shop, http://shop/]
    jwksUri: https://idp.example/keys
    fromHeaders: [{name: x-token, prefix: "Bearer "}, {name: X-Other}]
    fromParams: [token, t]
    fromCookies: [session]
    forwardOriginalToken: true
    outputPayloadToHeader: x-payload
    outputClaimToHeaders: [{header: x-sub, claim: sub}, {header: x-deep, claim: a.b}]
    spaceDelimitedClaims: [roles]
    timeout: 1.5s
    presence: OPTIONAL
  - {issuer: second, jwks: '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qY"}]}'}
"""
    metadata = '{name: a, namespace: shop, creationTimestamp: "2026-01-01T00:00:00Z"}'
    found = read(spec, metadata=metadata)
    assert not found.diagnostics
    assert found.skipped == {}
    assert found.request_authentications == (
        RequestAuthentication(
            namespace="shop",
            name="a",
            created="2026-01-01T00:00:00Z",
            selector={"app": "api"},
            jwt_rules=(
                JwtRule(
                    issuer="https://idp.example",
                    audiences=("shop", "http://shop/"),
                    jwks_uri="https://idp.example/keys",
                    from_headers=(TokenHeader(name="x-token", prefix="Bearer "), TokenHeader(name="X-Other")),
                    from_params=("token", "t"),
                    from_cookies=("session",),
                    forward_original_token=True,
                    output_payload_to_header="x-payload",
                    output_claim_to_headers=(
                        ClaimToHeader(header="x-sub", claim="sub"),
                        ClaimToHeader(header="x-deep", claim="a.b"),
                    ),
                    space_delimited_claims=("roles",),
                    timeout=1.5,
                    presence=Presence.OPTIONAL,
                ),
                JwtRule(issuer="second", jwks='{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qY"}]}'),
            ),
        ),
    )


@pytest.mark.parametrize("spec", ["  {}", "  jwtRules: []", "  jwtRules:"])
def test_a_policy_may_have_no_rules(spec: str) -> None:
    (policy,) = read(spec).request_authentications
    assert (policy.jwt_rules, policy.selector, policy.target_refs, policy.created) == ((), None, (), "")


def test_it_attaches_to_targets_as_an_authorization_policy_does() -> None:
    spec = "  targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: edge}]"
    (policy,) = read(spec).request_authentications
    assert policy.target_refs == (TargetRef(kind="Gateway", name="edge", group="gateway.networking.k8s.io"),)


def test_the_schemas_other_name_of_the_uri_is_read() -> None:
    assert the_rule("jwks_uri: 'http://keys.example'").jwks_uri == "http://keys.example"
    assert codes(rule("jwks_uri: 'http://a.example', jwksUri: 'http://a.example'")) == ["two-key-sets"]


def test_spans_lead_to_each_value() -> None:
    (policy,) = rule("audiences: [a, b]").request_authentications
    assert policy.spans["spec", "jwtRules", 0, "audiences", 1].column == 41


def test_two_policies_of_one_name_are_an_error() -> None:
    text = HEAD.replace("{metadata}", "{name: a}") + "  {}\n"
    found = parse_manifests([("f.yaml", f"{text}---\n{text}".encode())])
    assert [each.code for each in found.diagnostics] == ["duplicate-policy"]
    assert len(found.request_authentications) == 1


def test_a_policy_of_another_kind_may_have_the_name() -> None:
    text = HEAD.replace("{metadata}", "{name: a}") + "  {}\n"
    found = parse_manifests([("f.yaml", f"{text}---\n{text.replace('Request', 'Peer')}".encode())])
    assert not found.diagnostics


@pytest.mark.parametrize(
    ("written", "created"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00Z"),
    ],
)
def test_times_of_creation_are_in_one_form_so_that_they_sort(written: str, created: str) -> None:
    (policy,) = read("  {}", metadata=f"{{name: a, creationTimestamp: '{written}'}}").request_authentications
    assert policy.created == created


@pytest.mark.parametrize("written", ["yesterday", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "2026-01-01"])
def test_a_time_of_creation_that_is_none_is_an_error(written: str) -> None:
    assert codes(read("  {}", metadata=f"{{name: a, creationTimestamp: '{written}'}}")) == ["bad-time"]


def test_a_time_that_is_null_is_absent_as_kubernetes_prints_it() -> None:
    (policy,) = read("  {}", metadata="{name: a, creationTimestamp: null}").request_authentications
    assert policy.created == ""


@pytest.mark.parametrize(
    ("fields", "code", "help_"),
    [
        ("audience: [a]", "unknown-field", "did you mean `audiences`?"),
        ("audiences: a", "wrong-type", 'write it as a list: ["a"]'),
        ("forwardOriginalToken: 'true'", "wrong-type", "remove the quotes"),
        ("jwks: {keys: []}", "wrong-type", "write the key set as JSON text, below `jwks: |`"),
        ("timeout: 5", "wrong-type", "write it in whole milliseconds, `500ms` or `5s`"),
        ("timeout: five", "bad-duration", "write it in whole milliseconds, `500ms` or `5s`"),
        ("presence: required", "unknown-value", "did you mean `REQUIRED`?"),
        ("fromHeaders: [x-token]", "wrong-type", "write the fields of `fromHeaders` below it, indented"),
        ("fromHeaders: [{prefix: a}]", "missing-field", "add `name`, or remove the entry"),
        ("outputPayloadToHeader: ':path'", "bad-header", None),
    ],
)
def test_what_is_wrong_is_said_with_a_remedy(fields: str, code: str, help_: str | None) -> None:
    (problem,) = rule(fields).diagnostics
    assert problem.code == code
    assert help_ is None or problem.help == help_


def test_a_rule_at_the_wrong_level_is_told_where_it_belongs() -> None:
    (problem,) = read("  issuer: a").diagnostics
    assert (problem.code, problem.help) == ("unknown-field", "it belongs in `jwtRules`")


def test_what_follows_from_another_problem_is_not_reported_too() -> None:
    assert codes(read("  jwtRules: [{issuer: [a]}]")) == ["wrong-type"]
    assert codes(read("  jwtRules: [{issuer: ''}]")) == ["empty-value"]
    assert codes(read("  jwtRules: [x]")) == ["wrong-type"]
    assert codes(read("  jwtRules: [null]")) == ["wrong-type"]


# Key sets ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        {"kty": "EC", "crv": "P-256", "x": "f83O", "y": "x_FE-"},
        {"kty": "OKP", "crv": "Ed25519", "x": "11qY", "use": "sig", "unheard": [1, {}]},
    ],
)
def test_public_keys_are_fine(key: object) -> None:
    assert codes(rule(key_set(key, KEY))) == []


@pytest.mark.parametrize(
    ("jwks", "fault"),
    [
        ("jwks: x", "not JSON: "),
        ("jwks: '[]'", "not a JSON object with a list of `keys`"),
        ("jwks: '{}'", "not a JSON object with a list of `keys`"),
        ('jwks: \'{"keys": {}}\'', "not a JSON object with a list of `keys`"),
        (f"jwks: '{json.dumps(KEY)}'", "not a JSON object with a list of `keys`"),
        (key_set(KEY, "x"), "no key set: its key 1 is not a JSON object"),
        (key_set({}), "no key set: its key 0 has no `kty`"),
        (key_set({"kty": 1}), "no key set: its key 0 has no `kty`"),
        (key_set({"kty": "DSA"}), "no key set: its key 0 is of the unknown type `DSA`"),
        (key_set({**KEY, "e": ""}), "no key set: its key 0 has no `e`"),
        (key_set({"kty": "EC", "crv": "P-256", "x": "f83O"}), "no key set: its key 0 has no `y`"),
        (key_set({**KEY, "n": "a+b/"}), "no key set: `n` of its key 0 is not base64url"),
        ("jwks: '" + "[" * 100_000 + "'", "not JSON: "),
        ("jwks: '{\"keys\": " + "[" * 1000 + "]" * 1000 + "}'", "no key set: its key 0 is not a JSON object"),
    ],
)  # fmt: skip
def test_r4_what_is_no_key_set_is_an_error_that_says_why(jwks: str, fault: str) -> None:
    (problem,) = rule(jwks).diagnostics
    assert problem.code == "bad-key-set"
    assert problem.message.startswith(f"the value of `jwks` is {fault}")


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_r5_secrets_of_the_issuer_are_warned_about(member: str) -> None:
    (problem,) = rule(key_set(KEY, {**KEY, member: "x"})).diagnostics
    assert (problem.code, problem.severity.value) == ("secret-key", "warning")
    assert problem.message.endswith("the keys with index 1")


def test_r5_the_secret_itself_is_not_shown() -> None:
    text = rule(key_set({**KEY, "d": "c2VjcmV0"}))
    (problem,) = text.diagnostics
    assert "c2VjcmV0" in text.texts[problem.span.file]
    assert "c2VjcmV0" not in render(problem, text.texts[problem.span.file])


def test_r5_symmetric_keys_are_secrets_too() -> None:
    assert codes(rule(key_set({"kty": "oct", "k": "c2VjcmV0"}))) == ["secret-key"]


def test_a_set_without_keys_is_warned_about() -> None:
    assert codes(rule(key_set())) == ["no-keys"]


# URIs ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri", ["https://idp.example/keys?v=1", "http://10.0.0.1:8080", "HTTPS://idp.example", "http://[::1]/keys"]
)
def test_r3_http_uris_are_fine(uri: str) -> None:
    assert the_rule(f"jwksUri: '{uri}'").jwks_uri == uri


@pytest.mark.parametrize(
    "uri",
    ["ftp://idp.example", "idp.example/keys", "https://", "https:///keys", "https://idp.example/a b", "http://[::1", "http://a:x/", "file:///etc/passwd", "https://idp.exa\\tmple/"],
)  # fmt: skip
def test_r3_other_uris_are_errors(uri: str) -> None:
    assert codes(rule(f'jwksUri: "{uri}"')) == ["bad-uri"]


def test_a_required_token_is_read_and_warned_about_for_istio_does_not_require_it() -> None:
    assert the_rule("presence: REQUIRED").presence is Presence.REQUIRED
    (problem,) = rule("presence: REQUIRED").diagnostics
    assert (problem.code, problem.severity.value) == ("presence-not-enforced", "warning")
