"""Nothing leaves that is not what was meant: every field of a profile, and the signature."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from ca import Authority, RecheckError, Signer
from ca.der import certificate_to_der
from ca.profile import Profile, leaf_profile
from ca.recheck import recheck, recheck_leaf
from ca.signature import algorithm_of, sign
from identity import SpiffeId, TrustDomain, require_strong_key
from tests.unit.identity.chains import AT, der, key_usage, new_key

TD = TrustDomain.parse("td.example")
WEB = SpiffeId.for_workload(TD, namespace="shop", service_account="web")
SECOND = timedelta(seconds=1)

AUTHORITY = Authority.create(TD, at=AT)
ISSUER = AUTHORITY.intermediate.certificate


def profile_of(spiffe_id: SpiffeId = WEB, *, public_key: object = None) -> Profile:
    return leaf_profile(
        spiffe_id,
        require_strong_key(public_key or new_key("p256").public_key()),
        at=AT,
        ttl=timedelta(hours=1),
        chain=(ISSUER, AUTHORITY.root),
    )


def names(*uris: str, critical: bool = True) -> x509.Extension[x509.SubjectAlternativeName]:
    value = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
    return x509.Extension(value.oid, critical, value)


PROFILE = profile_of()
CHANGES: dict[str, tuple[Any, ...]] = {
    "subject": (ISSUER.subject,),
    "not_before": (PROFILE.not_before - SECOND, PROFILE.not_before + SECOND),
    "not_after": (PROFILE.not_after - SECOND, PROFILE.not_after + SECOND),
    "public_key": (new_key("p256").public_key(),),
    "names": (names(), names(str(WEB), str(WEB)), names(f"{WEB}2"), names(str(WEB), critical=False)),
    "basic_constraints": (x509.BasicConstraints(ca=True, path_length=None),),
    "key_usage": (
        key_usage("digital_signature", "key_cert_sign"),
        key_usage("digital_signature", "key_encipherment"),
    ),
    "extended_key_usage": (None, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])),
    "subject_key": (x509.SubjectKeyIdentifier(b"\0" * 20),),
}


def leaf_of(der: bytes, profile: Profile) -> x509.Certificate:
    return recheck_leaf(
        der,
        profile,
        spiffe_id=WEB,
        serial_number=x509.load_der_x509_certificate(der).serial_number,
        issuer=ISSUER,
        at=AT,
    )


def test_what_is_as_profiled_passes() -> None:
    signed = AUTHORITY.intermediate.sign(PROFILE)
    assert der([leaf_of(signed, PROFILE)]) == [signed]


def test_the_changes_below_touch_every_field_of_a_profile() -> None:
    assert set(CHANGES) == {field.name for field in fields(Profile)}


@pytest.mark.parametrize(("field", "change"), [(field, value) for field, values in CHANGES.items() for value in values])
def test_a_certificate_that_differs_from_its_profile_in_one_field_is_withheld(field: str, change: Any) -> None:
    signed = AUTHORITY.intermediate.sign(replace(PROFILE, **{field: change}))
    with pytest.raises(RecheckError, match="not as profiled"):
        recheck(signed, PROFILE, issuer=ISSUER)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("basic_constraints", x509.BasicConstraints(ca=True, path_length=None)),
        ("key_usage", key_usage("digital_signature", "key_cert_sign")),
        ("names", names(str(WEB), f"{WEB}2")),
        ("names", names("spiffe://td.example")),
    ],
)
def test_a_profile_that_would_not_verify_is_withheld_even_if_it_was_signed_as_meant(field: str, change: Any) -> None:
    profile = replace(PROFILE, **{field: change})
    with pytest.raises(RecheckError, match="refused at step"):
        leaf_of(AUTHORITY.intermediate.sign(profile), profile)


@pytest.mark.parametrize(("field", "change"), [("not_before", AT + SECOND), ("not_after", AT - SECOND)])
def test_a_leaf_that_is_not_valid_now_is_withheld(field: str, change: Any) -> None:
    profile = replace(PROFILE, **{field: change})
    with pytest.raises(RecheckError, match="not valid at"):
        leaf_of(AUTHORITY.intermediate.sign(profile), profile)


def test_a_leaf_that_proves_somebody_else_is_withheld() -> None:
    profile = profile_of(SpiffeId.for_workload(TD, namespace="shop", service_account="api"))
    with pytest.raises(RecheckError, match=r"it proves .*/sa/api"):
        leaf_of(AUTHORITY.intermediate.sign(profile), profile)


def test_a_leaf_of_another_issuer_is_withheld() -> None:
    with pytest.raises(RecheckError, match="issuer is not as profiled"):
        leaf_of(Authority.create(TD, at=AT).intermediate.sign(PROFILE), PROFILE)


@pytest.mark.parametrize("signed", [b"", b"\x30\x00", b"-----BEGIN CERTIFICATE-----"])
def test_what_cannot_be_read_again_is_withheld(signed: bytes) -> None:
    with pytest.raises(RecheckError, match="cannot be read"):
        recheck(signed, PROFILE, issuer=ISSUER)


def test_no_changed_byte_passes() -> None:
    signed = AUTHORITY.intermediate.sign(PROFILE)
    # The byte after the header of the signature says how many of its last bits are unused; pyca overlooks it.
    unused_bits = signed.index(x509.load_der_x509_certificate(signed).signature) - 1
    for index in set(range(len(signed))) - {unused_bits}:
        changed = bytearray(signed)
        changed[index] ^= 0x01
        with pytest.raises(RecheckError):
            recheck(bytes(changed), PROFILE, issuer=ISSUER)
    with pytest.raises(RecheckError):
        recheck(signed + b"\0", PROFILE, issuer=ISSUER)


def signed_with(*, serial: int, digest: hashes.SHA256 | hashes.SHA384) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(PROFILE.subject)
        .issuer_name(ISSUER.subject)
        .not_valid_before(PROFILE.not_before)
        .not_valid_after(PROFILE.not_after)
        .public_key(PROFILE.public_key)
        .serial_number(serial)
    )
    issuer_key = ISSUER.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    for extension in PROFILE.extensions(issuer_key):
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(AUTHORITY.intermediate.private_key, digest).public_bytes(Encoding.DER)


def test_a_serial_number_that_is_not_random_enough_is_withheld() -> None:
    recheck(signed_with(serial=2**63, digest=hashes.SHA256()), PROFILE, issuer=ISSUER)
    with pytest.raises(RecheckError, match="serial number"):
        recheck(signed_with(serial=2**63 - 1, digest=hashes.SHA256()), PROFILE, issuer=ISSUER)


def test_a_signature_by_another_algorithm_is_withheld() -> None:
    with pytest.raises(RecheckError, match="signature algorithm"):
        recheck(signed_with(serial=2**63, digest=hashes.SHA384()), PROFILE, issuer=ISSUER)


class FailingDevice(ec.EllipticCurvePrivateKey):
    """A key outside this process whose signatures are wrong, as faulty hardware makes them."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._key.curve

    @property
    def key_size(self) -> int:
        return self._key.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._key.public_key()

    def sign(self, data: Any, signature_algorithm: Any) -> bytes:
        return self._key.sign(bytes(data) + b"\0", signature_algorithm)

    def exchange(self, *_: object) -> NoReturn:
        raise NotImplementedError

    def private_numbers(self) -> NoReturn:
        raise NotImplementedError

    def private_bytes(self, *_: object) -> NoReturn:
        raise NotImplementedError

    def __copy__(self) -> "FailingDevice":
        return self

    def __deepcopy__(self, memo: object) -> "FailingDevice":
        return self


