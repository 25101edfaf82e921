"""Tokens at random, good and bad in every way that the two sides are meant to see alike, and the keys that they are signed by.

Where meshward is stricter than Envoy on purpose (JSON as the standard has it, no critical extensions, no symmetric keys, no
algorithm that does not fit its key), nothing here goes: `tests/unit/authn` has what it does there. Times lie far off, so that
a token means the same in every run.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from random import Random

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from authz.request_authentication import JwtRule
from tests.differential.generator import pick
from tests.laws import world

__all__ = ["AUDIENCES", "ISSUERS", "key_sets", "random_token"]

ISSUERS = ("https://idp", "https://other", "https://idp/")
AUDIENCES: tuple[object, ...] = ("shop", ["shop", "web"], "https://shop/", "http://shop", ["web"], "", [], ["", "x"])

_LONG_AGO, _ONE_DAY = 1_000_000_000, 4_000_000_000
_EXPIRES: tuple[object, ...] = (_ONE_DAY, _ONE_DAY, _ONE_DAY, _LONG_AGO, None, 0, 4e9, "soon", -1, 2**70, True)
_NOT_BEFORE: tuple[object, ...] = (None, None, None, _LONG_AGO, _ONE_DAY, "x", -1, 0)
# The registered claims, and how often one is not what a good token says. Only where a rule names audiences is it bad to have others.
_REGISTERED = {"iss": 0.05, "sub": 0.05, "aud": 0.2, "exp": 0.05, "nbf": 0.05, "iat": 0.05}
# A claim with a line break is refused where it is to become a header, by either side in its own way.
_ONE_LINE = tuple(claim for claim in world.CLAIMS if not isinstance(claim, str) or "\n" not in claim)
_CLAIMS: Mapping[str, tuple[object, ...]] = {
    "iss": (*ISSUERS, *world.ISSUERS),
    "sub": ("alice", "alice", *world.SUBJECTS),
    "aud": (*AUDIENCES, None, 7, ["shop", 7]),
    "exp": _EXPIRES,
    "nbf": _NOT_BEFORE,
    "iat": (_LONG_AGO, None, None, None, "x"),
    "azp": world.CLAIMS,
    "groups": _ONE_LINE,
    "groups[x]": world.CLAIMS,
    "realm": ({"roles": ["admin"]}, {"roles": "admin user"}, *_ONE_LINE),
    "scope": ("admin user", "user admin", " admin  user ", "admin", " ", "", ["admin"], 7),
    "role": ("admin", "user", "admin,user", "", "Zoë", "a b"),
    "n": (7, 7.0, 1.5, -1, 0, 2**53 + 1, 1e20, 1e-7, True, False, None, {}, [], {"a": [1, "é"]}, "x"),
}


@dataclass(frozen=True, slots=True)
class _Key:
    """A key of an issuer: how it is published, without a name, and how it signs, by the algorithms that fit it."""

    public: Mapping[str, str]
    sign: Mapping[str, Callable[[bytes], bytes]]


@cache
def _keys() -> Mapping[str, _Key]:
    return {"r": _rsa(), "s": _rsa(), "e": _ec(), "d": _ed25519()}


@cache
def key_sets() -> Mapping[str, str]:
    """The JWK Sets that a rule may have, of one key or of several, and the names of the keys that sign for it."""
    keys = {name: dict(key.public) for name, key in _keys().items()}

    def key_set(*members: Mapping[str, str]) -> str:
        return json.dumps({"keys": members})

    return {
        key_set(*(key | {"kid": name} for name, key in keys.items())): "rsed",
        key_set(keys["r"] | {"kid": "r"}): "r",
        key_set(keys["r"], keys["e"]): "re",
        key_set(keys["s"] | {"kid": "r", "alg": "RS256"}, keys["r"] | {"kid": "r", "alg": "RS256", "use": "sig"}): "r",
        key_set(keys["e"] | {"kid": "e", "alg": "ES256"}): "e",
        key_set(keys["d"] | {"kid": "d", "alg": "EdDSA"}, keys["s"]): "ds",
    }


def random_token(random: Random, rule: JwtRule) -> str:
    """A token, mostly one that `rule` takes, or what was one."""
    name = random.choice(key_sets()[rule.jwks] if random.random() < 0.9 else "rsed")
    key = _keys()[name]
    algorithm = random.choice(tuple(key.sign))
    header: dict[str, object] = {"alg": algorithm, "typ": "JWT", "kid": name}
    if random.random() < 0.1:
        header |= {"kid": random.choice(("r", "e", "x", "", 7))}
    if random.random() < 0.2:
        del header["kid"]
    payload = _payload(random, rule)
    if random.random() < 0.03:
        header |= {"alg": random.choice(("none", "rs256", "", 7, None))}
    signed = f"{_encoded(json.dumps(header))}.{_encoded(json.dumps(payload))}"
    token = f"{signed}.{_base64url(key.sign[algorithm](signed.encode()))}"
    return _spoilt(random, token) if random.random() < 0.06 else token


def _payload(random: Random, rule: JwtRule) -> dict[str, object]:
    """Mostly what a good token says; what is the matter with it is one thing or two."""
    payload: dict[str, object] = {
        "iss": rule.issuer,
        "sub": "alice",
        "aud": rule.audiences[0] if rule.audiences else "shop",
        "exp": _ONE_DAY,
    }
    for name, values in _CLAIMS.items():
        if name not in _REGISTERED and random.random() < 0.6:
            payload[name] = pick(random, values)
        elif name in _REGISTERED and random.random() < _REGISTERED[name]:
            payload[name] = random.choice(values)
    return {name: value for name, value in payload.items() if value is not None or random.random() < 0.2}


def _spoilt(random: Random, token: str) -> str:
    header, payload, signature = token.split(".")
    other = "A" if signature[5] != "A" else "B"
    return random.choice(
        (
            "",
            "x",
            f"{header}.{payload}",
            f"{header}.{payload}.",
            f"{header}..{signature}",
            f"{token}.{signature}",
            f"{header}.{payload}.{signature[:5]}{other}{signature[6:]}",
            f"{header}.{payload}.{signature[:-8]}",
            f"{header}.{payload}.!{signature}",
            f"{header}.{payload[:-3]}.{signature}",
            f"!{token}",
            f"{_encoded('[]')}.{payload}.{signature}",
            f"{_encoded('{')}.{payload}.{signature}",
            f"{header}.{_encoded('[1]')}.{signature}",
            f"{header}.{_encoded('x')}.{signature}",
        )
    )


# Keys -----------------------------------------------------------------------------------------------------------------


def _rsa() -> _Key:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = private.public_key().public_numbers()
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)
    return _Key(
        {"kty": "RSA", "n": _number(numbers.n, 256), "e": "AQAB"},
        {
            "RS256": lambda data: private.sign(data, padding.PKCS1v15(), hashes.SHA256()),
            "RS512": lambda data: private.sign(data, padding.PKCS1v15(), hashes.SHA512()),
            "PS256": lambda data: private.sign(data, pss, hashes.SHA256()),
        },
    )


def _ec() -> _Key:
    private = ec.generate_private_key(ec.SECP256R1())
    numbers = private.public_key().public_numbers()

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    return _Key(
        {"kty": "EC", "crv": "P-256", "x": _number(numbers.x, 32), "y": _number(numbers.y, 32)}, {"ES256": sign}
    )


def _ed25519() -> _Key:
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    return _Key({"kty": "OKP", "crv": "Ed25519", "x": _base64url(public)}, {"EdDSA": private.sign})


def _number(number: int, length: int) -> str:
    return _base64url(number.to_bytes(length))


def _encoded(text: str) -> str:
    return _base64url(text.encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
