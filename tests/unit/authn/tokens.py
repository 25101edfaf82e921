"""Tokens and keys to test with, written by hand from the standards: nothing here uses the code under test."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

AT = 1_000_000
"""The time at which tokens are looked at, where a test says nothing else."""

_HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1(), "secp256k1": ec.SECP256K1()}
_SIZES = {"P-256": 32, "P-384": 48, "P-521": 66, "secp256k1": 32}


def base64url(data: bytes) -> str:
    """Without padding (RFC 7515, appendix C)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@cache
def private_key(kind: str, name: str) -> Private:
    """The key of that kind (`RSA`, `RSA-1024`, `RSA-3`, `P-256`, `Ed25519`, …) that goes by `name`, the same every time."""
    del name
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind])
    if kind == "RSA-3":
        return rsa.generate_private_key(3, 2048)
    return rsa.generate_private_key(65537, int(kind.partition("-")[2] or 2048))


def jwk(key: Private, **members: object) -> dict[str, object]:
    """The public half of `key` as a JWK, with further `members`; those that are `None` are left out."""
    return {name: value for name, value in {**_public(key), **members}.items() if value is not None}


def _public(key: Private) -> dict[str, object]:
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {"kty": "RSA", "n": _bare(numbers.n), "e": _bare(numbers.e)}
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url(key.public_key().public_bytes_raw())}
    curve = next(name for name, known in _CURVES.items() if known.name == key.curve.name)
    point = key.public_key().public_numbers()
    return {"kty": "EC", "crv": curve, "x": _number(point.x, _SIZES[curve]), "y": _number(point.y, _SIZES[curve])}


def _bare(number: int) -> str:
    return _number(number, (number.bit_length() + 7) // 8)


def _number(number: int, size: int) -> str:
    return base64url(number.to_bytes(size, "big"))


def key_set(*keys: Mapping[str, object]) -> str:
    """A JWK Set."""
    return json.dumps({"keys": keys})


def sign(key: Private | bytes, algorithm: str, data: bytes) -> bytes:
    """A signature as RFC 7518 has it, also with a key that does not go with the algorithm's hash."""
    sha = _HASHES.get(algorithm[2:], _HASHES["256"])
    match key:
        case bytes():
            return hmac.new(key, data, getattr(hashlib, f"sha{algorithm[2:]}")).digest()
        case rsa.RSAPrivateKey() if algorithm.startswith("PS"):
            return key.sign(data, padding.PSS(padding.MGF1(sha), padding.PSS.DIGEST_LENGTH), sha)
        case rsa.RSAPrivateKey():
            return key.sign(data, padding.PKCS1v15(), sha)
        case ec.EllipticCurvePrivateKey():
            r, s = decode_dss_signature(key.sign(data, ec.ECDSA(sha)))
            size = (key.curve.key_size + 7) // 8
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        case ed25519.Ed25519PrivateKey():
            return key.sign(data)


@dataclass(frozen=True, slots=True)
class Parts:
    """A token in its three parts, each as it stands there."""

    header: str
    payload: str
    signature: str

    def __str__(self) -> str:
        return f"{self.header}.{self.payload}.{self.signature}"


def token(
    key: Private | bytes,
    claims: Mapping[str, object] | str | bytes,
    *,
    alg: str = "RS256",
    signed_as: str | None = None,
    header: Mapping[str, object] | str | bytes | None = None,
    **members: object,
) -> Parts:
    """A signed token; `signed_as` is what it is really signed by where its header is to lie."""
    head = base64url(_text({"alg": alg, **members} if header is None else header))
    body = base64url(_text(claims))
    signature = sign(key, signed_as or alg, f"{head}.{body}".encode())
    return Parts(head, body, base64url(signature))


def _text(value: Mapping[str, object] | str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()
