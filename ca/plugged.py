"""Plugged-in authorities: an operator's own signing certificate, in the files of Istio's secret `cacerts`.

What does not fit together is refused, with the file, what is wrong there, and what to do. Nothing is ever made up in its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ca.authority import Authority
from ca.errors import AuthorityError, PluggedError
from ca.keys import SigningKey
from ca.keys.key_type import require_verification_key
from ca.profile import DEFAULT_TTL, MIN_TTL
from ca.signer import Signer
from identity import MAX_CHAIN, Bundle, SpiffeId, TrustDomain, WeakKeyError, require_strong_key

__all__ = ["Plugged", "plug_in", "read_files"]

T = TypeVar("T", bound=x509.ExtensionType)

_MAX_SIZE = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which file says what; in the second layout the chain follows in the certificate's own file."""

    certificate: str
    key: str
    chain: str | None
    roots: str

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(name for name in (self.certificate, self.key, self.chain, self.roots) if name is not None)


_LAYOUTS = (
    _Layout("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"),
    _Layout("tls.crt", "tls.key", None, "ca.crt"),
)


@dataclass(frozen=True, slots=True)
class Plugged:
    """What issues by an operator's certificate, and everything that they want trusted."""

    authority: Authority
    roots: tuple[x509.Certificate, ...]
    notes: tuple[str, ...]
    """What is allowed and worth saying."""

    @property
    def bundle(self) -> Bundle:
        """What verifies what it issues: all roots, for an operator rolls a root by naming two for a while."""
        return Bundle(self.authority.trust_domain, self.roots)


