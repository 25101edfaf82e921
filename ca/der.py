"""DER of a certificate (RFC 5280 4.1), put together from its parts.

pyca's builder takes longer over this than over the signature, because it makes every part anew. Here a part is encoded by pyca once
and kept, as far as it is the same from one certificate to the next. Nothing here is trusted: what comes out is read again by pyca.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from hashlib import sha1

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca.by_identity import ByIdentity
from ca.keys.key_type import VerificationKey

__all__ = [
    "certificate_to_der",
    "extensions_to_der",
    "key_identifier",
    "key_to_der",
    "length_at",
    "name_to_der",
    "tbs_to_der",
    "value_to_der",
]

_SEQUENCE, _INTEGER, _BIT_STRING, _OCTET_STRING = 0x30, 0x02, 0x03, 0x04
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION_3 = bytes.fromhex("a003020102")
_EXTENSIONS = 0xA3
_CRITICAL = bytes.fromhex("0101ff")


def tbs_to_der(  # noqa: PLR0913  # the fields of a TBSCertificate
    *,
    serial_number: int,
    algorithm: bytes,
    issuer: x509.Name,
    not_before: datetime,
    not_after: datetime,
    subject: x509.Name,
    public_key: VerificationKey,
    extensions: bytes,
) -> bytes:
    """What is signed of a certificate. `algorithm` and `extensions` are in DER already."""
    return _encoded(
        _SEQUENCE,
        b"".join(
            (
                _VERSION_3,
                # One more bit than the number has: DER's integers are signed.
                _encoded(_INTEGER, serial_number.to_bytes(serial_number.bit_length() // 8 + 1)),
                algorithm,
                name_to_der(issuer),
                _encoded(_SEQUENCE, _time(not_before) + _time(not_after)),
                name_to_der(subject),
                key_to_der(public_key),
                extensions,
            )
        ),
    )


def extensions_to_der(extensions: Iterable[x509.Extension[x509.ExtensionType]]) -> bytes:
    """The last field of what is signed."""
    return _encoded(_EXTENSIONS, _encoded(_SEQUENCE, b"".join(map(_extension, extensions))))


def certificate_to_der(tbs: bytes, algorithm: bytes, signature: bytes) -> bytes:
    """A certificate of what was signed and its signature."""
    return _encoded(_SEQUENCE, tbs + algorithm + _encoded(_BIT_STRING, b"\0" + signature))


def _encoded(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:  # one octet of length
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size) + content


def _time(at: datetime) -> bytes:
    # By hand: `strftime` takes as long as a signature. RFC 5280 4.1.2.5: two digits of the year until 2049.
    rest = f"{at.month:02}{at.day:02}{at.hour:02}{at.minute:02}{at.second:02}Z"
    if at.year < 2050:
        return _encoded(_UTC_TIME, f"{at.year % 100:02}{rest}".encode())
    return _encoded(_GENERALIZED_TIME, f"{at.year:04}{rest}".encode())


def _name_to_der(name: x509.Name) -> bytes:
    return name.public_bytes()


name_to_der = ByIdentity(_name_to_der)
"""A distinguished name."""


def _key_to_der(key: VerificationKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# One key is written several times on its way into a certificate.
key_to_der = ByIdentity(_key_to_der)
"""A SubjectPublicKeyInfo."""


def key_identifier(key: VerificationKey) -> x509.SubjectKeyIdentifier:
    """RFC 5280 4.2.1.2 (1): the SHA-1 of the key's bits, without the tag, the length and the count of unused bits."""
    der = key_to_der(key)
    # Within the outer sequence: the algorithm, then the bits.
    _, start = length_at(der, 0)
    length, content = length_at(der, start)
    _, bits = length_at(der, content + length)
    return x509.SubjectKeyIdentifier(sha1(der[bits + 1 :], usedforsecurity=False).digest())


def length_at(der: bytes, start: int) -> tuple[int, int]:
    """How long the content of the value at `start` is, and where it begins."""
    first = der[start + 1]
    if first < 0x80:
        return first, start + 2
    end = start + 2 + (first & 0x7F)
    return int.from_bytes(der[start + 2 : end]), end


def _extension(extension: x509.Extension[x509.ExtensionType]) -> bytes:
    critical = _CRITICAL if extension.critical else b""
    content = _encoded(_OCTET_STRING, value_to_der(extension.value))
    return _encoded(_SEQUENCE, _oid(extension.oid) + critical + content)


_OF_FEW_VALUES = frozenset(
    {x509.AuthorityKeyIdentifier, x509.BasicConstraints, x509.ExtendedKeyUsage, x509.KeyUsage},
)


def value_to_der(value: x509.ExtensionType) -> bytes:
    """What is in an extension."""
    return _few_to_der(value) if type(value) in _OF_FEW_VALUES else value.public_bytes()


def _value_to_der(value: x509.ExtensionType) -> bytes:
    return value.public_bytes()


_few_to_der = ByIdentity(_value_to_der)


@lru_cache(maxsize=64)
def _oid(oid: x509.ObjectIdentifier) -> bytes:
    first, second, *rest = map(int, oid.dotted_string.split("."))
    octets = b"".join(map(_base_128, (40 * first + second, *rest)))
    return _encoded(0x06, octets)


def _base_128(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(0x80 | number & 0x7F)
    return bytes(reversed(digits))