class Device(FailingDevice):
    """The same in good order."""

    def sign(self, data: Any, signature_algorithm: Any) -> bytes:
        return self._key.sign(data, signature_algorithm)


def authority_with(device: type[FailingDevice]) -> Authority:
    key = AUTHORITY.intermediate.private_key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return replace(AUTHORITY, intermediate=Signer(ISSUER, device(key)))


def test_a_key_outside_this_process_signs() -> None:
    assert authority_with(Device).issue_with_new_key(WEB, at=AT).spiffe_id == WEB


def test_a_wrong_signature_does_not_leave_the_authority() -> None:
    with pytest.raises(RecheckError, match="signature does not verify"):
        authority_with(FailingDevice).issue_with_new_key(WEB, at=AT)


def resigned(tbs: bytes) -> bytes:
    """A certificate of what is to be signed, with a signature that verifies."""
    key = AUTHORITY.intermediate.private_key
    algorithm = algorithm_of(key.public_key()).identifier
    return certificate_to_der(tbs, algorithm, sign(key, tbs))


@pytest.mark.filterwarnings("ignore:Parsed a serial number which wasn't positive")
def test_no_changed_byte_passes_where_others_of_the_name_were_proved_before_even_if_it_is_signed() -> None:
    issued = AUTHORITY.issue_with_new_key(WEB, at=AT)
    profile = profile_of(public_key=issued.leaf.public_key())
    tbs = issued.leaf.tbs_certificate_bytes
    serial_number = issued.leaf.serial_number

    def checked(der: bytes) -> x509.Certificate:
        return recheck_leaf(der, profile, spiffe_id=WEB, serial_number=serial_number, issuer=ISSUER, at=AT)

    # Twice: the second time it is compared with what the first has proved.
    for _ in range(2):
        assert checked(resigned(tbs)).tbs_certificate_bytes == tbs
    for index in range(len(tbs)):
        for mask in (0x01, 0x80):
            changed = bytearray(tbs)
            changed[index] ^= mask
            with pytest.raises(RecheckError):
                checked(resigned(bytes(changed)))
    with pytest.raises(RecheckError):
        checked(resigned(tbs + b"\0"))
    with pytest.raises(RecheckError, match="it proves"):
        recheck_leaf(
            resigned(tbs),
            profile,
            spiffe_id=SpiffeId.for_workload(TD, namespace="shop", service_account="api"),
            serial_number=serial_number,
            issuer=ISSUER,
            at=AT,
        )
    with pytest.raises(RecheckError, match="serial number"):
        recheck_leaf(resigned(tbs), profile, spiffe_id=WEB, serial_number=serial_number + 1, issuer=ISSUER, at=AT)