def read_files(directory: Path) -> dict[str, bytes]:
    """The files of a plugged-in authority that are in `directory`.

    Raises:
        PluggedError: one of them cannot be read.
    """
    found = {}
    for name in (name for layout in _LAYOUTS for name in layout.files):
        try:
            with (directory / name).open("rb") as file:
                found[name] = file.read(_MAX_SIZE + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = f"it cannot be read ({error.strerror})"
            raise PluggedError(str(directory / name), reason, "let us read it") from error
        if len(found[name]) > _MAX_SIZE:
            raise PluggedError(str(directory / name), f"it is larger than {_MAX_SIZE} bytes", "put the PEM alone there")
    return found


def plug_in(
    files: Mapping[str, bytes],
    trust_domain: TrustDomain,
    *,
    place: str,
    at: datetime,
    max_ttl: timedelta = DEFAULT_TTL,
) -> Plugged:
    """The authority in `files`, which are in `place`, for leaves that live for `max_ttl` at most.

    Raises:
        PluggedError: they make none.
    """
    return _Reading(files, trust_domain, place, at, max_ttl).plugged()


class _Reading:
    def __init__(
        self, files: Mapping[str, bytes], trust_domain: TrustDomain, place: str, at: datetime, max_ttl: timedelta
    ) -> None:
        self._files = files
        self._trust_domain = trust_domain
        self._place = place
        self._at = at
        self._max_ttl = max_ttl

    def plugged(self) -> Plugged:
        layout = self._layout()
        own, *rest = self._certificates(layout.certificate)
        if layout.chain is not None:
            if rest:
                raise self._refused(
                    layout.certificate, "it holds more than one certificate", f"move the others to {layout.chain}"
                )
            rest = self._certificates(layout.chain)
        chain_file = layout.chain or layout.certificate
        roots = self._certificates(layout.roots)
        key = self._key(layout.key)
        if key.public_key() != own.public_key():
            raise self._refused(
                layout.key,
                f"it is not the key of the certificate in {layout.certificate}",
                "put the two that belong together",
            )

        for root in roots:
            self._require_root(root, layout.roots)
        path = self._path(own, rest, roots, chain_file=chain_file)
        for below, certificate in enumerate(path):
            file = layout.certificate if below == 0 else layout.roots if certificate in roots else chain_file
            self._require_signing(certificate, file, below=below)
        if len(path) > MAX_CHAIN:
            raise self._refused(
                chain_file,
                f"{len(path) - 1} certificates below the root, more than {MAX_CHAIN - 1}",
                "shorten the chain",
            )

        authority = self._authority(own, key, path, layout)
        return Plugged(authority, tuple(dict.fromkeys(roots)), self._notes(path, layout))

    def _layout(self) -> _Layout:
        begun = [layout for layout in _LAYOUTS if any(name in self._files for name in layout.files)]
        if not begun:
            names = " or ".join(", ".join(layout.files) for layout in _LAYOUTS)
            raise PluggedError(self._place, "there is no authority", f"put {names} there")
        if len(begun) > 1:
            raise PluggedError(
                self._place, "there are files of two layouts, and which is meant is not said", "leave only one"
            )
        for name in begun[0].files:
            if name not in self._files:
                raise self._refused(name, "it is missing", f"an authority needs all of {', '.join(begun[0].files)}")
        return begun[0]

    def _certificates(self, name: str) -> list[x509.Certificate]:
        text = self._files[name]
        try:
            found = x509.load_pem_x509_certificates(text)
            for certificate in found:
                # pyca reads lazily: what is malformed shows here, and nowhere below.
                _ = certificate.subject, certificate.public_key(), certificate.extensions
        except (
            ValueError,
            UnsupportedAlgorithm,
            x509.DuplicateExtension,
            x509.InvalidVersion,
            x509.UnsupportedGeneralNameType,
        ) as error:
            raise self._refused(name, "it holds no certificates in PEM that can be read", "write it anew") from error
        # pyca passes over what stands between the blocks, such as one whose label is misspelt.
        if text.count(b"-----BEGIN ") != len(found):
            raise self._refused(name, "it holds something else beside certificates", "put the certificates alone there")
        return found

    def _key(self, name: str) -> SigningKey:
        try:
            key = load_pem_private_key(self._files[name], password=None)
        except TypeError:
            remedy = "decrypt it, or import it into a key store"
            raise self._refused(name, "the key is encrypted", remedy) from None
        except (ValueError, UnsupportedAlgorithm):
            # Without the cause: it may quote what it could not read.
            raise self._refused(name, "it holds no private key in PEM that can be read", "write it anew") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
            raise self._refused(name, "the key is of a kind that signs no certificates here", "take P-256")
        return key

    def _path(
        self,
        own: x509.Certificate,
        rest: Sequence[x509.Certificate],
        roots: Sequence[x509.Certificate],
        *,
        chain_file: str,
    ) -> list[x509.Certificate]:
        """From the signing certificate to the root, both included."""
        path = [own]
        while path[-1] not in roots:
            issuer = next((each for each in (*roots, *rest) if each not in path and _issued(path[-1], each)), None)
            if issuer is None:
                raise self._refused(
                    chain_file,
                    f"it does not lead from {_named(own)} to a root: the issuer of {_named(path[-1])} is not there",
                    "add the certificate of that issuer, or put the right roots",
                )
            path.append(issuer)
        for each in rest:
            if each not in path and each not in roots:
                raise self._refused(chain_file, f"{_named(each)} is not on the way to a root", "take it out")
        return path

    def _require_root(self, root: x509.Certificate, file: str) -> None:
        if not _issued(root, root):
            raise self._refused(
                file, f"{_named(root)} is not self-signed, so Envoy and OpenSSL do not end a path there", "put its root"
            )
        self._require_valid(root, file)
        try:
            # Bundles say keys as RFC 7518 has them.
            require_strong_key(root.public_key())
        except WeakKeyError as error:
            raise self._refused(file, f"{_named(root)}: {error}", "make a root with a P-256 key") from error

    def _require_signing(self, certificate: x509.Certificate, file: str, *, below: int) -> None:
        """`below` counts the signing certificates below it."""
        name = _named(certificate)
        self._require_valid(certificate, file)
        extensions = certificate.extensions
        try:
            require_verification_key(certificate.public_key())
        except WeakKeyError as error:
            raise self._refused(file, f"{name}: {error}", "make one with a P-256 key") from error
        constraints = _value(extensions, x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            raise self._refused(file, f"{name} is not an authority (basic constraints)", "have it issued with CA:TRUE")
        if constraints.path_length is not None and constraints.path_length < below:
            raise self._refused(
                file,
                f"{name} allows {constraints.path_length} signing certificates below it, and there are {below}",
                f"have it issued with a path length of {below} or none",
            )
        usage = _value(extensions, x509.KeyUsage)
        if usage is None or not usage.key_cert_sign:
            raise self._refused(
                file, f"{name} may not sign certificates (key usage)", "have it issued with keyCertSign"
            )
        if not certificate.subject.rdns:
            raise self._refused(file, f"{name} has no subject", "have it issued with one (RFC 5280 4.1.2.6)")
        self._require_names(extensions, name, file)

    def _require_names(self, extensions: x509.Extensions, name: str, file: str) -> None:
        own = str(self._trust_domain.id)
        constraints = _value(extensions, x509.NameConstraints)
        if constraints is not None:
            reason = "has name constraints, which many that verify SVIDs do not understand, ours among them"
            if not _permits(constraints, self._trust_domain):
                reason = f"has name constraints that exclude the trust domain `{self._trust_domain}`"
            raise self._refused(file, f"{name} {reason}", "have it issued without")
        for uri in _uris(extensions):
            if uri.startswith("spiffe://") and uri != own:
                raise self._refused(
                    file, f"{name} is named {uri!r}, not {own!r}", "set the trust domain, or plug in its own authority"
                )

    def _require_valid(self, certificate: x509.Certificate, file: str) -> None:
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if self._at < begin:
            raise self._refused(
                file, f"{_named(certificate)} is not valid before {begin.isoformat()}", "look at the clock"
            )
        if self._at > end:
            raise self._refused(file, f"{_named(certificate)} expired at {end.isoformat()}", "renew it")

    def _authority(
        self, own: x509.Certificate, key: SigningKey, path: Sequence[x509.Certificate], layout: _Layout
    ) -> Authority:
        life = own.not_valid_after_utc - own.not_valid_before_utc
        if life < 6 * self._max_ttl:
            raise self._refused(
                layout.certificate,
                f"it lives for {life}, which is less than six times the {self._max_ttl} of its leaves",
                "have it issued for longer, or lower the longest time to live",
            )
        try:
            authority = Authority(self._trust_domain, path[-1], Signer(own, key), tuple(path[1:-1]))
        except ValueError as error:
            raise self._refused(
                layout.certificate, str(error), "have it issued with a subject key identifier"
            ) from error
        try:
            # Whatever else may be wrong shows in a certificate that nobody gets.
            probe = SpiffeId.parse(f"{self._trust_domain.id}/probe")
            authority.issue_with_new_key(probe, at=self._at, ttl=MIN_TTL)
        except AuthorityError as error:
            raise self._refused(
                layout.certificate, f"what it signs does not verify: {error}", "have it issued anew"
            ) from error
        return authority

    def _notes(self, path: Sequence[x509.Certificate], layout: _Layout) -> tuple[str, ...]:
        return tuple(
            f"{self._place}/{layout.certificate if below == 0 else layout.chain or layout.roots}: {_named(certificate)} has no SPIFFE ID"
            " of the trust domain, as X509-SVID 3.2 would like; every verifier takes it all the same"
            for below, certificate in enumerate(path)
            if str(self._trust_domain.id) not in _uris(certificate.extensions)
        )

    def _refused(self, file: str, reason: str, remedy: str) -> PluggedError:
        return PluggedError(f"{self._place}/{file}", reason, remedy)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, TypeError, ValueError, UnsupportedAlgorithm):
        return False
    return True


def _named(certificate: x509.Certificate) -> str:
    return f"certificate {certificate.subject.rfc4514_string()!r}"


def _uris(extensions: x509.Extensions) -> list[str]:
    names = _value(extensions, x509.SubjectAlternativeName)
    return [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)


def _permits(constraints: x509.NameConstraints, trust_domain: TrustDomain) -> bool:
    """RFC 5280 4.2.1.10: a URI constraint is about the host; with a dot before it, about what is below."""

    def covers(subtrees: list[x509.GeneralName] | None) -> list[bool]:
        uris = [each.value for each in subtrees or () if isinstance(each, x509.UniformResourceIdentifier)]
        name = str(trust_domain)
        return [name.endswith(uri) if uri.startswith(".") else name == uri for uri in uris]

    permitted, excluded = covers(constraints.permitted_subtrees), covers(constraints.excluded_subtrees)
    return (not permitted or any(permitted)) and not any(excluded)


def _value(extensions: x509.Extensions, kind: type[T]) -> T | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
