"""Service-account tokens: whose pod it is, and every token that says nothing."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from ca.attestation import KubernetesTokens, ServiceAccount
from ca.errors import AttestationError
from ca.selector import Selector
from identity import JwtAuthority

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOW = int(AT.timestamp())
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
KEYS = (JwtAuthority("rsa", RSA.public_key()), JwtAuthority("ec", EC.public_key()))
TOKENS = KubernetesTokens(cluster="c1", issuer="https://k8s.example", audience="meshward")
BOUND = {
    "namespace": "shop",
    "node": {"name": "n1", "uid": "u0"},
    "pod": {"name": "web-1", "uid": "u1"},
    "serviceaccount": {"name": "web", "uid": "u2"},
}
CLAIMS: dict[str, Any] = {
    "iss": "https://k8s.example",
    "aud": ["meshward"],
    "sub": "system:serviceaccount:shop:web",
    "iat": NOW - 10,
    "nbf": NOW - 10,
    "exp": NOW + 3590,
    "kubernetes.io": BOUND,
}


def part(value: object) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def token(kid: object = "rsa", alg: str = "RS256", key: Any = RSA, bound: object = BOUND, **claims: object) -> str:
    body = {name: value for name, value in (CLAIMS | {"kubernetes.io": bound} | claims).items() if value is not ...}
    signed = f"{part({'alg': alg, 'kid': kid})}.{part(body)}"
    own = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    return (
        f"{signed}.{urlsafe_b64encode(jwt.get_algorithm_by_name(own).sign(signed.encode(), key)).rstrip(b'=').decode()}"
    )


def test_a_token_says_whose_pod_it_is() -> None:
    account = TOKENS.verify(token(), KEYS, at=AT)
    assert account == ServiceAccount("shop", "web", "web-1", "u1", "n1")
    assert account.caller("c1").selectors == {
        Selector.parse(f"k8s:{fact}")
        for fact in ("cluster:c1", "ns:shop", "sa:web", "pod-name:web-1", "pod-uid:u1", "node-name:n1")
    }


def test_a_token_need_not_be_bound_to_a_pod() -> None:
    bound = {"namespace": "shop", "serviceaccount": {"name": "web"}}
    assert TOKENS.verify(token(bound=bound), KEYS, at=AT) == ServiceAccount("shop", "web")


def test_an_ec_key_may_have_signed_it() -> None:
    assert TOKENS.verify(token(kid="ec", alg="ES256", key=EC), KEYS, at=AT).name == "web"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no compact JWS"),
        (token(iss="https://other.example"), "another issuer"),
        (token(iss=...), "another issuer"),
        (token(aud=["istio-ca"]), "not for the audience"),
        (token(aud=["meshward", "istio-ca"]), "not for the audience"),
        (token(aud=...), "not for the audience"),
        (token(exp=...), "when it expires"),
        (token(iat=...), "when it expires"),
        (token(exp="soon"), "no time"),
        (token(exp=NOW - 61), "has expired"),
        (token(iat=NOW + 61), "not valid yet"),
        (token(nbf=NOW + 61), "not valid yet"),
        (token(exp=NOW - 10 + 86401), "lives longer"),
        (token(kid="gone"), "names no key"),
        (token(kid=""), "names no key"),
        (token(kid=1), "no string"),
        (token(kid="ec"), "signature"),
        (token(key=rsa.generate_private_key(65537, 2048)), "signature"),
        (token(alg="HS256"), "no `alg`"),
        (token(alg="ES256"), "signature"),
        (token(sub="system:serviceaccount"), "not a service account's"),
        (token(sub="system:serviceaccount:shop:web\n"), "not a service account's"),
        (token(sub="system:serviceaccount:shop:web:x"), "not a service account's"),
        (token(sub="system:serviceaccount:Shop:web"), "not a service account's"),
        (token(sub="system:node:n1"), "not a service account's"),
        (token(sub="system:serviceaccount:shop:admin"), "another service account"),
        (token(sub="system:serviceaccount:ops:web"), "another service account"),
        (token(bound=...), "another service account"),
        (token(bound=[]), "another service account"),
    ],
)
def test_what_proves_nothing_is_refused(text: str, reason: str) -> None:
    with pytest.raises(AttestationError) as caught:
        TOKENS.verify(text, KEYS, at=AT)
    assert reason in caught.value.reason


def test_the_longest_life_is_where_it_is_said_to_be() -> None:
    longest = int(timedelta(hours=24).total_seconds())
    assert TOKENS.verify(token(exp=NOW - 10 + longest), KEYS, at=AT).name == "web"


def test_no_part_of_a_token_is_in_the_reason() -> None:
    text = token(key=EC)
    with pytest.raises(AttestationError) as caught:
        TOKENS.verify(text, KEYS, at=AT)
    assert not any(piece in str(caught.value) for piece in text.split("."))


SOUND = token()


@given(st.integers(0, len(SOUND) - 1), st.characters(max_codepoint=255))
def test_another_character_makes_nobody_else_of_it(position: int, character: str) -> None:
    damaged = SOUND[:position] + character + SOUND[position + 1 :]
    try:
        assert TOKENS.verify(damaged, KEYS, at=AT) == ServiceAccount("shop", "web", "web-1", "u1", "n1")
    except AttestationError:
        return


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(AttestationError):
        TOKENS.verify(text, KEYS, at=AT)
