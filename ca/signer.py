"""Signer: a signing certificate with its private key."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ca.profile import Profile, intermediate_profile, root_profile
from ca.recheck import recheck
from identity import PrivateKey, TrustDomain

__all__ = ["Signer"]


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs what a profile says. The key may live elsewhere: a subclass of pyca's key classes that can `sign` is enough.

    The key is never shown.
    """

    certificate: x509.Certificate
    private_key: PrivateKey = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.private_key.public_key() != self.certificate.public_key():
            raise ValueError("the private key is not the certificate's")
        try:
            self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound as error:
            raise ValueError("the signing certificate has no subject key identifier") from error

    @classmethod
    def new_root(cls, trust_domain: TrustDomain, *, at: datetime, lifetime: timedelta) -> Self:
        """A root with a new P-256 key.

        Raises:
            AuthorityError: there is none to be had, or what was signed is not what was meant.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        profile = root_profile(trust_domain, key.public_key(), at=at, lifetime=lifetime)
        der = _sign(profile, key, issuer=profile.subject, issuer_key=profile.subject_key)
        return cls(recheck(der, profile), key)

    def new_intermediate(self, trust_domain: TrustDomain, *, at: datetime, lifetime: timedelta) -> "Signer":
        """A signing certificate with a new P-256 key below this one, which is a root.

        Raises:
            AuthorityError: there is none to be had, or what was signed is not what was meant.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        profile = intermediate_profile(
            trust_domain,
            key.public_key(),
            at=at,
            lifetime=lifetime,
            root=self.certificate,
        )
        return Signer(recheck(self.sign(profile), profile, issuer=self.certificate), key)

    def sign(self, profile: Profile) -> bytes:
        """The certificate in DER. Nobody has looked at it yet: `ca.recheck` does, before it leaves the house."""
        return _sign(
            profile,
            self.private_key,
            issuer=self.certificate.subject,
            issuer_key=self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value,
        )


def _sign(
    profile: Profile,
    private_key: PrivateKey,
    *,
    issuer: x509.Name,
    issuer_key: x509.SubjectKeyIdentifier,
) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(profile.subject)
        .issuer_name(issuer)
        .not_valid_before(profile.not_before)
        .not_valid_after(profile.not_after)
        .public_key(profile.public_key)
        .serial_number(x509.random_serial_number())
    )
    for extension in profile.extensions(issuer_key):
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(private_key, hashes.SHA256()).public_bytes(Encoding.DER)
