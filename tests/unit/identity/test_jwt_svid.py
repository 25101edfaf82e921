"""JWT-SVIDs: what proves a name, and every way in which a token does not."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from identity import Bundle, InvalidJwtSvidError, JwtAuthority, JwtFault, SpiffeId, TrustDomain, verify_jwt_svid
from identity.jws import MAX_TOKEN
from identity.jwt_svid import LEEWAY

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
TD = TrustDomain.parse("td.example")
WEB = "spiffe://td.example/ns/shop/sa/web"
EC = ec.generate_private_key(ec.SECP256R1())
EC384 = ec.generate_private_key(ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)
BUNDLE = Bundle(
    TD,
    (),
    (
        JwtAuthority("ec", EC.public_key()),
        JwtAuthority("ec384", EC384.public_key()),
        JwtAuthority("rsa", RSA.public_key()),
    ),
)
OTHER = Bundle(TrustDomain.parse("other.example"), (), (JwtAuthority("ec", EC384.public_key()),))
TWICE = b'{"sub":"a","sub":"b"}'
NOW = int(AT.timestamp())
CLAIMS: dict[str, Any] = {"sub": WEB, "aud": ["api"], "exp": NOW + 300, "iat": NOW}


def part(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def token(*, key: Any = EC, header: dict[str, object] | None = None, **claims: object) -> str:
    """A token whose header and claims are what is said; a claim that is `...` is left out."""
    head = {"alg": "ES256", "kid": "ec", "typ": "JWT"} | (header or {})
    body = {name: value for name, value in (CLAIMS | claims).items() if value is not ...}
    signed = f"{part({k: v for k, v in head.items() if v is not ...})}.{part(body)}"
    algorithm = {"ec": "ES256", "ec384": "ES384", "rsa": "RS256"}[
        "rsa" if isinstance(key, rsa.RSAPrivateKey) else "ec384" if key is EC384 else "ec"
    ]
    name = str(head["alg"])
    usable = algorithm if name not in ("RS512", "PS256", "PS384", "PS512", "RS384") else name
    return f"{signed}.{part(jwt.get_algorithm_by_name(usable).sign(signed.encode(), key))}"


def fault_of(text: str, *, audience: str = "api", at: datetime = AT) -> JwtFault:
    with pytest.raises(InvalidJwtSvidError) as caught:
        verify_jwt_svid(text, [BUNDLE, OTHER], audience=audience, at=at)
    return caught.value.fault


def test_a_token_proves_a_name_to_its_audience() -> None:
    svid = verify_jwt_svid(token(role="buyer"), [BUNDLE, OTHER], audience="api", at=AT)
    assert svid.spiffe_id == SpiffeId.parse(WEB)
    assert svid.audience == ("api",)
    assert svid.expires == AT + timedelta(minutes=5)
    assert svid.claims["role"] == "buyer"


def test_nothing_of_a_token_is_shown() -> None:
    assert "buyer" not in repr(verify_jwt_svid(token(role="buyer"), [BUNDLE], audience="api", at=AT))


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_rsa_keys_sign_in_six_ways(algorithm: str) -> None:
    text = token(key=RSA, header={"alg": algorithm, "kid": "rsa"})
    assert verify_jwt_svid(text, [BUNDLE], audience="api", at=AT).spiffe_id == SpiffeId.parse(WEB)


def test_a_key_on_p384_signs_with_sha384() -> None:
    text = token(key=EC384, header={"alg": "ES384", "kid": "ec384"})
    assert verify_jwt_svid(text, [BUNDLE], audience="api", at=AT).spiffe_id == SpiffeId.parse(WEB)


@pytest.mark.parametrize("typ", ["JWT", "JOSE", ...])
def test_the_type_may_be_left_out(typ: object) -> None:
    assert verify_jwt_svid(token(header={"typ": typ}), [BUNDLE], audience="api", at=AT).audience == ("api",)


def test_an_audience_may_be_one_string() -> None:
    assert verify_jwt_svid(token(aud="api"), [BUNDLE], audience="api", at=AT).audience == ("api",)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", JwtFault.MALFORMED),
        ("a.b", JwtFault.MALFORMED),
        ("a.b.c.d.e", JwtFault.MALFORMED),
        (f"{part({'alg': 'none'})}.{part(CLAIMS)}.", JwtFault.MALFORMED),
        (f"{part([])}.{part(CLAIMS)}.AA", JwtFault.MALFORMED),
        (f"{part(b'{')}.{part(CLAIMS)}.AA", JwtFault.MALFORMED),
        (f"{part({'alg': 'ES256'})}.{part(CLAIMS)}.A*A", JwtFault.MALFORMED),
        (f"{part({'alg': 'ES256', 'kid': 'ec'})}.{part(TWICE)}.AA", JwtFault.MALFORMED),
        (token(header={"alg": "none"}), JwtFault.MALFORMED),
        (token(header={"alg": "HS256"}), JwtFault.MALFORMED),
        (token(header={"alg": "EdDSA"}), JwtFault.MALFORMED),
        (token(header={"alg": ["ES256"]}), JwtFault.MALFORMED),
        (token(header={"typ": "at+jwt"}), JwtFault.HEADER),
        (token(header={"typ": 1}), JwtFault.HEADER),
        (token(header={"crit": ["b64"]}), JwtFault.MALFORMED),
        (token(header={"jwk": {}}), JwtFault.HEADER),
        (token(header={"kid": ...}), JwtFault.KEY_ID),
        (token(header={"kid": ""}), JwtFault.KEY_ID),
        (token(header={"kid": 1}), JwtFault.MALFORMED),
        (token(sub=...), JwtFault.SUBJECT),
        (token(sub=""), JwtFault.SUBJECT),
        (token(sub="web"), JwtFault.SUBJECT),
        (token(sub="spiffe://td.example"), JwtFault.SUBJECT),
        (token(sub=WEB + "\n"), JwtFault.SUBJECT),
        (token(exp=...), JwtFault.EXPIRY),
        (token(exp=None), JwtFault.EXPIRY),
        (token(exp="1"), JwtFault.EXPIRY),
        (token(exp=True), JwtFault.EXPIRY),
        (token(exp=1e30), JwtFault.EXPIRY),
        (token(exp=-1), JwtFault.EXPIRY),
        (token(exp=NOW - 61), JwtFault.EXPIRY),
        (token(nbf=NOW + 61), JwtFault.EXPIRY),
        (token(iat=NOW + 61), JwtFault.EXPIRY),
        (token(aud=...), JwtFault.AUDIENCE),
        (token(aud=[]), JwtFault.AUDIENCE),
        (token(aud=[1]), JwtFault.AUDIENCE),
        (token(aud=["API", "api "]), JwtFault.AUDIENCE),
        (token(sub="spiffe://third.example/a"), JwtFault.TRUST_DOMAIN),
        (token(header={"kid": "gone"}), JwtFault.KEY),
        (token(sub="spiffe://other.example/a"), JwtFault.SIGNATURE),
        (token(key=ec.generate_private_key(ec.SECP256R1())), JwtFault.SIGNATURE),
        (token(header={"kid": "rsa"}), JwtFault.SIGNATURE),
        (token(header={"kid": "ec384"}), JwtFault.SIGNATURE),
        (token(header={"alg": "ES512"}), JwtFault.SIGNATURE),
        (token(key=RSA, header={"alg": "ES256", "kid": "rsa"}), JwtFault.SIGNATURE),
    ],
)
def test_what_proves_nothing_is_refused(text: str, fault: JwtFault) -> None:
    assert fault_of(text) is fault


def test_the_leeway_ends_where_it_is_said_to() -> None:
    expires = AT + timedelta(seconds=300)
    assert verify_jwt_svid(token(), [BUNDLE], audience="api", at=expires + LEEWAY).expires == expires
    assert fault_of(token(), at=expires + LEEWAY + timedelta(seconds=1)) is JwtFault.EXPIRY


def test_a_long_token_is_not_looked_at() -> None:
    text = token(padding="x" * MAX_TOKEN)
    assert fault_of(text) is JwtFault.MALFORMED


def test_the_time_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        verify_jwt_svid(token(), [BUNDLE], audience="api", at=datetime(2026, 11, 24))  # noqa: DTZ001  # that is the point


SOUND = token()


@given(st.integers(0, len(SOUND) - 1), st.characters(max_codepoint=255))
def test_a_token_with_another_character_proves_nothing_else(position: int, character: str) -> None:
    damaged = SOUND[:position] + character + SOUND[position + 1 :]
    try:
        svid = verify_jwt_svid(damaged, [BUNDLE], audience="api", at=AT)
    except InvalidJwtSvidError:
        return
    # The last character of the signature has bits that mean nothing.
    assert svid == verify_jwt_svid(SOUND, [BUNDLE], audience="api", at=AT)


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    assert fault_of(text) in JwtFault
