"""Certificate revocation lists (RFC 5280 5): what was revoked of an intermediate's leaves, signed by that intermediate."""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtensionOID

from ca.errors import RecheckError
from ca.inventory import RevocationList, RevocationReason
from ca.keys import SigningKey
from ca.keys.key_type import require_verification_key
from ca.profile import BACKDATE
from ca.signer import Signer

__all__ = ["LIFETIME", "RevocationLists", "Revocations", "SignerSource", "signed_list"]

LIFETIME = timedelta(hours=1)
"""How long a list may be used. Leaves live for an hour by default, so one that is older says little."""

_SECONDS = 40
"""Bits of a number of a list that say when it was made."""


class Revocations(Protocol):
    """What was revoked, as `ca.store.Inventory` has it."""

    def revocations(self, issuer: str, *, at: datetime) -> RevocationList:
        """What a list of `issuer` says at `at`."""


class SignerSource(Protocol):
    """The intermediates, as `ca.signing.KeptSigning` has them."""

    def active_issuer(self) -> str:
        """The id of the one that signs."""

    def signer_of(self, issuer: str) -> Signer:
        """The one of that id with its key."""


def signed_list(
    signer: Signer, revocations: RevocationList, *, at: datetime, lifetime: timedelta = LIFETIME
) -> x509.CertificateRevocationList:
    """The list of what `signer` has issued and was revoked, as of `at`.

    Its number grows with every revocation and, between two of them, with time: no two lists have one number (RFC 5280 5.2.3).

    Raises:
        AuthorityError: the key, which is outside of this process, did not answer.
        RecheckError: what was signed does not verify; it was kept in.
    """
    made = at.replace(microsecond=0)
    key = signer.private_key
    number = revocations.number << _SECONDS | int(made.timestamp())
    crl = x509.CertificateRevocationListBuilder(
        issuer_name=signer.certificate.subject,
        # Clocks of a mesh may lag behind ours, and to them a list from the future is none.
        last_update=made - BACKDATE,
        next_update=made + lifetime,
        extensions=[
            x509.Extension(ExtensionOID.CRL_NUMBER, False, x509.CRLNumber(number)),  # noqa: FBT003  # RFC 5280 5.2.3
            x509.Extension(
                ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
                False,  # noqa: FBT003  # RFC 5280 5.2.1
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer.subject_key),
            ),
        ],
        # At once: the builder copies all that it has for each that is added.
        revoked_certificates=[
            _revoked(int(each.serial, 16), each.revocation.at, each.revocation.reason) for each in revocations.revoked
        ],
    ).sign(key, _hash_of(key))
    # A fault in a signature by RSA gives its key away; nothing leaves that was not read again.
    if not crl.is_signature_valid(require_verification_key(signer.certificate.public_key())):
        raise RecheckError("the signature of a revocation list does not verify")
    return crl


@dataclass(frozen=True, slots=True)
class _Kept:
    number: int
    made: datetime
    crl: x509.CertificateRevocationList


class RevocationLists:
    """The lists of this replica. Each is signed once for as long as nothing is revoked, and again when half of its life is over."""

    def __init__(self, revocations: Revocations, signers: SignerSource, *, lifetime: timedelta = LIFETIME) -> None:
        self._revocations = revocations
        self._signers = signers
        self._lifetime = lifetime
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def of(self, issuer: str | None, *, at: datetime) -> x509.CertificateRevocationList:
        """The list of `issuer`, or of what signs now. This blocks; it may be called from any thread.

        Raises:
            NotKeptError: there is no such intermediate, or nobody is to trust it any more.
            NotReadyError: nothing signs.
            KeyStoreError: its key cannot be had.
            RecheckError: what was signed does not verify.
            StoreUnavailableError: nobody can tell what was revoked.
        """
        wanted = self._signers.active_issuer() if issuer is None else issuer
        # One at a time: of many who ask after a revocation, one signs.
        with self._lock:
            revocations = self._revocations.revocations(wanted, at=at)
            kept = self._kept.get(wanted)
            if kept is not None and kept.number == revocations.number and self._is_young(kept, at):
                return kept.crl
            crl = signed_list(self._signers.signer_of(wanted), revocations, at=at, lifetime=self._lifetime)
            # Only ids of intermediates come here; those that have ended go.
            self._kept = {name: each for name, each in self._kept.items() if self._is_young(each, at)}
            self._kept[wanted] = _Kept(revocations.number, at, crl)
            return crl

    def _is_young(self, kept: _Kept, at: datetime) -> bool:
        return timedelta(0) <= at - kept.made < self._lifetime / 2


def _revoked(serial: int, at: datetime, reason: RevocationReason) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(serial_number=serial, revocation_date=at.replace(microsecond=0))
    # RFC 5280 5.3.1: who has no reason says nothing.
    if reason is not RevocationReason.UNSPECIFIED:
        builder = builder.add_extension(x509.CRLReason(x509.ReasonFlags(reason.value)), critical=False)
    return builder.build()


def _hash_of(key: SigningKey) -> hashes.SHA256 | hashes.SHA384 | None:
    match key:
        case ed25519.Ed25519PrivateKey():
            return None
        case ec.EllipticCurvePrivateKey() if isinstance(key.curve, ec.SECP384R1):
            return hashes.SHA384()
        case _:
            return hashes.SHA256()
