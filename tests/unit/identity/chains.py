"""Certificate chains for tests, each built from a plan: sound where the plan says nothing.

They are made with pyca directly, not with `ca`, so that what verifies and what issues are never wrong together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from identity import Bundle, TrustDomain

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)

PURPOSES = {
    "server_auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client_auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code_signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}
USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
CURVES: Mapping[str, ec.EllipticCurve] = {
    "p224": ec.SECP224R1(),
    "p256": ec.SECP256R1(),
    "p384": ec.SECP384R1(),
    "p521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}
HASHES: Mapping[str, Any] = {
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha3_256": hashes.SHA3_256(),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a certificate is to say. `None` leaves the extension out; hours count from `AT`."""

    subject: str = ""
    uris: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    authority: bool | None = False
    path_length: int | None = None
    usage: tuple[str, ...] | None = ("digital_signature",)
    usage_critical: bool = True
    purposes: tuple[str, ...] | None = ("server_auth", "client_auth")
    from_hours: float = -1
    to_hours: float = 1
    key: str = "p256"
    hash: str = "sha256"
    constraint: str | None = None
    unknown_extension: str | None = None
    signed_by_stranger: bool = False


SOUND: Mapping[str, Plan] = {
    "root": Plan(
        subject="root",
        uris=("spiffe://td.example",),
        authority=True,
        path_length=1,
        usage=("key_cert_sign", "crl_sign"),
        purposes=None,
        from_hours=-3,
        to_hours=3,
    ),
    "intermediate": Plan(
        subject="intermediate",
        uris=("spiffe://td.example",),
        authority=True,
        path_length=0,
        usage=("key_cert_sign", "crl_sign"),
        purposes=None,
        from_hours=-2,
        to_hours=2,
    ),
    "leaf": Plan(uris=("spiffe://td.example/ns/shop/sa/web",)),
}


@dataclass(frozen=True, slots=True)
class Chain:
    """Certificates by their role, root first, each signed by the one before it."""

    certificates: Mapping[str, x509.Certificate]
    keys: Mapping[str, Any] = field(repr=False)

    def present(self, *roles: str) -> list[x509.Certificate]:
        return [self.certificates[role] for role in roles]

    @property
    def sound_order(self) -> list[x509.Certificate]:
        """What a peer sends: everything but the root, leaf first."""
        return list(self.certificates.values())[:0:-1]

    def bundle(self, trust_domain: str = "td.example", *roles: str) -> Bundle:
        return Bundle(TrustDomain.parse(trust_domain), tuple(self.present(*(roles or ("root",)))))


def build(plans: Mapping[str, Plan]) -> Chain:
    certificates: dict[str, x509.Certificate] = {}
    keys: dict[str, Any] = {}
    issuer: str | None = None
    for role, plan in plans.items():
        keys[role] = new_key(plan.key)
        signing_key = keys[issuer or role]
        if plan.signed_by_stranger:
            signing_key = new_key("p256")
        issuer_name = certificates[issuer].subject if issuer else _name(plan.subject)
        certificates[role] = sign(plan, _public(keys[role]), issuer_name, signing_key)
        issuer = role
    return Chain(certificates, keys)


def plans_with(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Plan]:
    """The sound plans with `changes` by role; a role that is not known is one more intermediate, above the leaf."""
    plans = dict(SOUND)
    leaf = plans.pop("leaf")
    for role, change in changes.items():
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in change.items()
        }
        if role == "leaf":
            leaf = replace(leaf, **given)
        else:
            plans[role] = replace(plans.get(role, replace(SOUND["intermediate"], subject=role)), **given)
    return {**plans, "leaf": leaf}


def sign(plan: Plan, public_key: Any, issuer: x509.Name, signing_key: Any) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(plan.subject))
        .issuer_name(issuer)
        .not_valid_before(AT + timedelta(hours=plan.from_hours))
        .not_valid_after(AT + timedelta(hours=plan.to_hours))
        .public_key(public_key)
        .serial_number(x509.random_serial_number() | 1 << 158)  # 20 octets, to be patched in place
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    if plan.authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(plan.authority, plan.path_length), critical=True)
    if plan.usage is not None:
        builder = builder.add_extension(key_usage(*plan.usage), critical=plan.usage_critical)
    if plan.purposes is not None:
        purposes = x509.ExtendedKeyUsage([PURPOSES[purpose] for purpose in plan.purposes])
        builder = builder.add_extension(purposes, critical=False)
    names = [*map(x509.UniformResourceIdentifier, plan.uris), *map(x509.DNSName, plan.dns)]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not plan.subject)
    if plan.constraint is not None:
        permitted = x509.NameConstraints([x509.UniformResourceIdentifier(plan.constraint)], None)
        builder = builder.add_extension(permitted, critical=True)
    if plan.unknown_extension is not None:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
        builder = builder.add_extension(unknown, critical=plan.unknown_extension == "critical")
    return builder.sign(signing_key, HASHES[plan.hash])


def key_usage(*named: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in named for usage in USAGES})


def resigned(
    certificate: x509.Certificate,
    signing_key: ec.EllipticCurvePrivateKey,
    *,
    old: bytes,
    new: bytes,
) -> x509.Certificate:
    """`certificate` with `new` for `old` in what is signed, and signed again: what no builder would make.

    Only the outermost length is made good: what is inside another value keeps its own.
    """
    content = certificate.tbs_certificate_bytes[4:]  # past a tag and a length of three octets
    if content.count(old) != 1:
        raise ValueError("one replacement")
    signed = _der(0x30, content.replace(old, new))
    ecdsa_with_sha256 = bytes.fromhex("300a06082a8648ce3d040302")
    signature = signing_key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return x509.load_der_x509_certificate(
        _der(0x30, signed + ecdsa_with_sha256 + _der(0x03, b"\0" + signature)),
    )


def der(certificates: Iterable[x509.Certificate]) -> list[bytes]:
    return [certificate.public_bytes(Encoding.DER) for certificate in certificates]


def new_key(kind: str) -> Any:
    """A private key; for sizes that take long to make and never sign here, a public one."""
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind])
    match kind:
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "ed448":
            return ed448.Ed448PrivateKey.generate()
        case "rsa2048":
            return _rsa_2048()
        case "rsa1024" | "rsa2047" | "rsa4096" | "rsa4097":
            return rsa.RSAPublicNumbers(65537, 2 ** (int(kind[3:]) - 1) + 1).public_key()
        case "rsa2048e3":
            return rsa.RSAPublicNumbers(3, 2**2047 + 1).public_key()
        case _:
            raise ValueError(kind)


@cache
def _rsa_2048() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _public(key: Any) -> Any:
    return key if isinstance(key, rsa.RSAPublicKey) else key.public_key()


def _name(subject: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else [])


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content
