"""Tokens for the callers of tests: signed by a key that is made for the run, and verified as any other."""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import orjson
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from authn import JwkSet, StaticKeys
from authz.request_authentication import JwtRule
from authz.values import ascii_lower

__all__ = ["Bearing", "ThrowAwayKey", "bearing"]

_SIZE = 32  # bytes of a number on P-256


class Bearing(NamedTuple):
    """What a token adds to a request: a header line, or a query parameter where `header` is none."""

    header: str | None
    prefix: str
    parameter: str = ""

    def headers(self, headers: Mapping[str, tuple[str, ...]], token: str) -> Mapping[str, tuple[str, ...]]:
        """The headers with the token among them."""
        if self.header is None:
            return headers
        return {**headers, self.header: (*headers.get(self.header, ()), f"{self.prefix}{token}")}

    def path(self, path: str, token: str) -> str:
        """The path with the token in it."""
        if self.header is not None:
            return path
        path, mark, fragment = path.partition("#")
        return f"{path}{'&' if '?' in path else '?'}{self.parameter}={token}{mark}{fragment}"


_USUAL = Bearing("authorization", "Bearer ")


def bearing(payload: Mapping[str, object], rules: Sequence[JwtRule]) -> Bearing:
    """Where a client puts a token for a workload of these rules: where the first rule of its issuer looks first."""
    for rule in rules:
        if rule.issuer in ("", payload.get("iss")):
            for header in rule.from_headers:
                return Bearing(ascii_lower(header.name), header.prefix)
            for parameter in rule.from_params:
                return Bearing(None, "", parameter)
            for cookie in rule.from_cookies:
                return Bearing("cookie", f"{cookie}=")
            break
    return _USUAL


class ThrowAwayKey:
    """A key that nobody has had before and nobody will have after. It stands for the key of every issuer."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def token(self, payload: Mapping[str, object]) -> str:
        """A token that says so, signed."""
        head = _base64url(orjson.dumps({"alg": "ES256", "typ": "JWT"}))
        body = _base64url(orjson.dumps(payload))
        r, s = decode_dss_signature(self._key.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256())))
        return f"{head}.{body}.{_base64url(r.to_bytes(_SIZE, 'big') + s.to_bytes(_SIZE, 'big'))}"

    def keys(self, rules: Iterable[JwtRule]) -> StaticKeys:
        """This key as that of all these rules, whatever keys they name or bring along."""
        point = self._key.public_key().public_numbers()
        x, y = (_base64url(number.to_bytes(_SIZE, "big")) for number in (point.x, point.y))
        keys = JwkSet.parse(orjson.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y}]}))
        return StaticKeys({name: keys for rule in rules for name in (rule.jwks_uri, rule.issuer) if name})


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
