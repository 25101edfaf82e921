"""Sealed keys: one private key, encrypted under a passphrase, as bytes.

Format 1: `meshward key 1` and a newline, one byte log2 of scrypt's N, 16 of salt, 12 of nonce; the PKCS#8 key by AES-256-GCM,
with all that stands before it and the key's name authenticated; SHA-256 of all of that. The sum keeps no secret and stops
nobody: it tells a disk's fault from a wrong passphrase, which the encryption cannot.
"""

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from ca.errors import DamagedKeyError, WrongPassphraseError
from ca.keys.key_type import SigningKey

__all__ = ["COST", "open_sealed", "seal"]

COST = 15
"""log2 of scrypt's N: 32 MiB and some 0.1 s a try."""

# What a file may ask for is bounded on both sides: less was not written by us, more would be 1 GiB and above.
_MIN_COST, _MAX_COST = 15, 19
_MAGIC = b"meshward key 1\n"
_SALT, _NONCE, _TAG, _SUM = 16, 12, 16, 32
_HEADER = len(_MAGIC) + 1 + _SALT + _NONCE


def seal(key: SigningKey, *, name: str, passphrase: bytes, cost: int = COST) -> bytes:
    """`key` in a form that only `passphrase` opens, and only under `name`."""
    header = _MAGIC + bytes([cost]) + os.urandom(_SALT + _NONCE)
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    sealed = header + _cipher(header, passphrase).encrypt(header[-_NONCE:], plain, header + name.encode())
    return sealed + hashlib.sha256(sealed).digest()


def open_sealed(sealed: bytes, *, name: str, passphrase: bytes, place: str) -> SigningKey:
    """The key that was sealed under `name`; `place` is where errors say it stands.

    Raises:
        DamagedKeyError: these are not bytes as `seal` made them.
        WrongPassphraseError: they are, and `passphrase` or `name` is not what they were sealed with.
    """
    if not sealed.startswith(_MAGIC):
        raise DamagedKeyError(place, "it does not begin as a sealed key of format 1")
    if len(sealed) < _HEADER + _TAG + _SUM or hashlib.sha256(sealed[:-_SUM]).digest() != sealed[-_SUM:]:
        raise DamagedKeyError(place, "its checksum does not fit its content")
    header, secret = sealed[:_HEADER], sealed[_HEADER:-_SUM]
    if not _MIN_COST <= header[len(_MAGIC)] <= _MAX_COST:
        raise DamagedKeyError(place, f"its scrypt cost is not 2^{_MIN_COST} to 2^{_MAX_COST}")
    try:
        plain = _cipher(header, passphrase).decrypt(header[-_NONCE:], secret, header + name.encode())
    except InvalidTag:
        raise WrongPassphraseError(place) from None
    key = load_der_private_key(plain, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise DamagedKeyError(place, "it holds a key of a kind that signs nothing here")
    return key


def _cipher(header: bytes, passphrase: bytes) -> AESGCM:
    salt, cost = header[len(_MAGIC) + 1 :][:_SALT], header[len(_MAGIC)]
    return AESGCM(Scrypt(salt=salt, length=32, n=2**cost, r=8, p=1).derive(passphrase))
