"""The shape of a JWK Set that is written into a policy (semantics R4 and R5). Using the keys is another's work."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import orjson

from parser.diagnostics import quoted

__all__ = ["KeySetError", "KeySetShape", "check_key_set"]

# RFC 7518 6.2 to 6.4, RFC 8037 2: what a key of each type has, all of it base64url but the name of the curve.
_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "RSA": ("n", "e"),
    "EC": ("crv", "x", "y"),
    "OKP": ("crv", "x"),
    "oct": ("k",),
}
_SECRET = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")


class KeySetError(ValueError):
    """Text that is no JWK Set; the message says what is wrong with it."""


class KeySetShape(NamedTuple):
    """How many keys a set has, and which of them, by index, hold what only an issuer should have."""

    keys: int
    secret: tuple[int, ...]


def check_key_set(text: str) -> KeySetShape:
    """What there is to say about a JWK Set, from its JSON.

    Raises:
        KeySetError: It is none.
    """
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise KeySetError(f"not JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise KeySetError("not a JSON object with a list of `keys`")
    keys = document["keys"]
    for index, key in enumerate(keys):
        _check_key(index, key)
    secret = tuple(index for index, key in enumerate(keys) if not _SECRET.isdisjoint(key))
    return KeySetShape(keys=len(keys), secret=secret)


def _check_key(index: int, key: object) -> None:
    if not isinstance(key, dict):
        raise KeySetError(f"no key set: its key {index} is not a JSON object")
    kind = key.get("kty")
    if not isinstance(kind, str):
        raise KeySetError(f"no key set: its key {index} has no `kty`")
    if kind not in _MEMBERS:
        raise KeySetError(f"no key set: its key {index} is of the unknown type {quoted(kind)}")
    for member in _MEMBERS[kind]:
        value = key.get(member)
        if not isinstance(value, str) or not value:
            raise KeySetError(f"no key set: its key {index} has no `{member}`")
        if member != "crv" and not _BASE64URL.fullmatch(value):
            raise KeySetError(f"no key set: `{member}` of its key {index} is not base64url")
