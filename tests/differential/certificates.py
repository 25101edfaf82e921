"""Certificates for callers: ordinary ones from the authority in `ca`, odd ones that it would never issue made by hand."""

import ssl
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ca import Authority, AuthorityError
from demo import tls
from identity import IdentityError, SpiffeId, TrustDomain
from tests.differential.cases import Caller

__all__ = ["Certificates"]

_OWN = TrustDomain("cluster.local")
_ATTRIBUTES = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "L": NameOID.LOCALITY_NAME,
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "serialNumber": NameOID.SERIAL_NUMBER,
    "DC": NameOID.DOMAIN_COMPONENT,
    "UID": NameOID.USER_ID,
    "title": NameOID.TITLE,
}
_DAY = timedelta(days=1)


class Certificates:
    """What Envoy needs to take any of `callers`, and what each of them needs to come; all in `directory`."""

    def __init__(self, callers: Iterable[Caller], directory: Path) -> None:
        self._directory = directory
        self._now = datetime.now(UTC)
        self._authorities = {_OWN: Authority.create(_OWN, at=self._now)}
        self._strange = _StrangeAuthority(self._now)
        api = SpiffeId.for_workload(_OWN, namespace="shop", service_account="api")
        own = self._authorities[_OWN]
        server = tls.save(own.issue_with_new_key(api, at=self._now), own.bundle, directory / "server")
        self._contexts = {caller: self._context(caller, str(number)) for number, caller in enumerate(set(callers))}
        bundle = directory / "bundle.pem"
        bundle.write_bytes(
            b"".join(authority.bundle.to_pem() for authority in self._authorities.values()) + self._strange.pem
        )
        self.server = tls.TlsFiles(chain=server.chain, private_key=server.private_key, bundle=bundle)
        """Envoy's own certificate, and the authorities whose certificates it takes."""

    def context(self, caller: Caller) -> ssl.SSLContext:
        """How `caller` speaks TLS."""
        return self._contexts[caller]

    def _context(self, caller: Caller, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        # Only what the server makes of the client is of interest.
        context.verify_mode = ssl.CERT_NONE
        with suppress(AuthorityError, IdentityError):
            if not caller.dns and not caller.subject and len(caller.uris) == 1:
                files = self._issued(SpiffeId.parse(caller.uris[0]), name)
                context.load_cert_chain(files.chain, files.private_key)
                return context
        pem = self._directory / f"{name}.pem"
        pem.write_bytes(self._strange.issue(caller))
        context.load_cert_chain(pem)
        return context

    def _issued(self, spiffe_id: SpiffeId, name: str) -> tls.TlsFiles:
        domain = spiffe_id.trust_domain
        if domain not in self._authorities:
            self._authorities[domain] = Authority.create(domain, at=self._now)
        authority = self._authorities[domain]
        svid = authority.issue_with_new_key(spiffe_id, at=self._now)
        return tls.save(svid, authority.bundle, self._directory / name)


class _StrangeAuthority:
    """Signs whatever it is asked to."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "strange authority")])
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(Encoding.PEM)

    def issue(self, caller: Caller) -> bytes:
        """A certificate and its key, in one PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [
            # Some attributes have limits on their length, which a certificate in the wild may not keep.
            x509.NameAttribute(_ATTRIBUTES[name], value, _validate=False)
            for name, value in caller.subject
        ]
        builder = self._builder(x509.Name(attributes), key.public_key())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in caller.uris]
        names += [x509.DNSName(name) for name in caller.dns]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not attributes)
        certificate = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM) + private

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _DAY)
            .not_valid_after(self._now + _DAY)
        )
