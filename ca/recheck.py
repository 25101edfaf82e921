"""Rechecking: reading again what was signed, before it leaves the house.

A signature is for good. Nothing that made the certificate is trusted here: not what encoded it, not the signer, which may be
a device, and not the profile, whose leaves have to stand up to the verification that every peer will put them to.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from ca.by_identity import ByIdentity
from ca.der import key_to_der, length_at, name_to_der, value_to_der
from ca.errors import RecheckError
from ca.frames import Frame, Frames
from ca.keys.key_type import VerificationKey, require_verification_key
from ca.profile import Profile
from ca.signature import SignatureAlgorithm, algorithm_of, require_signature
from identity import SpiffeId, SvidVerificationError, WeakKeyError, claimed_spiffe_id, require_strong_key

__all__ = ["recheck", "recheck_leaf"]

# RFC 5280 4.1.2.2 allows 20 octets; ours are 159 random bits, of which a run of 95 zeros will not come up.
MIN_SERIAL = 2**63
MAX_SERIAL = 2**159 - 1

_FIELDS = 8

# pyca reads lazily: a certificate that loaded may still turn out malformed at any of its fields.
_UNREADABLE = (
    IndexError,
    TypeError,
    ValueError,
    UnsupportedAlgorithm,
    WeakKeyError,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def recheck(der: bytes, profile: Profile, *, issuer: x509.Certificate | None = None) -> x509.Certificate:
    """Return the certificate in `der` if it says what `profile` does and `issuer`, or else itself, signed it.

    Raises:
        RecheckError: it does not.
    """
    certificate, _ = _read_again(der, profile, issuer)
    try:
        certificate.verify_directly_issued_by(issuer or certificate)
    except (InvalidSignature, TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise RecheckError("signature does not verify") from error
    return certificate


def recheck_leaf(  # noqa: PLR0913  # all that a leaf must be
    der: bytes,
    profile: Profile,
    *,
    spiffe_id: SpiffeId,
    serial_number: int,
    issuer: x509.Certificate,
    at: datetime,
) -> x509.Certificate:
    """Return the leaf in `der` if it is as profiled, has `serial_number` and proves `spiffe_id` to whoever trusts `issuer`.

    Raises:
        RecheckError: it does not.
    """
    frame = _PROVED.get(profile, issuer)
    proved: SpiffeId | None
    if frame is None:
        leaf, tbs = _read_again(der, profile, issuer)
        proved = _claimed(leaf)
    else:
        leaf, tbs = _as_proved(der, profile, issuer, frame)
        proved = frame.proves
    # What is above the issuer is the same for all of its leaves, and is the authority's to prove, once. The issuer's key is read
    # once as well: reading it takes half as long as the check itself.
    try:
        require_signature(_read_issuer(issuer).public_key, leaf.signature, tbs)
    except InvalidSignature as error:
        raise RecheckError("signature does not verify") from error
    if not profile.not_before <= at <= profile.not_after:
        raise RecheckError(f"it is not valid at {at.isoformat()}")
    if leaf.serial_number != serial_number:
        raise RecheckError("serial number is not the one that was written down")
    if proved != spiffe_id:
        raise RecheckError(f"it proves {str(proved)!r}")
    if frame is None:
        _PROVED.put(profile, issuer, _fields(tbs)[-1], proves=proved)
    return leaf


# Of leaves of one name and issuer the extensions are read once: after that, the same bytes around another key's identifier prove the
# same name. Everything else is compared for each.
_PROVED: Frames[x509.Certificate] = Frames()


def _claimed(leaf: x509.Certificate) -> SpiffeId:
    try:
        return claimed_spiffe_id(leaf)
    except SvidVerificationError as error:
        raise RecheckError(str(error)) from error


# Both give what was signed as well: pyca writes it anew each time that it is asked.
_Read = tuple[x509.Certificate, bytes]


def _as_proved(der: bytes, profile: Profile, issuer: x509.Certificate, frame: Frame) -> _Read:
    try:
        certificate = x509.load_der_x509_certificate(der)
        require_strong_key(profile.public_key)
        tbs = certificate.tbs_certificate_bytes
        extensions = _require_fields(certificate, tbs, profile, _read_issuer(issuer))
    except _UNREADABLE as error:
        raise RecheckError("certificate cannot be read again") from error
    if extensions != frame.filled(profile.subject_key):
        raise RecheckError("set of extensions is not as profiled")
    return certificate, tbs


def _read_again(der: bytes, profile: Profile, issuer: x509.Certificate | None) -> _Read:
    try:
        certificate = x509.load_der_x509_certificate(der)
        read = _read_issuer(issuer or certificate)
        tbs = certificate.tbs_certificate_bytes
        _require_fields(certificate, tbs, profile, read)
        if _written(certificate.extensions) != _meant(profile.extensions(read.key)):
            raise RecheckError("set of extensions is not as profiled")
    except _UNREADABLE as error:
        raise RecheckError("certificate cannot be read again") from error
    return certificate, tbs


@dataclass(frozen=True, slots=True)
class _Issuer:
    public_key: VerificationKey
    name: bytes
    key: x509.SubjectKeyIdentifier
    algorithm: SignatureAlgorithm


def _issuer(certificate: x509.Certificate) -> _Issuer:
    public_key = require_verification_key(certificate.public_key())
    subject_key = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return _Issuer(public_key, name_to_der(certificate.subject), subject_key, algorithm_of(public_key))


# What every certificate of an issuer has in common.
_read_issuer = ByIdentity(_issuer, most=16)


def _require_fields(certificate: x509.Certificate, tbs: bytes, profile: Profile, issuer: _Issuer) -> bytes:
    """See that all but the extensions is as profiled, and return those in DER."""
    _, _, algorithm, name, _, subject, public_key, extensions = _fields(tbs)
    for what, found, meant in (
        ("version", certificate.version, x509.Version.v3),
        ("signature algorithm", certificate.signature_algorithm_oid, issuer.algorithm.oid),
        ("signature algorithm", algorithm, issuer.algorithm.identifier),
        ("issuer", name, issuer.name),
        ("start of validity", certificate.not_valid_before_utc, profile.not_before),
        ("end of validity", certificate.not_valid_after_utc, profile.not_after),
        ("subject", subject, name_to_der(profile.subject)),
        ("public key", public_key, key_to_der(profile.public_key)),
    ):
        if found != meant:
            raise RecheckError(f"{what} is not as profiled")
    if not MIN_SERIAL <= certificate.serial_number <= MAX_SERIAL:
        raise RecheckError("serial number is out of bounds")
    return extensions


def _fields(tbs: bytes) -> list[bytes]:
    """The fields of what was signed, each in DER with its tag: pyca has read them, and gives some only as objects of its own.

    Raises:
        ValueError: there are not eight of them.
    """
    _, start = length_at(tbs, 0)
    found = []
    while start < len(tbs):
        length, content = length_at(tbs, start)
        found.append(tbs[start : content + length])
        start = content + length
    if len(found) != _FIELDS:
        raise ValueError("not the fields of a certificate of version 3")
    return found


_Written = list[tuple[x509.ObjectIdentifier, bool, bytes]]


def _written(extensions: Iterable[x509.Extension[x509.ExtensionType]]) -> _Written:
    # What was read, encoded again: it takes half as long to compare as what it was read into.
    return [(each.oid, each.critical, each.value.public_bytes()) for each in extensions]


def _meant(extensions: Iterable[x509.Extension[x509.ExtensionType]]) -> _Written:
    return [(each.oid, each.critical, value_to_der(each.value)) for each in extensions]
