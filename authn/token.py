"""Tokens as they come: a compact JWS (RFC 7515 7.1) whose payload is a claims set (RFC 7519), nothing verified."""

import re
from collections.abc import Mapping

import orjson

from authn.errors import InvalidTokenError, excerpt
from authn.status import MAX_TOKEN, JwtStatus
from authz.record import record
from identity.base64url import decode
from identity.strict_json import MAX_DEPTH, parse_object

__all__ = ["UnverifiedToken"]

_PARTS = 3
# What Envoy knows the names of. No key here is symmetric, so that a token of HS256 and its kind finds none (CVE-2022-29217).
_ALGORITHMS = frozenset(f"{family}{size}" for family in ("ES", "HS", "PS", "RS") for size in (256, 384, 512)) | {
    "EdDSA"
}
_UINT64 = 2**64
# Numbers that are no integer of up to 15 digits, as far as they stand in JSON without white space.
_UNUSUAL_NUMBER = re.compile(rb"[:,\[]-?(?:[0-9]{16}|[0-9]+[.eE])")


@record
class UnverifiedToken:
    """What a token says of itself. Anybody can write one.

    `key_id` and `issuer` are empty where it names none. `not_before` and `expires` are seconds since 1970, 0 where it sets
    no bound: a token without `exp`, or with an `exp` of 0, never expires, as with Envoy. `payload` is its second part as it
    stands, `signed` what the `signature` is over.
    """

    algorithm: str
    key_id: str
    claims: Mapping[str, object]
    issuer: str
    audiences: tuple[str, ...]
    not_before: int
    expires: int
    payload: str
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, text: str) -> "UnverifiedToken":
        """Read `text`, any text, in Envoy's order (semantics 4.3, step 1).

        Stricter than Envoy where the standards are: no empty parts beside the three, JSON as RFC 8259 has it, and no
        critical extension, for none is understood (RFC 7515 4.1.11).

        Raises:
            InvalidTokenError: it is no such token.
        """
        if len(text) > MAX_TOKEN:
            raise InvalidTokenError(JwtStatus.TOO_LONG, f"it has {len(text)} characters, more than {MAX_TOKEN}")
        parts = text.split(".")
        if len(parts) != _PARTS or not all(parts):
            # Five parts would be a JWE (RFC 7516), which nobody decrypts here.
            raise InvalidTokenError(JwtStatus.BAD_FORMAT, "it does not have three parts with a dot between each two")
        header = _object(parts[0], "header", JwtStatus.HEADER_BAD_BASE64, JwtStatus.HEADER_BAD_JSON)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str):
            raise InvalidTokenError(JwtStatus.HEADER_BAD_ALG, "its header has no `alg`, or one that is no string")
        if algorithm not in _ALGORITHMS:
            raise InvalidTokenError(JwtStatus.HEADER_UNKNOWN_ALG, f"its `alg` is {excerpt(algorithm)}")
        if "crit" in header:
            raise InvalidTokenError(JwtStatus.CRITICAL_EXTENSION, "its header demands extensions by `crit`")
        key_id = _text(header, "kid", JwtStatus.HEADER_BAD_KID)
        claims = _object(parts[1], "payload", JwtStatus.PAYLOAD_BAD_BASE64, JwtStatus.PAYLOAD_BAD_JSON)
        issuer = _text(claims, "iss", JwtStatus.ISS_NOT_STRING)
        _text(claims, "sub", JwtStatus.SUB_NOT_STRING)
        _seconds(claims, "iat", JwtStatus.IAT_NOT_INTEGER, JwtStatus.IAT_OUT_OF_RANGE)
        not_before = _seconds(claims, "nbf", JwtStatus.NBF_NOT_INTEGER, JwtStatus.NBF_OUT_OF_RANGE)
        expires = _seconds(claims, "exp", JwtStatus.EXP_NOT_INTEGER, JwtStatus.EXP_OUT_OF_RANGE)
        _text(claims, "jti", JwtStatus.JTI_NOT_STRING)
        audiences = _audiences(claims)
        signature = _decoded(parts[2], "signature", JwtStatus.SIGNATURE_BAD_BASE64)
        return cls(
            algorithm=algorithm,
            key_id=key_id,
            claims=claims,
            issuer=issuer,
            audiences=audiences,
            not_before=not_before,
            expires=expires,
            payload=parts[1],
            # Header and payload are ASCII, or they would not have been decoded.
            signed=f"{parts[0]}.{parts[1]}".encode("ascii"),
            signature=signature,
        )


def _decoded(part: str, name: str, status: JwtStatus) -> bytes:
    try:
        return decode(part)
    except ValueError as error:
        raise InvalidTokenError(status, f"its {name} has {error}") from error


def _object(part: str, name: str, bad_base64: JwtStatus, bad_json: JwtStatus) -> dict[str, object]:
    text = _decoded(part, name, bad_base64)
    try:
        return _plain_object(text) or parse_object(text)
    except ValueError as error:
        # The message of the JSON parser says where and never what; a name in it would be the stranger's text.
        raise InvalidTokenError(bad_json, f"its {name} is no JSON object that can be read: {error}") from error


def _plain_object(text: bytes) -> dict[str, object] | None:
    """What `parse_object` makes of JSON as most issuers write it, in a fraction of the time; `None` leaves it to that."""
    try:
        value = orjson.loads(text)
        # What comes out as it went in has no member twice, no white space and nothing that is spelled in two ways.
        plain = isinstance(value, dict) and orjson.dumps(value) == text
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    shallow = text.count(b"[") + text.count(b"{") <= MAX_DEPTH
    return value if plain and shallow and not _UNUSUAL_NUMBER.search(text) else None


def _text(members: Mapping[str, object], name: str, status: JwtStatus) -> str:
    value = members.get(name, "")
    if not isinstance(value, str):
        raise InvalidTokenError(status, f"its `{name}` is no string")
    return value


def _seconds(claims: Mapping[str, object], name: str, no_integer: JwtStatus, out_of_range: JwtStatus) -> int:
    value = claims.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTokenError(no_integer, f"its `{name}` is no number")
    if not 0 <= value < _UINT64:
        raise InvalidTokenError(out_of_range, f"its `{name}` is no time after 1970 in seconds")
    return int(value)


def _audiences(claims: Mapping[str, object]) -> tuple[str, ...]:
    value = claims.get("aud", [])
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str) for each in values):
        raise InvalidTokenError(JwtStatus.AUD_NOT_STRINGS, "its `aud` is neither a string nor a list of strings")
    return tuple(values)
