"""Profiles: what each kind of certificate says, decided before anything is signed.

A profile is complete. Nothing is copied from a request for a certificate; the requester contributes its public key.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ca.by_identity import ByIdentity
from ca.der import key_identifier
from ca.errors import RefusedLifetimeError, RefusedNameError
from ca.keys.key_type import VerificationKey
from identity import PublicKey, SpiffeId, TrustDomain

__all__ = [
    "BACKDATE",
    "DEFAULT_TTL",
    "MAX_TTL",
    "MIN_TTL",
    "Profile",
    "intermediate_profile",
    "leaf_profile",
    "require_dns_name",
    "root_profile",
]

T = TypeVar("T", bound=x509.ExtensionType)

BACKDATE = timedelta(seconds=60)
"""How far the clocks of a mesh may lag behind ours."""

MIN_TTL = timedelta(minutes=5)
DEFAULT_TTL = timedelta(hours=1)
MAX_TTL = timedelta(hours=24)

# Lower-case labels as host names have them, at least one; no wildcard.
_DNS_NAME = re.compile(r"(?!.{254})[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Profile:
    """All that a certificate is to say, but for who signs it and its serial number. Times are UTC and whole seconds."""

    subject: x509.Name
    not_before: datetime
    not_after: datetime
    public_key: VerificationKey
    names: x509.Extension[x509.SubjectAlternativeName]
    basic_constraints: x509.BasicConstraints
    key_usage: x509.KeyUsage
    extended_key_usage: x509.ExtendedKeyUsage | None
    subject_key: x509.SubjectKeyIdentifier

    def extensions(self, issuer_key: x509.SubjectKeyIdentifier) -> tuple[x509.Extension[x509.ExtensionType], ...]:
        """Every extension, in the order in which they are written; `issuer_key` is that of the signing certificate."""
        extensions: list[x509.Extension[x509.ExtensionType]] = [
            _extension(self.basic_constraints, critical=True),
            _extension(self.key_usage, critical=True),
        ]
        if self.extended_key_usage is not None:
            extensions.append(_extension(self.extended_key_usage, critical=False))
        extensions += [
            _extension(self.subject_key, critical=False),
            _authority_key(issuer_key),
            _extension(self.names.value, critical=self.names.critical),
        ]
        return tuple(extensions)


@lru_cache(maxsize=16)
def _authority_key(issuer_key: x509.SubjectKeyIdentifier) -> x509.Extension[x509.AuthorityKeyIdentifier]:
    return _extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key), critical=False)


def leaf_profile(  # noqa: PLR0913  # all that two leaves may differ in
    spiffe_id: SpiffeId,
    public_key: PublicKey,
    *,
    at: datetime,
    ttl: timedelta,
    chain: tuple[x509.Certificate, ...],
    dns_names: tuple[str, ...] = (),
) -> Profile:
    """An X.509-SVID of `spiffe_id`, which outlives no certificate of `chain`: those above it, the root included.

    Raises:
        RefusedLifetimeError: `ttl` is out of bounds, the chain is not valid yet, or too little is left of it.
        RefusedNameError: `spiffe_id` names no workload, or one of `dns_names` is not a lower-case host name.
    """
    if not spiffe_id.path:
        raise RefusedNameError(str(spiffe_id), "a SPIFFE ID without a path is the authority's own")
    for name in dns_names:
        require_dns_name(name)
    now = _whole_seconds(at)
    if not MIN_TTL <= ttl <= MAX_TTL:
        raise RefusedLifetimeError(f"not {MIN_TTL} to {MAX_TTL}", lifetime=ttl, at=now)
    if any(now < _life(certificate)[0] for certificate in chain):
        raise RefusedLifetimeError("the chain is not valid yet", lifetime=ttl, at=now)
    not_after = _capped(now + ttl, chain)
    if not_after - now < MIN_TTL:
        raise RefusedLifetimeError(
            f"the chain leaves less than {MIN_TTL}, renew it first",
            lifetime=not_after - now,
            at=now,
        )
    return Profile(
        # An empty subject makes the alternative names the only ones, and critical (RFC 5280 4.1.2.6).
        subject=_NOBODY,
        not_before=now - BACKDATE,
        not_after=not_after,
        public_key=public_key,
        names=_names(spiffe_id, dns_names, critical=True),
        basic_constraints=_NO_AUTHORITY,
        key_usage=_ENCIPHERS if isinstance(public_key, rsa.RSAPublicKey) else _SIGNS,
        extended_key_usage=_MUTUAL_TLS,
        subject_key=key_identifier(public_key),
    )


def require_dns_name(name: str) -> None:
    """See that `name` is one that a leaf may have beside its SPIFFE ID.

    Raises:
        RefusedNameError: it is not a lower-case host name.
    """
    if not _DNS_NAME.fullmatch(name):
        raise RefusedNameError(name, "not a lower-case host name")


def root_profile(
    trust_domain: TrustDomain, public_key: VerificationKey, *, at: datetime, lifetime: timedelta
) -> Profile:
    """The root of `trust_domain`, with room for one signing certificate between it and the leaves.

    Raises:
        RefusedLifetimeError: `lifetime` is shorter than any leaf's.
    """
    return _signing_profile("root", trust_domain, public_key, path_length=1, at=at, lifetime=lifetime, chain=())


def intermediate_profile(
    trust_domain: TrustDomain,
    public_key: VerificationKey,
    *,
    at: datetime,
    lifetime: timedelta,
    root: x509.Certificate,
) -> Profile:
    """A signing certificate below `root`, which it does not outlive, and which signs leaves only.

    Raises:
        RefusedLifetimeError: `lifetime`, or what is left of the root's, is shorter than any leaf's.
    """
    return _signing_profile(
        "intermediate",
        trust_domain,
        public_key,
        path_length=0,
        at=at,
        lifetime=lifetime,
        chain=(root,),
    )


def _signing_profile(  # noqa: PLR0913  # everything that the two kinds of signing certificates differ in
    role: str,
    trust_domain: TrustDomain,
    public_key: VerificationKey,
    *,
    path_length: int,
    at: datetime,
    lifetime: timedelta,
    chain: tuple[x509.Certificate, ...],
) -> Profile:
    now = _whole_seconds(at)
    not_after = _capped(now + lifetime, chain)
    if not_after - now < MIN_TTL:
        raise RefusedLifetimeError(f"less than {MIN_TTL}, so it could sign nothing", lifetime=not_after - now, at=now)
    subject_key = x509.SubjectKeyIdentifier.from_public_key(public_key)
    return Profile(
        subject=x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "meshward"),
                x509.NameAttribute(NameOID.COMMON_NAME, role),
                # Each key under a name of its own: verifiers look issuers up by name, and rotation keeps two in use.
                x509.NameAttribute(NameOID.SERIAL_NUMBER, subject_key.digest.hex()),
            ],
        ),
        not_before=now - BACKDATE,
        not_after=not_after,
        public_key=public_key,
        names=_names(trust_domain.id, (), critical=False),
        basic_constraints=x509.BasicConstraints(ca=True, path_length=path_length),
        key_usage=_key_usage(key_cert_sign=True, crl_sign=True),
        extended_key_usage=None,
        subject_key=subject_key,
    )


# The same object for the same names: what is one object need not be encoded or compared twice.
@lru_cache(maxsize=8192)
def _names(
    spiffe_id: SpiffeId,
    dns_names: tuple[str, ...],
    *,
    critical: bool,
) -> x509.Extension[x509.SubjectAlternativeName]:
    uri = x509.UniformResourceIdentifier(str(spiffe_id))
    return _extension(x509.SubjectAlternativeName([uri, *map(x509.DNSName, dns_names)]), critical=critical)


def _extension(value: T, *, critical: bool) -> x509.Extension[T]:
    return x509.Extension(value.oid, critical, value)


def _key_usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=key_encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _capped(not_after: datetime, chain: tuple[x509.Certificate, ...]) -> datetime:
    # Every certificate, not only the next: a root may end before what it signed.
    return min([not_after, *(_life(certificate)[1] for certificate in chain)])


def _read_life(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


_life = ByIdentity(_read_life)


def _whole_seconds(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("`at` needs a time zone")
    return at.astimezone(UTC).replace(microsecond=0)


# What every leaf has in common is made once: it costs more than the signature otherwise.
_NOBODY = x509.Name([])
_NO_AUTHORITY = x509.BasicConstraints(ca=False, path_length=None)
_SIGNS = _key_usage(digital_signature=True)
_ENCIPHERS = _key_usage(digital_signature=True, key_encipherment=True)
_MUTUAL_TLS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
