"""Authority: issues the X.509-SVIDs of a trust domain."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from ca.errors import RefusedKeyError, RefusedNameError
from ca.profile import DEFAULT_TTL, leaf_profile
from ca.recheck import recheck_leaf
from ca.signer import Signer
from identity import Bundle, PublicKey, SpiffeId, TrustDomain, WeakKeyError, X509Svid, require_strong_key

__all__ = ["Authority"]

_ROOT_LIFETIME = timedelta(days=365)
_INTERMEDIATE_LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Authority:
    """A trust domain's root certificate, and the intermediate that signs under it.

    The root's key is not here: once an intermediate is signed, it is better kept where no request can reach. Whom to
    certify is for the caller to decide; the authority sees that what it issues is sound and no more than was asked for.
    """

    trust_domain: TrustDomain
    root: x509.Certificate
    intermediate: Signer

    def __post_init__(self) -> None:
        # An authority that nobody's bundle leads to must fail when it is set up, not at its first request.
        try:
            self.intermediate.certificate.verify_directly_issued_by(self.root)
        except (InvalidSignature, TypeError, ValueError, UnsupportedAlgorithm) as error:
            raise ValueError("the root did not issue the intermediate") from error

    @classmethod
    def create(
        cls,
        trust_domain: TrustDomain,
        *,
        at: datetime,
        root_lifetime: timedelta = _ROOT_LIFETIME,
        intermediate_lifetime: timedelta = _INTERMEDIATE_LIFETIME,
    ) -> Self:
        """A new authority in memory. The root's key is dropped, so that it ends with its first intermediate.

        Raises:
            AuthorityError: a lifetime is too short to sign anything with.
        """
        root = Signer.new_root(trust_domain, at=at, lifetime=root_lifetime)
        intermediate = root.new_intermediate(trust_domain, at=at, lifetime=intermediate_lifetime)
        return cls(trust_domain, root.certificate, intermediate)

    @property
    def bundle(self) -> Bundle:
        """What verifies everything that this authority issues."""
        return Bundle(self.trust_domain, (self.root,))

    def issue(
        self,
        spiffe_id: SpiffeId,
        public_key: object,
        *,
        at: datetime,
        ttl: timedelta = DEFAULT_TTL,
        dns_names: tuple[str, ...] = (),
    ) -> X509Svid:
        """Certify that whoever holds the private key of `public_key` is `spiffe_id`, from `at` for `ttl` at most.

        That the requester does hold it must have been shown to the caller. The certificate ends earlier where the
        intermediate or the root does. It has been read again and verified in full before it is returned.

        Raises:
            RefusedNameError: `spiffe_id` is of another trust domain or has no path, or a DNS name is not one.
            RefusedKeyError: `public_key` is weak, of a kind that is not certified, or the authority's own.
            RefusedLifetimeError: `ttl` is out of bounds, or the chain is not valid for long enough.
            RecheckError: what was signed is not what was meant; it was kept in.
        """
        if spiffe_id.trust_domain != self.trust_domain:
            raise RefusedNameError(str(spiffe_id), f"not in trust domain `{self.trust_domain}`")
        profile = leaf_profile(
            spiffe_id,
            self._require_key(public_key),
            at=at,
            ttl=ttl,
            chain=(self.intermediate.certificate, self.root),
            dns_names=dns_names,
        )
        leaf = recheck_leaf(
            self.intermediate.sign(profile),
            profile,
            spiffe_id=spiffe_id,
            issuer=self.intermediate.certificate,
            bundle=self.bundle,
            at=at,
        )
        return X509Svid(spiffe_id, (leaf, self.intermediate.certificate))

    def issue_with_new_key(
        self,
        spiffe_id: SpiffeId,
        *,
        at: datetime,
        ttl: timedelta = DEFAULT_TTL,
        dns_names: tuple[str, ...] = (),
    ) -> X509Svid:
        """`issue` for a new P-256 key, which is returned with the certificates.

        Raises:
            AuthorityError: as `issue`.
        """
        private_key = ec.generate_private_key(ec.SECP256R1())
        svid = self.issue(spiffe_id, private_key.public_key(), at=at, ttl=ttl, dns_names=dns_names)
        return replace(svid, private_key=private_key)

    def _require_key(self, public_key: object) -> PublicKey:
        try:
            key = require_strong_key(public_key)
        except WeakKeyError as error:
            raise RefusedKeyError(error.reason) from error
        # A workload with the authority's key, or one that can make a name for it, would blur who signed what.
        if key in (self.root.public_key(), self.intermediate.certificate.public_key()):
            raise RefusedKeyError("it is the authority's own")
        return key
