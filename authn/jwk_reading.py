"""Reading JWK Sets (RFC 7517), and choosing which of their keys may verify a token."""

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm

from authn.errors import InvalidJwkSetError, excerpt
from authn.jwk import MAX_JWK_SET, MAX_KEYS, Jwk
from identity.base64url import decode
from identity.strict_json import parse_object

__all__ = ["read_keys"]

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

# RFC 7518 3.3 demands 2048 bits or more; Envoy takes keys of 512. Checking costs time that grows with the key's size.
_MIN_RSA_BITS = 2048
_MAX_RSA_BITS = 8192
# As BoringSSL: larger exponents cost time, other small ones nobody uses.
_RSA_EXPONENTS = frozenset({3, 65537})
_ED25519_KEY = 32

_RSA: Mapping[str, Algorithm] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "PS256": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256),
    "PS384": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA384),
    "PS512": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA512),
}
# RFC 7518 3.4: the curve decides on the hash. Envoy would check ES512 with a key on P-256.
_EC: Mapping[str, tuple[ec.EllipticCurve, Mapping[str, Algorithm]]] = {
    "P-256": (ec.SECP256R1(), {"ES256": ECAlgorithm(ECAlgorithm.SHA256)}),
    "P-384": (ec.SECP384R1(), {"ES384": ECAlgorithm(ECAlgorithm.SHA384)}),
    "P-521": (ec.SECP521R1(), {"ES512": ECAlgorithm(ECAlgorithm.SHA512)}),
}
_ED25519: Mapping[str, Algorithm] = {"EdDSA": OKPAlgorithm()}
# RFC 7517 4.2 lets others make up uses. Of those that are known, these are for something else.
_OTHER_USES = frozenset({"enc", "x509-svid"})


class _UnusableKeyError(Exception):
    """A key of a set that no token is verified by; the message says why."""


def read_keys(text: str | bytes) -> tuple[tuple[Jwk, ...], tuple[str, ...]]:
    """The keys of a JWK Set that can be used, at least one, and for each of the others why it cannot.

    Raises:
        InvalidJwkSetError: It is none, or no key of it can be used.
    """
    members = _members(text)
    entries = members.get("keys")
    if not isinstance(entries, list):
        raise InvalidJwkSetError("there is no list of `keys`")
    if len(entries) > MAX_KEYS:
        raise InvalidJwkSetError(f"it has {len(entries)} keys, more than {MAX_KEYS}")
    keys = []
    refused = []
    for index, entry in enumerate(entries):
        try:
            keys.append(_jwk(entry))
        except _UnusableKeyError as error:
            refused.append(f"key {index}{_named(entry)}: {error}")
    if not keys:
        raise InvalidJwkSetError(f"no key can be used: {'; '.join(refused) or 'there is none'}")
    return tuple(keys), tuple(refused)


def _members(text: str | bytes) -> dict[str, object]:
    try:
        data = text.encode() if isinstance(text, str) else text
    except UnicodeEncodeError as error:
        raise InvalidJwkSetError("not UTF-8") from error
    if len(data) > MAX_JWK_SET:
        raise InvalidJwkSetError(f"it has {len(data)} bytes, more than {MAX_JWK_SET}")
    try:
        return parse_object(data)
    except ValueError as error:
        raise InvalidJwkSetError(f"it is no JSON object that can be read: {error}") from error


def _named(entry: object) -> str:
    key_id = entry.get("kid") if isinstance(entry, dict) else None
    return f" ({excerpt(key_id)})" if isinstance(key_id, str) and key_id else ""


def _jwk(entry: object) -> Jwk:
    if not isinstance(entry, dict):
        raise _UnusableKeyError("not an object")
    kind = _text(entry, "kty")
    _require_for_verifying(entry)
    declared = entry.get("alg", "")
    if not isinstance(declared, str):
        raise _UnusableKeyError("its `alg` is no string")
    algorithms, key = _public_key(kind, entry)
    if declared:
        if declared not in algorithms:
            raise _UnusableKeyError(f"its `alg` {excerpt(declared)} is none of {', '.join(algorithms)}")
        algorithms = {declared: algorithms[declared]}
    key_id = entry.get("kid")
    # As Envoy: an id that is no string is none.
    return Jwk(key_id if isinstance(key_id, str) else "", declared, algorithms, key)


def _require_for_verifying(entry: Mapping[str, object]) -> None:
    use = entry.get("use")
    if isinstance(use, str) and use in _OTHER_USES:
        raise _UnusableKeyError(f"its `use` is {excerpt(use)}")
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise _UnusableKeyError("its `key_ops` are without `verify`")


def _public_key(kind: str, entry: Mapping[str, object]) -> tuple[Mapping[str, Algorithm], PublicKey]:
    match kind:
        case "RSA":
            return _RSA, _rsa(_number(entry, "n"), _number(entry, "e"))
        case "EC":
            curve = _text(entry, "crv")
            if curve not in _EC:
                raise _UnusableKeyError(f"its curve {excerpt(curve)} is none of {', '.join(_EC)}")
            of_curve, algorithms = _EC[curve]
            try:
                return algorithms, ec.EllipticCurvePublicNumbers(
                    _number(entry, "x"), _number(entry, "y"), of_curve
                ).public_key()
            except ValueError as error:
                raise _UnusableKeyError(f"it is no point on {curve}") from error
        case "OKP":
            curve = _text(entry, "crv")
            if curve != "Ed25519":
                raise _UnusableKeyError(f"its curve {excerpt(curve)} is not Ed25519")
            return _ED25519, _ed25519(_bytes(entry, "x"))
        case "oct":
            # Who can check such a token can make one, and a public key is easily taken for a secret (CVE-2015-9235).
            raise _UnusableKeyError("it is symmetric")
        case _:
            raise _UnusableKeyError(f"its kind {excerpt(kind)} is unknown")


def _rsa(modulus: int, exponent: int) -> rsa.RSAPublicKey:
    bits = modulus.bit_length()
    if not _MIN_RSA_BITS <= bits <= _MAX_RSA_BITS:
        raise _UnusableKeyError(f"it has {bits} bits, not {_MIN_RSA_BITS} to {_MAX_RSA_BITS}")
    if exponent not in _RSA_EXPONENTS:
        raise _UnusableKeyError("its exponent is neither 3 nor 65537")
    if modulus % 2 == 0:
        raise _UnusableKeyError("its modulus is even")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _ed25519(raw: bytes) -> ed25519.Ed25519PublicKey:
    if len(raw) != _ED25519_KEY:
        raise _UnusableKeyError(f"it has {len(raw)} bytes, not {_ED25519_KEY}")
    return ed25519.Ed25519PublicKey.from_public_bytes(raw)


def _text(entry: Mapping[str, object], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value:
        raise _UnusableKeyError(f"it has no `{name}`")
    return value


def _bytes(entry: Mapping[str, object], name: str) -> bytes:
    try:
        return decode(_text(entry, name))
    except ValueError as error:
        raise _UnusableKeyError(f"its `{name}` has {error}") from error


def _number(entry: Mapping[str, object], name: str) -> int:
    return int.from_bytes(_bytes(entry, name), "big")
