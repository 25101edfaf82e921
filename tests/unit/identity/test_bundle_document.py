"""Bundle documents: what is published is read again, and what others publish is read as the standard has it."""

import base64
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from identity import (
    Bundle,
    InvalidBundleError,
    JwtAuthority,
    PublicKey,
    TrustDomain,
    jwt_keys_document,
    oidc_keys_document,
    parse_bundle,
    to_document,
    to_jwk,
)
from identity.bundle_document import MAX_AUTHORITIES, MAX_DOCUMENT
from tests.unit.identity.chains import SOUND, build

TD = TrustDomain.parse("td.example")
ROOT = build(SOUND).certificates["root"]
KEYS: dict[str, PublicKey] = {
    "a": ec.generate_private_key(ec.SECP256R1()).public_key(),
    "b": ec.generate_private_key(ec.SECP384R1()).public_key(),
    "c": rsa.generate_private_key(65537, 2048).public_key(),
}
AUTHORITIES = tuple(JwtAuthority(key_id, key) for key_id, key in KEYS.items())
BUNDLE = Bundle(TD, (ROOT,), AUTHORITIES, sequence=2**63, refresh_hint=timedelta(minutes=5))
X5C = base64.b64encode(ROOT.public_bytes(Encoding.DER)).decode()
OF_VERSION_4 = base64.b64encode(
    ROOT.public_bytes(Encoding.DER).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03", 1)
).decode()


def document(*keys: object, **members: object) -> bytes:
    return json.dumps({"keys": keys, **members}).encode()


def refused(data: bytes) -> str:
    with pytest.raises(InvalidBundleError) as caught:
        parse_bundle(data, TD)
    return caught.value.reason


@pytest.mark.parametrize(
    "bundle", [BUNDLE, Bundle(TD, ()), Bundle(TD, (), AUTHORITIES), Bundle(TD, (ROOT,), sequence=1)]
)
def test_what_is_published_is_read_again(bundle: Bundle) -> None:
    assert parse_bundle(to_document(bundle), TD) == bundle


def test_an_x509_authority_has_no_key_id_and_one_certificate() -> None:
    (key,) = json.loads(to_document(Bundle(TD, (ROOT,))))["keys"]
    assert key["use"] == "x509-svid"
    assert key["x5c"] == [X5C]
    assert "kid" not in key


def test_coordinates_have_the_full_length_of_the_curve() -> None:
    for length, curve in ((43, ec.SECP256R1()), (64, ec.SECP384R1())):
        for _ in range(300):
            jwk = to_jwk(ec.generate_private_key(curve).public_key())
            assert (len(jwk["x"]), len(jwk["y"])) == (length, length)


def test_the_workload_api_hands_out_jwt_keys_alone() -> None:
    keys = json.loads(jwt_keys_document(BUNDLE))["keys"]
    assert [(key["use"], key["kid"]) for key in keys] == [("jwt-svid", "a"), ("jwt-svid", "b"), ("jwt-svid", "c")]


def test_openid_connect_is_told_algorithms_and_a_use_that_it_knows() -> None:
    keys = json.loads(oidc_keys_document(BUNDLE))["keys"]
    assert [(key["use"], key["alg"]) for key in keys] == [("sig", "ES256"), ("sig", "ES384"), ("sig", "RS256")]


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "EC", "x5c": [X5C]},
        {"use": "wit-svid", "kty": "EC"},
        {"use": "x509-svid", "kty": "EC"},
        {"use": "x509-svid", "kty": "EC", "x5c": []},
        {"use": "jwt-svid", "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AA"},
        {"use": "jwt-svid", "kty": "EC", "crv": "P-521", "kid": "k", "x": "AA", "y": "AA"},
        {"use": "jwt-svid", "kid": "k"},
    ],
)
def test_what_is_unknown_is_left_out(key: object) -> None:
    assert parse_bundle(document(key), TD) == Bundle(TD, ())


def test_of_several_certificates_the_first_is_the_authority() -> None:
    other = base64.b64encode(build(SOUND).certificates["root"].public_bytes(Encoding.DER)).decode()
    assert parse_bundle(document({"use": "x509-svid", "x5c": [X5C, other]}), TD).x509_authorities == (ROOT,)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no JSON object"),
        (b"[]", "no JSON object"),
        (b"\xff", "no JSON object"),
        (b"{}", "no list of `keys`"),
        (b'{"keys": {}}', "no list of `keys`"),
        (b'{"keys": [], "keys": []}', "named twice"),
        (document(7), "key 0: not an object"),
        (document({"use": "jwt-svid", **to_jwk(KEYS["a"])}), "key 0: it has no `kid`"),
        (document({"use": "jwt-svid", "kid": "k", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}), "key 0"),
        (document(*({"use": "jwt-svid", "kid": "k", **to_jwk(key)} for key in KEYS.values())), "another has its `kid`"),
        (document({"use": "x509-svid", "x5c": ["AAAA"]}), "no certificate"),
        (document({"use": "x509-svid", "x5c": [7]}), "no certificate"),
        (document({"use": "x509-svid", "x5c": [OF_VERSION_4]}), "no certificate"),
        (document(spiffe_refresh_hint=10**20), "thousand years"),
        (document({"use": "x509-svid", "x5c": [X5C + "\n"]}), "no certificate"),
        (document(spiffe_sequence="1"), "`spiffe_sequence`"),
        (document(spiffe_sequence=True), "`spiffe_sequence`"),
        (document(spiffe_refresh_hint=-1), "`spiffe_refresh_hint`"),
        (document(spiffe_refresh_hint=1.5), "`spiffe_refresh_hint`"),
    ],
)
def test_what_cannot_be_used_is_refused(data: bytes, reason: str) -> None:
    assert reason in refused(data)


def test_a_weak_key_is_refused() -> None:
    weak = rsa.RSAPublicNumbers(65537, 2**1023 + 1).public_key()
    jwk = {"use": "jwt-svid", "kid": "k", **to_jwk(weak)}
    assert "1024 bits" in refused(document(jwk))


def test_limits_are_where_they_are_said_to_be() -> None:
    unknown = {"use": "other"}
    assert parse_bundle(document(*[unknown] * MAX_AUTHORITIES), TD) == Bundle(TD, ())
    assert str(MAX_AUTHORITIES) in refused(document(*[unknown] * (MAX_AUTHORITIES + 1)))
    data = document()
    assert parse_bundle(data + b" " * (MAX_DOCUMENT - len(data)), TD) == Bundle(TD, ())
    assert str(MAX_DOCUMENT) in refused(data + b" " * (MAX_DOCUMENT - len(data) + 1))


@given(st.binary())
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    refused(data)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["jwt-svid", "x509-svid", "EC", "P-256", X5C]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["use", "kty", "kid", "crv", "x", "y", "n", "e", "x5c"]), inner, max_size=6)
    ),
    max_leaves=12,
)


@given(st.lists(json_values, max_size=4))
def test_any_keys_are_read_or_refused(keys: list[object]) -> None:
    try:
        bundle = parse_bundle(document(*keys), TD)
    except InvalidBundleError:
        return
    assert parse_bundle(to_document(bundle), TD) == bundle
