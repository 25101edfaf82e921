"""Certificate signing requests: what hostile ones come to (spec 2.8), and that nothing but a key and a name gets through."""

import base64
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from ca.csr import MAX_CSR, RequestedKey, read_csr
from ca.errors import CsrError, CsrFault
from identity import SpiffeId

WEB = "spiffe://td.example/ns/shop/sa/web"
KEY = ec.generate_private_key(ec.SECP256R1())
Builder = x509.CertificateSigningRequestBuilder


def uri(text: str) -> x509.GeneralName:
    # The builder keeps what it is given, and so would an attacker's.
    return x509.UniformResourceIdentifier(text)


def request(
    *names: x509.GeneralName,
    subject: x509.Name | None = None,
    key: object = KEY,
    algorithm: hashes.HashAlgorithm | None = hashes.SHA256(),  # noqa: B008  # a constant
    extend: Callable[[Builder], Builder] = lambda builder: builder,
) -> bytes:
    builder = Builder().subject_name(subject or x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return extend(builder).sign(key, algorithm).public_bytes(Encoding.PEM)  # type: ignore[arg-type]  # keys of all kinds


def fault_of(pem: bytes) -> CsrFault:
    with pytest.raises(CsrError) as caught:
        read_csr(pem)
    assert caught.value.reason
    return caught.value.fault


def der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


def pem_of(data: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(data) + b"-----END CERTIFICATE REQUEST-----\n"


def usage(**given: bool) -> x509.KeyUsage:
    none = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**{**none, **given})


def test_a_key_and_a_name_are_taken() -> None:
    assert read_csr(request(uri(WEB))) == RequestedKey(KEY.public_key(), SpiffeId.parse(WEB))


def test_a_request_may_leave_the_name_to_the_authority() -> None:
    assert read_csr(request()) == RequestedKey(KEY.public_key(), None)


def test_what_istios_agent_writes_is_taken() -> None:
    key = rsa.generate_private_key(65537, 2048)
    empty = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "", _validate=False)])
    found = read_csr(request(uri(WEB), subject=empty, key=key))
    assert found == RequestedKey(key.public_key(), SpiffeId.parse(WEB))


def test_what_every_leaf_has_may_be_asked_for() -> None:
    def extend(builder: Builder) -> Builder:
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        return (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage(digital_signature=True, key_encipherment=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        )

    assert read_csr(request(uri(WEB), extend=extend)).spiffe_id == SpiffeId.parse(WEB)


def test_blank_lines_around_the_block_are_nothing() -> None:
    assert read_csr(b"\n" + request(uri(WEB)).replace(b"\n", b"\r\n") + b"\n\n").spiffe_id == SpiffeId.parse(WEB)


@pytest.mark.parametrize("nothing", [b"", b" \n\t\n"])
def test_an_empty_request_is_missing(nothing: bytes) -> None:
    assert fault_of(nothing) is CsrFault.MISSING


def test_the_longest_request_is_read_and_one_more_byte_is_not() -> None:
    pem = request(uri(WEB))
    assert read_csr(pem + b"\n" * (MAX_CSR - len(pem))).spiffe_id is not None
    assert fault_of(pem + b"\n" * (MAX_CSR - len(pem) + 1)) is CsrFault.TOO_LONG


@pytest.mark.parametrize(
    "pem",
    [
        b"certificate",
        request(uri(WEB)) * 2,
        b"subject=/CN=web\n" + request(uri(WEB)),
        request(uri(WEB)).replace(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"),
        request(uri(WEB)).replace(b"CERTIFICATE REQUEST", b"CERTIFICATE"),
        pem_of(der(request(uri(WEB))) + b"\0"),
        pem_of(der(request(uri(WEB)))[:-1]),
        pem_of(b""),
        der(request(uri(WEB))),
        request(uri(WEB)).replace(b"-----END", b"Proc-Type: 4,ENCRYPTED\n-----END"),
    ],
    ids=["text", "two", "text before", "old label", "other label", "more", "less", "empty", "DER", "headers"],
)
def test_what_is_not_one_block_with_one_request_is_malformed(pem: bytes) -> None:
    assert fault_of(pem) is CsrFault.MALFORMED


def test_names_twice_are_malformed() -> None:
    names = x509.SubjectAlternativeName([uri(WEB)])
    second = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.18"), names.public_bytes())
    pem = request(uri(WEB), extend=lambda builder: builder.add_extension(second, critical=False))
    # The issuer's alternative names become the subject's by one byte, and the request is signed anew by nobody.
    forged = pem_of(der(pem).replace(bytes.fromhex("0603551d12"), bytes.fromhex("0603551d11")))
    assert fault_of(forged) in (CsrFault.MALFORMED, CsrFault.SIGNATURE)


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),  # noqa: S505  # weak on purpose
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.SECP224R1()),
        dsa.generate_private_key(2048),
    ],
    ids=["RSA 1024", "secp256k1", "P-224", "DSA"],
)
def test_weak_keys_are_refused(key: object) -> None:
    assert fault_of(request(uri(WEB), key=key)) is CsrFault.KEY


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()])
def test_keys_of_other_kinds_are_refused(key: object) -> None:
    assert fault_of(request(uri(WEB), key=key, algorithm=None)) is CsrFault.KEY


