"""X.509-SVIDs: certificates that prove a SPIFFE ID.

Numbers such as 5.2 are sections of the X509-SVID standard; those of RFC 5280 say so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TypeVar, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, SignatureAlgorithmOID

from identity.bundle import Bundle
from identity.errors import InvalidSpiffeIdError, Step, SvidVerificationError, WeakKeyError
from identity.public_key import require_strong_key
from identity.spiffe_id import SpiffeId

__all__ = ["MAX_CHAIN", "PrivateKey", "X509Svid", "claimed_spiffe_id", "verify_x509_svid"]

T = TypeVar("T", bound=x509.ExtensionType)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

MAX_CHAIN = 4
"""How many certificates a peer may present. Each costs a signature check before anything is known of the peer."""

_SIGNATURES = frozenset(
    {
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
        SignatureAlgorithmOID.ED25519,
        SignatureAlgorithmOID.RSA_WITH_SHA256,
        SignatureAlgorithmOID.RSA_WITH_SHA384,
        SignatureAlgorithmOID.RSA_WITH_SHA512,
    },
)
_MAY_BE_CRITICAL = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    },
)
_MUTUAL_TLS = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH})


@dataclass(frozen=True, slots=True)
class X509Svid:
    """A SPIFFE ID with the certificates that are to prove it, leaf first, without the root.

    Holding one proves nothing: `verify_x509_svid` does. `private_key` is `None` where somebody else keeps it; it is never
    shown, and is the leaf's.
    """

    spiffe_id: SpiffeId
    chain: tuple[x509.Certificate, ...]
    private_key: PrivateKey | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if not self.chain:
            raise ValueError("an X.509-SVID has at least one certificate")
        if self.private_key is not None and self.private_key.public_key() != self.leaf.public_key():
            raise ValueError("the private key is not the leaf's")

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate that names the workload."""
        return self.chain[0]

    def chain_to_pem(self) -> bytes:
        """The certificates, leaf first, one PEM block each."""
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self.chain)

    def private_key_to_unencrypted_pem(self) -> bytes:
        """The private key as PKCS#8, in the clear.

        Raises:
            ValueError: there is none here.
        """
        if self.private_key is None:
            raise ValueError("this X.509-SVID came without its private key")
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def verify_x509_svid(chain: Sequence[x509.Certificate], bundles: Iterable[Bundle], *, at: datetime) -> SpiffeId:
    """Return the SPIFFE ID that `chain`, leaf first, proves at the time `at`.

    That the peer holds the leaf's private key is for TLS to prove. `at` has a time zone.

    Raises:
        SvidVerificationError: it proves none.
        ValueError: `at` has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("`at` needs a time zone")

    # (1) Bounded work: the peer is unknown until the end.
    if not 1 <= len(chain) <= MAX_CHAIN:
        raise SvidVerificationError(Step.CHAIN, f"{len(chain)} certificates, not 1 to {MAX_CHAIN}")

    # (2) to (4) RFC 5280 4.1, 4.2: all that follows reads what was read here, once.
    contents = [_read_presented(certificate, position) for position, certificate in enumerate(chain)]
    spiffe_id = _require_leaf(contents[0])

    # (5) The bundle of the SVID's own trust domain; in a union, every authority could name everybody.
    found = [bundle for bundle in bundles if bundle.trust_domain == spiffe_id.trust_domain]
    if len(found) != 1:
        raise SvidVerificationError(
            Step.BUNDLE,
            f"{len(found) or 'no'} bundles for trust domain `{spiffe_id.trust_domain}`",
        )

    # (6) 5.1, RFC 5280 6.1: the chain leads to an authority of that bundle, by a path on which all is well.
    _require_path(contents, found[0], at)
    return spiffe_id


def claimed_spiffe_id(leaf: x509.Certificate) -> SpiffeId:
    """Return what `leaf` claims, if it is a sound leaf by itself: steps (2) to (4). It proves nothing: no signature is looked at.

    Raises:
        SvidVerificationError: it could not prove anything under any issuer.
    """
    return _require_leaf(_read_presented(leaf, 0))


@dataclass(frozen=True, slots=True)
class _Content:
    """What a certificate says, as far as verification depends on it."""

    certificate: x509.Certificate
    position: int
    has_subject: bool
    not_before: datetime
    not_after: datetime
    uris: tuple[str, ...]
    is_authority: bool
    path_length: int | None
    key_usage: x509.Extension[x509.KeyUsage] | None
    purposes: frozenset[x509.ObjectIdentifier] | None

    def refused(self, step: Step, reason: str) -> SvidVerificationError:
        return SvidVerificationError(step, reason, position=self.position)


def _read_presented(certificate: x509.Certificate, position: int) -> _Content:
    content = _read(certificate, position)
    if certificate.signature_algorithm_oid not in _SIGNATURES:
        raise content.refused(Step.CONTENT, "signature algorithm is none of ECDSA or RSA with SHA-2, nor Ed25519")
    return content


def _read(certificate: x509.Certificate, position: int) -> _Content:
    def refused(reason: str) -> SvidVerificationError:
        return SvidVerificationError(Step.CONTENT, reason, position=position)

    # pyca reads lazily: a certificate that loaded may still turn out malformed at any of these.
    try:
        version = certificate.version
        serial_number = certificate.serial_number
        extensions = {extension.oid: extension for extension in certificate.extensions}
        _require_strong_key(certificate, position)
        names = _value(extensions, x509.SubjectAlternativeName)
        constraints = _value(extensions, x509.BasicConstraints)
        purposes = _value(extensions, x509.ExtendedKeyUsage)
        content = _Content(
            certificate=certificate,
            position=position,
            has_subject=bool(certificate.subject.rdns),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            uris=() if names is None else tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
            is_authority=constraints is not None and constraints.ca,
            path_length=None if constraints is None else constraints.path_length,
            key_usage=_extension(extensions, x509.KeyUsage),
            purposes=None if purposes is None else frozenset(purposes),
        )
    except WeakKeyError as error:
        raise refused(error.reason) from error
    except (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise refused("certificate is malformed") from error

    if version is not x509.Version.v3:
        raise refused("certificate is not of version 3")
    if serial_number <= 0:
        raise refused("serial number is not positive (RFC 5280 4.1.2.2)")
    for extension in extensions.values():
        # RFC 5280 4.2: what is critical and not understood refuses the certificate. Name constraints are understood by
        # nobody here, so that they refuse even where they are not critical: they must never be passed over.
        if extension.oid == ExtensionOID.NAME_CONSTRAINTS:
            raise refused("name constraints are not supported")
        if extension.critical and extension.oid not in _MAY_BE_CRITICAL:
            raise refused(f"critical extension {extension.oid.dotted_string} is not understood")
    return content


# Bundles are ours and stay the same for weeks; what strangers send is never remembered.
@lru_cache(maxsize=64)
def _read_authority(certificate: x509.Certificate, position: int) -> _Content:
    return _read(certificate, position)


def _require_strong_key(certificate: x509.Certificate, position: int) -> None:
    key = certificate.public_key()
    # X509-SVID names no algorithms. Those who sign may do so with Ed25519; what a TLS stack takes from a peer is less.
    if position == 0 or not isinstance(key, ed25519.Ed25519PublicKey):
        require_strong_key(key)


_Extensions = dict[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]]


def _extension(extensions: _Extensions, kind: type[T]) -> x509.Extension[T] | None:
    found = extensions.get(kind.oid)
    # What pyca cannot read as what its id says, it gives as unrecognized; to us it is as if it were not there.
    return cast("x509.Extension[T]", found) if found is not None and isinstance(found.value, kind) else None


def _value(extensions: _Extensions, kind: type[T]) -> T | None:
    extension = _extension(extensions, kind)
    return None if extension is None else extension.value


def _read_spiffe_id(leaf: _Content) -> SpiffeId:
    if len(leaf.uris) != 1:
        raise leaf.refused(Step.SPIFFE_ID, f"{len(leaf.uris) or 'no'} URI names, not one")
    try:
        spiffe_id = SpiffeId.parse(leaf.uris[0])
    except InvalidSpiffeIdError as error:
        raise leaf.refused(Step.SPIFFE_ID, str(error)) from error
    if not spiffe_id.path:
        raise leaf.refused(Step.SPIFFE_ID, "the leaf's SPIFFE ID has no path, as only an authority's has")
    return spiffe_id


def _require_leaf(leaf: _Content) -> SpiffeId:
    # (3) 2, 3.1, 5.2: exactly one URI, a SPIFFE ID, with a path.
    spiffe_id = _read_spiffe_id(leaf)

    # (4) 4.1, 4.3, 4.4, 5.2: a leaf may authenticate, and must not be able to sign certificates.
    if leaf.is_authority:
        raise leaf.refused(Step.LEAF, "leaf is an authority (basic constraints)")
    usage = _require_key_usage(leaf, Step.LEAF)
    if usage.key_cert_sign:
        raise leaf.refused(Step.LEAF, "leaf may sign certificates")
    if usage.crl_sign:
        raise leaf.refused(Step.LEAF, "leaf may sign revocation lists")
    if not usage.digital_signature:
        raise leaf.refused(Step.LEAF, "leaf may not make signatures, so it cannot authenticate")
    if leaf.purposes is not None and not leaf.purposes >= _MUTUAL_TLS:
        raise leaf.refused(Step.LEAF, "extended key usage lacks server or client authentication")
    return spiffe_id


def _require_path(chain: list[_Content], bundle: Bundle, at: datetime) -> None:
    """Find an authority that `chain` leads to by a sound path, shortest first.

    Certificates past the one that an authority issued are not looked at: some send the root as well, and during a
    rotation a cross-signed one. Nothing on the path is ever skipped: each must be issued by the next.
    """
    refusal: SvidVerificationError | None = None
    last = chain[0]
    for position, content in enumerate(chain):
        if position > 0 and not _is_issued_by(last.certificate, content.certificate):
            break
        last = content
        for authority in bundle.x509_authorities:
            if not _is_issued_by(content.certificate, authority):
                continue
            try:
                _require_sound([*chain[: position + 1], _read_authority(authority, position + 1)], at)
            except SvidVerificationError as error:
                # Another authority may have the same key and a later end, or a later certificate another way up.
                refusal = refusal or error
            else:
                return
    raise refusal or last.refused(
        Step.ISSUER,
        f"issued neither by an authority of `{bundle.trust_domain}` nor by the next certificate",
    )


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` has the name and the key that issued `certificate`. (RFC 5280 6.1.3 (a)(1), (a)(4))."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError, UnsupportedAlgorithm):
        return False
    return True


def _require_sound(path: list[_Content], at: datetime) -> None:
    # (7) 3.2, 4.1, 4.3, RFC 5280 6.1.4 (k) to (n): whoever signed was allowed to. The authority's own word counts, too.
    for below, signer in enumerate(path[1:]):
        _require_signing_certificate(signer, below)

    # (8) RFC 5280 6.1.3 (a)(2): all of it is valid now, the authority included.
    for content in path:
        if at < content.not_before:
            raise content.refused(Step.VALIDITY, f"not valid before {content.not_before.isoformat()}")
        if at > content.not_after:
            raise content.refused(Step.VALIDITY, f"expired at {content.not_after.isoformat()}")


def _require_signing_certificate(signer: _Content, below: int) -> None:
    """`below` counts the signing certificates between `signer` and the leaf."""
    if not signer.is_authority:
        raise signer.refused(Step.SIGNING_CERTIFICATE, "issuer is not an authority (basic constraints)")
    if not _require_key_usage(signer, Step.SIGNING_CERTIFICATE).key_cert_sign:
        raise signer.refused(Step.SIGNING_CERTIFICATE, "issuer may not sign certificates (key usage)")
    # RFC 5280 does not count self-issued certificates. We do: it refuses more, and nobody can pad a chain with them.
    if signer.path_length is not None and below > signer.path_length:
        raise signer.refused(
            Step.SIGNING_CERTIFICATE,
            f"{below} signing certificates below, path length allows {signer.path_length}",
        )
    if not signer.has_subject:
        raise signer.refused(Step.SIGNING_CERTIFICATE, "issuer has no subject (RFC 5280 4.1.2.6)")
    if signer.purposes is not None and not _allows_mutual_tls(signer.purposes):
        raise signer.refused(Step.SIGNING_CERTIFICATE, "extended key usage lacks server or client authentication")
    for uri in signer.uris:
        # 3.2: a name with a path is a workload's, and a workload must not sign.
        if uri.startswith("spiffe://") and "/" in uri.removeprefix("spiffe://"):
            raise signer.refused(Step.SIGNING_CERTIFICATE, "issuer's SPIFFE ID has a path")


def _allows_mutual_tls(purposes: frozenset[x509.ObjectIdentifier]) -> bool:
    return purposes >= _MUTUAL_TLS or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in purposes


def _require_key_usage(content: _Content, step: Step) -> x509.KeyUsage:
    if content.key_usage is None:
        raise content.refused(step, "key usage is missing")
    if not content.key_usage.critical:
        raise content.refused(step, "key usage is not critical")
    return content.key_usage.value
