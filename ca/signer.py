"""Signer: a signing certificate with its private key."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509

from ca.der import certificate_to_der, extensions_to_der, tbs_to_der
from ca.frames import Frames
from ca.keys import KeyType, SigningKey
from ca.keys.key_type import generate
from ca.profile import Profile, intermediate_profile, root_profile
from ca.recheck import recheck
from ca.signature import algorithm_of, sign
from identity import TrustDomain

__all__ = ["Signer"]


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs what a profile says. The key may live elsewhere: a subclass of pyca's key classes that can `sign` is enough.

    The key is never shown.
    """

    certificate: x509.Certificate
    private_key: SigningKey = field(repr=False, compare=False)
    _algorithm: bytes = field(init=False, repr=False, compare=False)
    _name: x509.Name = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        public_key = self.private_key.public_key()
        if public_key != self.certificate.public_key():
            raise ValueError("the private key is not the certificate's")
        # Read once: asking a key or a certificate takes as long as a tenth of a signature.
        object.__setattr__(self, "_algorithm", algorithm_of(public_key).identifier)
        object.__setattr__(self, "_name", self.certificate.subject)
        try:
            self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound as error:
            raise ValueError("the signing certificate has no subject key identifier") from error

    @classmethod
    def new_root(cls, trust_domain: TrustDomain, *, at: datetime, lifetime: timedelta) -> Self:
        """A root with a new P-256 key in memory.

        Raises:
            AuthorityError: there is none to be had, or what was signed is not what was meant.
        """
        return cls.root(trust_domain, generate(KeyType.P256), at=at, lifetime=lifetime)

    @classmethod
    def root(cls, trust_domain: TrustDomain, key: SigningKey, *, at: datetime, lifetime: timedelta) -> Self:
        """A root of `key`.

        Raises:
            AuthorityError: there is none to be had, or what was signed is not what was meant.
        """
        profile = root_profile(trust_domain, key.public_key(), at=at, lifetime=lifetime)
        extensions = extensions_to_der(profile.extensions(profile.subject_key))
        algorithm = algorithm_of(key.public_key()).identifier
        der = _sign(profile, key, extensions, algorithm=algorithm, issuer=profile.subject)
        return cls(recheck(der, profile), key)

    def new_intermediate(self, trust_domain: TrustDomain, *, at: datetime, lifetime: timedelta) -> "Signer":
        """A signing certificate with a new P-256 key in memory, below this one, which is a root.

        Raises:
            AuthorityError: there is none to be had, or what was signed is not what was meant.
        """
        return self.certify(trust_domain, generate(KeyType.P256), at=at, lifetime=lifetime)

    def certify(self, trust_domain: TrustDomain, key: SigningKey, *, at: datetime, lifetime: timedelta) -> "Signer":
        """A signing certificate of `key` below this one, which is a root.

        Raises:
            AuthorityError: there is none to be had, or what was signed is not what was meant.
        """
        profile = intermediate_profile(
            trust_domain,
            key.public_key(),
            at=at,
            lifetime=lifetime,
            root=self.certificate,
        )
        return Signer(recheck(self.sign(profile), profile, issuer=self.certificate), key)

    def sign(self, profile: Profile, *, serial_number: int | None = None) -> bytes:
        """The certificate in DER. Nobody has looked at it yet: `ca.recheck` does, before it leaves the house.

        Without a serial number it gets one of 159 random bits.
        """
        frame = _FRAMES.get(profile, self.certificate)
        if frame is None:
            extensions = extensions_to_der(profile.extensions(self.subject_key))
            _FRAMES.put(profile, self.certificate, extensions)
        else:
            extensions = frame.filled(profile.subject_key)
        return _sign(
            profile,
            self.private_key,
            extensions,
            algorithm=self._algorithm,
            issuer=self._name,
            serial_number=serial_number,
        )

    @property
    def subject_key(self) -> x509.SubjectKeyIdentifier:
        """What what it signs calls its key."""
        return self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value


# What is made of these is read again, and compared with frames of its own, which have been proved.
_FRAMES: Frames[x509.Certificate] = Frames()


def _sign(  # noqa: PLR0913  # all that a certificate is made of
    profile: Profile,
    private_key: SigningKey,
    extensions: bytes,
    *,
    algorithm: bytes,
    issuer: x509.Name,
    serial_number: int | None = None,
) -> bytes:
    tbs = tbs_to_der(
        serial_number=x509.random_serial_number() if serial_number is None else serial_number,
        algorithm=algorithm,
        issuer=issuer,
        not_before=profile.not_before,
        not_after=profile.not_after,
        subject=profile.subject,
        public_key=profile.public_key,
        extensions=extensions,
    )
    return certificate_to_der(tbs, algorithm, sign(private_key, tbs))
