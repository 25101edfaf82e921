"""Certificate signing requests from strangers: of all that one may say, a public key and at most one name are taken.

pyca reads almost anything and checks little of it (spec 2.8), so each step here is one that it leaves out. Nothing of a
request is ever copied into a certificate.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, ExtensionOID, NameOID, SignatureAlgorithmOID

from ca.errors import CsrError, CsrFault
from identity import InvalidSpiffeIdError, PublicKey, SpiffeId, WeakKeyError, require_strong_key

__all__ = ["MAX_CSR", "RequestedKey", "read_csr"]

MAX_CSR = 64 * 1024
"""The longest request that is looked at, in bytes. One with an RSA key of 4096 bits and a long name has 3 KiB."""

# One block and nothing around it: whoever reads the second of two, or the text in between, reads another request.
_ONE_BLOCK = re.compile(
    rb"\s*-----BEGIN CERTIFICATE REQUEST-----\r?\n(?:[A-Za-z0-9+/=]+\r?\n)+-----END CERTIFICATE REQUEST-----\s*"
)
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_UNREADABLE = (
    TypeError,
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class RequestedKey:
    """A key that somebody has shown to hold, and the name that they ask for; `None` if they leave that to the authority."""

    public_key: PublicKey
    spiffe_id: SpiffeId | None


def read_csr(pem: bytes) -> RequestedKey:
    """Read a request in PEM (RFC 2986, RFC 7468) and check that its sender holds the key.

    A request may ask for one URI name, and for what every X.509-SVID of its key has anyway: no authority, digital signatures,
    key encipherment with RSA, both sides of TLS. What asks for more is refused, not corrected: its sender means something else
    than they would get.

    Raises:
        CsrError: it is refused, by the first fault in the order of `CsrFault`.
    """
    # (1) Bounded work.
    if not pem.strip():
        raise CsrError(CsrFault.MISSING, "it is empty")
    if len(pem) > MAX_CSR:
        raise CsrError(CsrFault.TOO_LONG, f"it has {len(pem)} bytes, more than {MAX_CSR}")
    # (2) RFC 7468 2: one block.
    if not _ONE_BLOCK.fullmatch(pem):
        raise CsrError(CsrFault.MALFORMED, "it is not one PEM block of a CERTIFICATE REQUEST and nothing else")
    try:
        csr = x509.load_pem_x509_csr(pem)
        key = csr.public_key()
        algorithm = csr.signature_hash_algorithm
    except _UNREADABLE as error:
        raise CsrError(
            CsrFault.MALFORMED, "what is in it is no PKCS #10 request, or of an unknown algorithm"
        ) from error
    # (3) The key, before anything is computed with it.
    try:
        public_key = require_strong_key(key)
    except WeakKeyError as error:
        raise CsrError(CsrFault.KEY, error.reason) from error
    # (4) Proof of possession. An invalid signature does not raise here.
    if not isinstance(algorithm, _HASHES):
        raise CsrError(CsrFault.SIGNATURE, "it is not signed with SHA-256, SHA-384 or SHA-512")
    try:
        signed = _is_by(csr, public_key)
    except (*_UNREADABLE, InvalidSignature) as error:
        raise CsrError(CsrFault.SIGNATURE, "its signature cannot be checked") from error
    if not signed:
        raise CsrError(CsrFault.SIGNATURE, "its signature is not by the key in it")
    # (5) What it asks for.
    try:
        return RequestedKey(public_key, _asked(csr))
    except _UNREADABLE as error:
        raise CsrError(CsrFault.MALFORMED, "its extensions cannot be read") from error


def _is_by(csr: x509.CertificateSigningRequest, key: PublicKey) -> bool:
    algorithm = _ECDSA.get(csr.signature_algorithm_oid)
    if algorithm is None or not isinstance(key, ec.EllipticCurvePublicKey):
        return csr.is_signature_valid
    # The same with the key that has been read: pyca would read it again, which takes as long as the check.
    try:
        key.verify(csr.signature, csr.tbs_certrequest_bytes, algorithm)
    except InvalidSignature:
        return False
    return True


_ECDSA: Mapping[x509.ObjectIdentifier, ec.ECDSA] = {
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: ec.ECDSA(hashes.SHA256()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: ec.ECDSA(hashes.SHA384()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: ec.ECDSA(hashes.SHA512()),
}


def _asked(csr: x509.CertificateSigningRequest) -> SpiffeId | None:
    _require_no_subject(csr.subject)
    for attribute in csr.attributes:
        if attribute.oid != _EXTENSION_REQUEST:
            what = "a challenge password" if attribute.oid == AttributeOID.CHALLENGE_PASSWORD else "an attribute"
            raise CsrError(CsrFault.ASKS_FOR_MORE, f"it has {what} ({attribute.oid.dotted_string})")
    spiffe_id = None
    for extension in csr.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            spiffe_id = _name(extension.value)
        elif extension.oid not in _AS_EVERY_LEAF or not _AS_EVERY_LEAF[extension.oid](extension.value):
            raise CsrError(CsrFault.ASKS_FOR_MORE, f"it asks for {_described(extension)}")
    return spiffe_id


_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")


def _require_no_subject(subject: x509.Name) -> None:
    # Istio's agent writes an organisation, and leaves it empty.
    for attribute in subject:
        if attribute.oid != NameOID.ORGANIZATION_NAME or attribute.value:
            raise CsrError(CsrFault.ASKS_FOR_MORE, "it has a subject, and certificates of workloads have none")


def _name(names: x509.SubjectAlternativeName) -> SpiffeId:
    # All of them are counted: an address beside the URI is a name, too.
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(names) != 1 or len(uris) != 1:
        raise CsrError(
            CsrFault.ASKS_FOR_MORE, f"it asks for {len(names)} names, {len(uris)} of them URIs, not for one URI"
        )
    try:
        spiffe_id = SpiffeId.parse(uris[0])
    except InvalidSpiffeIdError as error:
        raise CsrError(CsrFault.NAME, str(error)) from error
    if not spiffe_id.path:
        raise CsrError(CsrFault.NAME, f"{str(spiffe_id)!r} is the name of an authority")
    return spiffe_id


def _is_no_authority(value: x509.ExtensionType) -> bool:
    return isinstance(value, x509.BasicConstraints) and not value.ca


def _is_usage_of_leaf(value: x509.ExtensionType) -> bool:
    return isinstance(value, x509.KeyUsage) and not (
        value.content_commitment
        or value.data_encipherment
        or value.key_agreement
        or value.key_cert_sign
        or value.crl_sign
    )


def _is_mutual_tls(value: x509.ExtensionType) -> bool:
    return isinstance(value, x509.ExtendedKeyUsage) and set(value) <= {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }


_AS_EVERY_LEAF: Mapping[x509.ObjectIdentifier, Callable[[x509.ExtensionType], bool]] = {
    ExtensionOID.BASIC_CONSTRAINTS: _is_no_authority,
    ExtensionOID.KEY_USAGE: _is_usage_of_leaf,
    ExtensionOID.EXTENDED_KEY_USAGE: _is_mutual_tls,
}


def _described(extension: x509.Extension[x509.ExtensionType]) -> str:
    match extension.value:
        case x509.BasicConstraints():
            return "a certificate that can sign others"
        case x509.KeyUsage():
            return "a key usage that no workload has"
        case x509.ExtendedKeyUsage():
            return "an extended key usage beside server and client authentication"
        case _:
            return f"an extension ({extension.oid.dotted_string}) that no workload has"
