"""Rechecking: reading again what was signed, before it leaves the house.

A signature is for good. Nothing that made the certificate is trusted here: not the builder, not the signer, which may be
a device, and not the profile, whose leaves have to stand up to the verification that every peer will put them to.
"""

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import SignatureAlgorithmOID

from ca.errors import RecheckError
from ca.profile import Profile
from identity import Bundle, SpiffeId, SvidVerificationError, verify_x509_svid

__all__ = ["recheck", "recheck_leaf"]

# RFC 5280 4.1.2.2 allows 20 octets; ours are 159 random bits, of which a run of 95 zeros will not come up.
MIN_SERIAL = 2**63
MAX_SERIAL = 2**159 - 1

_SIGNATURES = frozenset({SignatureAlgorithmOID.ECDSA_WITH_SHA256, SignatureAlgorithmOID.RSA_WITH_SHA256})


def recheck(der: bytes, profile: Profile, *, issuer: x509.Certificate | None = None) -> x509.Certificate:
    """Return the certificate in `der` if it says what `profile` does and `issuer`, or else itself, signed it.

    Raises:
        RecheckError: it does not.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        _require_as_profiled(certificate, profile, issuer or certificate)
        certificate.verify_directly_issued_by(issuer or certificate)
    except InvalidSignature as error:
        raise RecheckError("signature does not verify") from error
    except (
        TypeError,
        ValueError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.ExtensionNotFound,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise RecheckError("certificate cannot be read again") from error
    return certificate


def recheck_leaf(  # noqa: PLR0913  # what was signed, what was meant, and all that a peer will verify it with
    der: bytes,
    profile: Profile,
    *,
    spiffe_id: SpiffeId,
    issuer: x509.Certificate,
    bundle: Bundle,
    at: datetime,
) -> x509.Certificate:
    """Return the leaf in `der` if it is as profiled and proves `spiffe_id` to whoever holds `bundle`.

    Raises:
        RecheckError: it does not.
    """
    leaf = recheck(der, profile, issuer=issuer)
    try:
        proved = verify_x509_svid((leaf, issuer), [bundle], at=at)
    except SvidVerificationError as error:
        raise RecheckError(str(error)) from error
    if proved != spiffe_id:
        raise RecheckError(f"it proves {str(proved)!r}")
    return leaf


def _require_as_profiled(certificate: x509.Certificate, profile: Profile, issuer: x509.Certificate) -> None:
    issuer_key = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    for what, found, meant in (
        ("version", certificate.version, x509.Version.v3),
        ("subject", certificate.subject, profile.subject),
        ("issuer", certificate.issuer, issuer.subject),
        ("start of validity", certificate.not_valid_before_utc, profile.not_before),
        ("end of validity", certificate.not_valid_after_utc, profile.not_after),
        ("public key", certificate.public_key(), profile.public_key),
        ("set of extensions", tuple(certificate.extensions), profile.extensions(issuer_key)),
    ):
        if found != meant:
            raise RecheckError(f"{what} is not as profiled")
    if not MIN_SERIAL <= certificate.serial_number <= MAX_SERIAL:
        raise RecheckError("serial number is out of bounds")
    if certificate.signature_algorithm_oid not in _SIGNATURES:
        raise RecheckError("signature algorithm is neither ECDSA nor RSA with SHA-256")
