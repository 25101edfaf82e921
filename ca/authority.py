"""Authority: issues the X.509-SVIDs of a trust domain."""

import itertools
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from ca.der import key_to_der
from ca.errors import RecheckError, RefusedKeyError, RefusedNameError
from ca.keys.key_type import require_verification_key
from ca.profile import DEFAULT_TTL, Profile, leaf_profile
from ca.recheck import recheck_leaf
from ca.signer import Signer
from identity import (
    Bundle,
    PublicKey,
    SpiffeId,
    SvidVerificationError,
    TrustDomain,
    WeakKeyError,
    X509Svid,
    require_strong_key,
    verify_x509_svid,
)

__all__ = ["Authority", "Planned"]

_ROOT_LIFETIME = timedelta(days=365)
_INTERMEDIATE_LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Planned:
    """An X.509-SVID that is about to be signed: all of it is decided, so that it can be written down before."""

    spiffe_id: SpiffeId
    profile: Profile
    serial_number: int

    @property
    def serial(self) -> str:
        """The serial number as the inventory has it: lower-case hexadecimal."""
        return f"{self.serial_number:x}"


@dataclass(frozen=True, slots=True)
class Authority:
    """A trust domain's root certificate, and the intermediate that signs under it.

    The root's key is not here: once an intermediate is signed, it is better kept where no request can reach. Whom to
    certify is for the caller to decide; the authority sees that what it issues is sound and no more than was asked for.
    """

    trust_domain: TrustDomain
    root: x509.Certificate
    intermediate: Signer
    above: tuple[x509.Certificate, ...] = ()
    """The signing certificates between the intermediate and the root, the nearest first: none but under a plugged-in one."""
    _proved: list[x509.Certificate] = field(default_factory=list, init=False, repr=False, compare=False)
    _presented: tuple[x509.Certificate, ...] = field(init=False, repr=False, compare=False)
    _own_keys: frozenset[bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # An authority that nobody's bundle leads to must fail when it is set up, not at its first request.
        try:
            for below, issuer in itertools.pairwise((self.intermediate.certificate, *self.above, self.root)):
                below.verify_directly_issued_by(issuer)
        except (InvalidSignature, TypeError, ValueError, UnsupportedAlgorithm) as error:
            raise ValueError("the root did not issue the intermediate") from error
        # A root that signs leaves itself is not sent along: peers have it.
        presented = () if self.intermediate.certificate == self.root else (self.intermediate.certificate, *self.above)
        keys = (require_verification_key(each.public_key()) for each in (*presented, self.root))
        object.__setattr__(self, "_presented", presented)
        object.__setattr__(self, "_own_keys", frozenset(map(key_to_der, keys)))

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
        planned = self.plan(spiffe_id, public_key, at=at, ttl=ttl, dns_names=dns_names)
        return self.sign(planned, at=at)

    def plan(
        self,
        spiffe_id: SpiffeId,
        public_key: object,
        *,
        at: datetime,
        ttl: timedelta = DEFAULT_TTL,
        dns_names: tuple[str, ...] = (),
    ) -> Planned:
        """What `issue` would sign.

        Raises:
            RefusedNameError, RefusedKeyError, RefusedLifetimeError: as `issue`.
        """
        if spiffe_id.trust_domain != self.trust_domain:
            raise RefusedNameError(str(spiffe_id), f"not in trust domain `{self.trust_domain}`")
        profile = leaf_profile(
            spiffe_id,
            self._require_key(public_key),
            at=at,
            ttl=ttl,
            chain=(*self._presented, self.root),
            dns_names=dns_names,
        )
        return Planned(spiffe_id, profile, x509.random_serial_number())

    def sign(self, planned: Planned, *, at: datetime) -> X509Svid:
        """Sign what was planned, and read it again.

        Raises:
            RecheckError: what was signed is not what was meant; it was kept in.
        """
        leaf = recheck_leaf(
            self.intermediate.sign(planned.profile, serial_number=planned.serial_number),
            planned.profile,
            spiffe_id=planned.spiffe_id,
            serial_number=planned.serial_number,
            issuer=self.intermediate.certificate,
            at=at,
        )
        self._prove_once(leaf, at=at)
        return X509Svid(planned.spiffe_id, (leaf, *self._presented))

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

    def _prove_once(self, leaf: x509.Certificate, *, at: datetime) -> None:
        # The path above the leaves stays as it is, and no profile lets a leaf out of its life: what it has proved for
        # one of them, it proves for all.
        if self._proved:
            return
        try:
            verify_x509_svid((leaf, *self._presented), [self.bundle], at=at)
        except SvidVerificationError as error:
            raise RecheckError(str(error)) from error
        self._proved.append(leaf)

    def _require_key(self, public_key: object) -> PublicKey:
        try:
            key = require_strong_key(public_key)
        except WeakKeyError as error:
            raise RefusedKeyError(error.reason) from error
        # A workload with the authority's key, or one that can make a name for it, would blur who signed what.
        if key_to_der(key) in self._own_keys:
            raise RefusedKeyError("it is the authority's own")
        return key
