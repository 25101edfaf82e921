"""Tokens in a running server: verified here, or by the Envoy that asks."""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.service.auth.v3.external_auth_pb2 import CheckResponse

from demo import sidecar, wire
from demo.envoy import Envoy
from demo.sidecar import Json
from demo.upstream import HttpApplication
from tests import questions
from tests.integration.serving import Served, policy, serving, workload

ISSUER = "https://idp.example"
KEY = ec.generate_private_key(ec.SECP256R1())
JWKS = json.dumps({"keys": [{**jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "one"}]})
RULES = f"""
selector: {{matchLabels: {{app: api}}}}
jwtRules:
  - issuer: {ISSUER}
    jwks: '{JWKS}'
    audiences: [shop]
    outputClaimToHeaders: [{{header: x-user, claim: sub}}]
"""
MANIFESTS = {
    "workloads.yaml": workload("api") + workload("open"),
    "tokens.yaml": (
        "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\n"
        "metadata: {name: idp, namespace: shop}\nspec:" + RULES.replace("\n", "\n  ") + "\n"
    ),
    "api.yaml": policy(
        "buyers",
        "ALLOW",
        """
        rules:
          - from: [{source: {requestPrincipals: ["https://idp.example/*"]}}]
            when: [{key: "request.auth.claims[groups]", values: [buyer]}]
          - to: [{operation: {paths: [/open]}}]
        """,
    ),
}


def token(claims: Mapping[str, object] | None = None, key: ec.EllipticCurvePrivateKey = KEY) -> str:
    payload = {"iss": ISSUER, "sub": "alice", "aud": "shop", "groups": ["buyer"], "exp": time.time() + 60}
    return jwt.encode({**payload, **(claims or {})}, key, algorithm="ES256", headers={"kid": "one"})


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(MANIFESTS) as served:
        yield served


def ask(served: Served, bearer: str | None, path: str = "/items", name: str = "api") -> CheckResponse:
    headers = [] if bearer is None else [("authorization", f"Bearer {bearer}"), ("x-user", "forged")]
    return served.asking.check(questions.http(path=path, headers=headers, workload=f"shop/{name}"))


def test_a_good_token_is_for_the_policies_and_its_claims_go_on_as_headers(served: Served) -> None:
    answer = ask(served, token())
    assert answer.status.code == 0
    assert [(o.header.key, o.header.value) for o in answer.ok_response.headers] == [("x-user", "alice")]
    assert list(answer.ok_response.headers_to_remove) == ["authorization"]
    denied = ask(served, token({"groups": ["guest"]}))
    assert (denied.denied_response.status.code, denied.dynamic_metadata["stage"]) == (403, "allow")


def test_a_bad_token_is_401_even_where_none_is_needed(served: Served) -> None:
    answer = ask(served, token(key=ec.generate_private_key(ec.SECP256R1())), "/open")
    assert answer.denied_response.status.code == 401
    assert answer.denied_response.body == "Jwt verification fails"
    headers = {option.header.key: option.header.value for option in answer.denied_response.headers}
    assert headers["www-authenticate"] == 'Bearer realm="https://api.shop:8080/open", error="invalid_token"'
    assert answer.dynamic_metadata["stage"] == "jwt"


def test_without_a_token_the_policies_decide(served: Served) -> None:
    assert ask(served, None, "/open").status.code == 0
    assert ask(served, None).denied_response.status.code == 403


def test_where_no_rule_applies_no_token_is_looked_at(served: Served) -> None:
    answer = ask(served, "nonsense", name="open")
    assert answer.status.code == 0
    assert not answer.ok_response.headers_to_remove


def test_no_token_is_in_what_the_server_prints_and_logs(served: Served) -> None:
    secret = token({"groups": ["guest"], "exp": 1})
    ask(served, secret)
    said = served.printed + json.dumps(served.decisions())
    assert "Jwt is expired" in said
    assert secret.split(".")[2] not in said
    assert secret.split(".")[1] not in said


@pytest.fixture(scope="module")
def trusting() -> Iterator[wire.Endpoint]:
    """An Envoy that verifies tokens itself and asks a meshward that believes it."""
    with (
        serving(MANIFESTS, "--jwt", "trust-envoy") as served,
        HttpApplication() as application,
        tempfile.TemporaryDirectory(prefix="meshward-") as directory,
    ):
        clusters = [sidecar.authorizer(served.socket), sidecar.application("app", application.endpoint)]
        with Envoy(
            "trusting", sidecar.bootstrap("shop/api", listeners=[listener()], clusters=clusters), Path(directory) / "e"
        ) as envoy:
            yield envoy.listener("in")


def listener() -> Json:
    """As `docs/envoy.md` has it for `--jwt trust-envoy`: jwt_authn, then ext_authz with what it found."""
    ext_authz = sidecar._http_ext_authz()
    config = ext_authz["typed_config"]
    assert isinstance(config, dict)
    config["metadata_context_namespaces"] = ["envoy.filters.http.jwt_authn"]
    missing: Json = {"allow_missing": {}}
    requirement: Json = {"requires_any": {"requirements": [{"provider_name": "idp"}, missing]}}
    rule: Json = {"match": {"prefix": "/"}, "requires": requirement}
    jwt_authn: Json = {
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {
                "idp": {
                    "issuer": ISSUER,
                    "audiences": ["shop"],
                    "local_jwks": {"inline_string": JWKS},
                    "payload_in_metadata": "payload",
                    "normalize_payload_in_metadata": {"space_delimited_claims": ["scope", "permission"]},
                }
            },
            "rules": [rule],
        },
    }
    per_route = {"envoy.filters.http.ext_authz": sidecar._workload_of_route("shop/api")}
    manager = sidecar._connection_manager("in", sidecar._routes("in", "app", per_route), filters=[jwt_authn, ext_authz])
    return sidecar._listener("in", [{"filters": [manager]}])


@pytest.mark.parametrize(
    ("claims", "path", "status"),
    [
        ({}, "/items", 200),
        ({"groups": ["guest"]}, "/items", 403),
        ({"groups": "buyer"}, "/items", 200),
        ({"aud": "other"}, "/open", 403),
        ({"exp": 1}, "/open", 401),
        (None, "/open", 200),
        (None, "/items", 403),
    ],
)
def test_what_envoy_verified_is_believed(
    trusting: wire.Endpoint, claims: Mapping[str, object] | None, path: str, status: int
) -> None:
    headers = [("host", "api.shop:8080")]
    if claims is not None:
        headers.append(("authorization", f"Bearer {token(claims)}"))
    answer = wire.request(trusting, "GET", path, headers=headers)
    assert answer.status == status


def test_a_token_that_envoy_did_not_verify_is_worth_nothing() -> None:
    with serving(MANIFESTS, "--jwt", "trust-envoy") as served:
        assert ask(served, token()).denied_response.status.code == 403