def test_a_request_signed_by_another_key_proves_nothing() -> None:
    data = bytearray(der(request(uri(WEB))))
    data[-1] ^= 1
    assert fault_of(pem_of(bytes(data))) is CsrFault.SIGNATURE


def test_a_request_whose_key_was_exchanged_proves_nothing() -> None:
    own, other = (key.public_key().public_numbers() for key in (KEY, ec.generate_private_key(ec.SECP256R1())))
    point = own.x.to_bytes(32, "big") + own.y.to_bytes(32, "big")
    theirs = other.x.to_bytes(32, "big") + other.y.to_bytes(32, "big")
    exchanged = der(request(uri(WEB))).replace(point, theirs)
    assert fault_of(pem_of(exchanged)) is CsrFault.SIGNATURE


@pytest.mark.parametrize(
    "names",
    [
        (uri(WEB), uri("spiffe://td.example/ns/shop/sa/admin")),
        (uri(WEB), x509.DNSName("web.shop")),
        (x509.DNSName("web.shop"),),
        (uri(WEB), x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01a")),
        (uri(WEB), x509.RFC822Name("web@td.example")),
    ],
    ids=["two URIs", "URI and host", "host", "URI and other name", "URI and mail"],
)
def test_more_than_one_name_is_refused(names: tuple[x509.GeneralName, ...]) -> None:
    assert fault_of(request(*names)) is CsrFault.ASKS_FOR_MORE


@pytest.mark.parametrize(
    "text",
    [
        "https://td.example/a",
        "Spiffe://td.example/a",
        "spiffe://td.example/a\n",
        "spiffe://td.example/a\0/b",
        "spiffe://td.example/a/",
        "spiffe://td.example//a",
        "spiffe://td.example/../a",
        "spiffe://td.example/%61",
        "spiffe://td.example:443/a",
        "spiffe://td.example/a?b",
        "spiffe://td.example",
        "spiffe://td.example/" + "a" * 2048,
    ],
)
def test_a_name_that_is_no_workloads_is_refused(text: str) -> None:
    assert fault_of(request(uri(text))) is CsrFault.NAME


@pytest.mark.parametrize(
    ("extension", "critical"),
    [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (usage(digital_signature=True, key_cert_sign=True), True),
        (usage(crl_sign=True), True),
        (usage(key_agreement=True), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
        (x509.NameConstraints([x509.DNSName("a")], None), True),
        (x509.OCSPNoCheck(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_no_workload_has_is_refused(extension: x509.ExtensionType, *, critical: bool) -> None:
    pem = request(uri(WEB), extend=lambda builder: builder.add_extension(extension, critical=critical))
    assert fault_of(pem) is CsrFault.ASKS_FOR_MORE


def test_a_subject_is_refused() -> None:
    for oid, value in ((NameOID.COMMON_NAME, "web"), (NameOID.ORGANIZATION_NAME, "shop")):
        assert (
            fault_of(request(uri(WEB), subject=x509.Name([x509.NameAttribute(oid, value)]))) is CsrFault.ASKS_FOR_MORE
        )


def test_a_challenge_password_is_refused() -> None:
    pem = request(uri(WEB), extend=lambda b: b.add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"secret"))
    assert fault_of(pem) is CsrFault.ASKS_FOR_MORE


def test_many_names_cost_little_and_come_to_nothing() -> None:
    pem = request(*(uri(f"spiffe://td.example/{number}") for number in range(1500)))
    assert len(pem) <= MAX_CSR
    assert fault_of(pem) is CsrFault.ASKS_FOR_MORE


SOUND = der(request(uri(WEB)))


@given(st.data())
def test_a_damaged_request_is_refused_and_nothing_else_happens(data: st.DataObject) -> None:
    damaged = bytearray(SOUND)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    if bytes(damaged) != SOUND:
        assert fault_of(pem_of(bytes(damaged))) in CsrFault


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    assert fault_of(data) in CsrFault
    assert fault_of(pem_of(data)) in CsrFault
