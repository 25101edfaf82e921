"""JWK Sets."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from authn.errors import InvalidJwkSetError
from authn.jwk import MAX_JWK_SET, MAX_KEYS, JwkSet
from tests.unit.authn.tokens import base64url, jwk, key_set, private_key, sign

RSA = private_key("RSA", "a")
P256 = private_key("P-256", "a")
ED = private_key("Ed25519", "a")
RSA_ALGORITHMS = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}

MEMBERS = st.sampled_from(["kty", "n", "e", "crv", "x", "y", "k", "kid", "alg", "use", "key_ops"])
WORDS = st.sampled_from(["RSA", "EC", "OKP", "oct", "P-256", "Ed25519", "AQAB", "RS256", "sig", "", "~", "A"])
ENTRIES = st.dictionaries(MEMBERS, WORDS | st.integers() | st.none() | st.lists(WORDS, max_size=2), max_size=8)


def refusals(*entries: object) -> tuple[str, ...]:
    """Why keys beside a good one are left out."""
    return JwkSet.parse(json.dumps({"keys": [*entries, jwk(ED)]})).refused


@given(st.binary(max_size=60) | st.lists(ENTRIES, max_size=3).map(lambda keys: json.dumps({"keys": keys}).encode()))
def test_parsing_is_total(text: bytes) -> None:
    try:
        assert JwkSet.parse(text).keys
    except InvalidJwkSetError:
        return


@pytest.mark.parametrize(
    ("kind", "algorithms"),
    [
        ("RSA", RSA_ALGORITHMS),
        ("RSA-3", RSA_ALGORITHMS),
        ("RSA-3072", RSA_ALGORITHMS),
        ("P-256", {"ES256"}),
        ("P-384", {"ES384"}),
        ("P-521", {"ES512"}),
        ("Ed25519", {"EdDSA"}),
    ],
)
def test_the_kind_of_a_key_says_which_algorithms_it_is_for(kind: str, algorithms: set[str]) -> None:
    private = private_key(kind, "a")
    (key,) = JwkSet.parse(key_set(jwk(private, kid="k"))).keys
    assert key.key_id == "k"
    assert set(key.algorithms) == algorithms
    for algorithm in algorithms:
        signature = sign(private, algorithm, b"data")
        assert key.verifies(algorithm, b"data", signature)
        assert not key.verifies(algorithm, b"other", signature)
        assert not key.verifies("none", b"data", signature)
        assert not key.verifies("HS256", b"data", signature)


def test_what_a_key_declares_is_all_that_it_is_for() -> None:
    (key,) = JwkSet.parse(key_set(jwk(RSA, alg="PS384"))).keys
    assert set(key.algorithms) == {"PS384"}
    assert key.declared == "PS384"
    assert not key.verifies("RS256", b"data", sign(RSA, "RS256", b"data"))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("text", "not an object"),
        ({}, "it has no `kty`"),
        ({"kty": 7}, "it has no `kty`"),
        ({"kty": "rsa"}, "its kind `rsa` is unknown"),
        ({"kty": "RSA", "e": "AQAB"}, "it has no `n`"),
        ({"kty": "RSA", "n": "AQ", "e": "AQAB"}, "it has 1 bits, not 2048 to 8192"),
        (jwk(RSA, n="~"), "its `n` has a character that base64url does not have"),
        (jwk(RSA, n="A"), "its `n` has a length that base64url does not have"),
        (jwk(RSA, n=7), "it has no `n`"),
        (jwk(RSA, n=None, x5c=["MII="]), "it has no `n`"),
        (jwk(RSA, n=base64url(b"\xff" * 255 + b"\xfe")), "its modulus is even"),
        (jwk(RSA, n=base64url(b"\x7f" + b"\xff" * 255)), "it has 2047 bits, not 2048 to 8192"),
        (jwk(RSA, n=base64url(b"\x01" + b"\xff" * 1024)), "it has 8193 bits, not 2048 to 8192"),
        (jwk(RSA, e="AQ"), "its exponent is neither 3 nor 65537"),
        (jwk(RSA, e="AQAD"), "its exponent is neither 3 nor 65537"),
        (jwk(RSA, alg="ES256"), "its `alg` `ES256` is none of RS256, RS384, RS512, PS256, PS384, PS512"),
        (jwk(RSA, alg="RSA-OAEP"), "its `alg` `RSA-OAEP` is none of RS256, RS384, RS512, PS256, PS384, PS512"),
        (jwk(RSA, alg="HS256"), "its `alg` `HS256` is none of RS256, RS384, RS512, PS256, PS384, PS512"),
        (jwk(RSA, alg=7), "its `alg` is no string"),
        (jwk(RSA, use="enc"), "its `use` is `enc`"),
        (jwk(RSA, use="x509-svid"), "its `use` is `x509-svid`"),
        (jwk(RSA, key_ops=["sign"]), "its `key_ops` are without `verify`"),
        (jwk(RSA, key_ops="verify"), "its `key_ops` are without `verify`"),
        (jwk(P256, crv=None), "it has no `crv`"),
        (jwk(P256, crv="secp256k1"), "its curve `secp256k1` is none of P-256, P-384, P-521"),
        (jwk(P256, crv="P-384"), "it is no point on P-384"),
        (jwk(P256, y=base64url(b"\1" * 32)), "it is no point on P-256"),
        (jwk(P256, x=base64url(b"\1" * 66)), "it is no point on P-256"),
        (jwk(P256, x=base64url(b"\0"), y=base64url(b"\0")), "it is no point on P-256"),
        (jwk(P256, alg="ES384"), "its `alg` `ES384` is none of ES256"),
        (jwk(ED, crv="Ed448"), "its curve `Ed448` is not Ed25519"),
        (jwk(ED, crv="X25519"), "its curve `X25519` is not Ed25519"),
        (jwk(ED, x=base64url(b"\1" * 31)), "it has 31 bytes, not 32"),
        (jwk(ED, alg="Ed25519"), "its `alg` `Ed25519` is none of EdDSA"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "it is symmetric"),
    ],
)
def test_a_key_that_cannot_be_used_is_left_out_and_said_why(entry: object, reason: str) -> None:
    assert refusals(entry) == (f"key 0: {reason}",)


@pytest.mark.parametrize(
    "members",
    [
        {"use": "sig"},
        {"use": "jwt-svid"},
        {"use": 5},
        {"key_ops": ["sign", "verify"]},
        {"kid": 5},
        {"kid": ""},
        {"x5c": ["MII="], "x5t": "x"},
    ],
)
def test_what_says_nothing_against_a_key_leaves_it_in(members: dict[str, Any]) -> None:
    assert refusals(jwk(RSA, **members)) == ()


def test_the_key_that_is_left_out_is_named() -> None:
    parsed = JwkSet.parse(key_set(jwk(ED), {"kty": "oct", "kid": "s\n" + "x" * 99}))
    assert parsed.refused == ("key 1 (`s\\n" + "x" * 78 + "…`): it is symmetric",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object that can be read"),
        ("[]", "no JSON object that can be read"),
        ("{}", "there is no list of `keys`"),
        ('{"keys": {}}', "there is no list of `keys`"),
        ('{"keys": [], "keys": []}', "a member is named twice"),
        ('{"keys": []}', "no key can be used: there is none"),
        ('{"keys": [{"kty": "oct"}, 7]}', "no key can be used: key 0: it is symmetric; key 1: not an object"),
        (json.dumps(jwk(RSA)), "there is no list of `keys`"),
        ("-----BEGIN PUBLIC KEY-----", "no JSON object that can be read"),
        ("\ud800", "not UTF-8"),
        (b"\xff", "not UTF-8"),
        ('{"keys": [' + "{}," * MAX_KEYS + "{}]}", f"it has {MAX_KEYS + 1} keys, more than {MAX_KEYS}"),
        (" " * (MAX_JWK_SET + 1), f"it has {MAX_JWK_SET + 1} bytes, more than {MAX_JWK_SET}"),
    ],
)
def test_what_is_no_set_is_refused(text: str | bytes, reason: str) -> None:
    with pytest.raises(InvalidJwkSetError) as caught:
        JwkSet.parse(text)
    assert reason in caught.value.reason


def test_a_set_without_keys_cannot_be_made_otherwise() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        JwkSet(())


def test_nothing_private_is_kept_or_shown() -> None:
    assert isinstance(RSA, rsa.RSAPrivateKey)
    secret = base64url(RSA.private_numbers().d.to_bytes(256, "big"))
    parsed = JwkSet.parse(key_set(jwk(RSA, kid="k", d=secret), {"kty": "oct", "k": secret, "kid": "s"}))
    assert isinstance(parsed.keys[0].key, rsa.RSAPublicKey)
    assert not hasattr(parsed.keys[0].key, "private_numbers")
    assert secret not in repr(parsed)
    assert repr(parsed) == ("JwkSet(keys=(Jwk(key_id='k', declared=''),), refused=('key 1 (`s`): it is symmetric',))")
