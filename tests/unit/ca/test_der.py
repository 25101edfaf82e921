"""What is put together by hand is, byte for byte, what pyca's builder makes."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given, settings
from hypothesis import strategies as st

from ca.der import certificate_to_der, extensions_to_der, tbs_to_der
from ca.keys import KeyType, SigningKey
from ca.keys.key_type import generate
from ca.profile import Profile, intermediate_profile, leaf_profile, root_profile
from ca.signature import algorithm_of, require_signature, sign
from ca.signer import Signer
from identity import SpiffeId, TrustDomain
from tests.unit.identity.chains import AT, new_key

TD = TrustDomain.parse("td.example")
ROOT = Signer.new_root(TD, at=AT, lifetime=timedelta(days=365))
KEYS: dict[KeyType, SigningKey] = {kind: generate(kind) for kind in KeyType if kind is not KeyType.RSA_4096}

segments = st.text("abcXYZ019._-", min_size=1, max_size=40).filter(lambda text: text.strip("."))
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
serials = st.integers(1, 2**159 - 1)


def built(profile: Profile, serial: int) -> bytes:
    builder = x509.CertificateBuilder(
        issuer_name=ROOT.certificate.subject,
        subject_name=profile.subject,
        public_key=profile.public_key,
        serial_number=serial,
        not_valid_before=profile.not_before,
        not_valid_after=profile.not_after,
    )
    for extension in profile.extensions(ROOT.subject_key):
        builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(ROOT.private_key, hashes.SHA256()).tbs_certificate_bytes


def put_together(profile: Profile, serial: int) -> bytes:
    return tbs_to_der(
        serial_number=serial,
        algorithm=algorithm_of(ROOT.private_key.public_key()).identifier,
        issuer=ROOT.certificate.subject,
        not_before=profile.not_before,
        not_after=profile.not_after,
        subject=profile.subject,
        public_key=profile.public_key,
        extensions=extensions_to_der(profile.extensions(ROOT.subject_key)),
    )


@given(
    path=st.lists(segments, min_size=1, max_size=30),
    names=st.lists(labels, max_size=30),
    minutes=st.integers(5, 24 * 60),
    kind=st.sampled_from(["p256", "p384", "rsa2048"]),
    serial=serials,
)
@settings(max_examples=80, deadline=None)
def test_a_leaf_is_what_the_builder_makes(
    path: list[str], names: list[str], minutes: int, kind: str, serial: int
) -> None:
    profile = leaf_profile(
        SpiffeId.parse("spiffe://td.example/" + "/".join(path)),
        new_key(kind).public_key(),
        at=AT,
        ttl=timedelta(minutes=minutes),
        chain=(ROOT.certificate,),
        dns_names=tuple(names),
    )
    assert put_together(profile, serial) == built(profile, serial)


@given(at=st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)), serial=serials, kind=st.sampled_from(list(KEYS)))  # noqa: DTZ001  # made aware below
@settings(max_examples=80, deadline=None)
def test_a_root_of_any_year_and_key_is_what_the_builder_makes(at: datetime, serial: int, kind: KeyType) -> None:
    at = at.replace(tzinfo=UTC)
    profile = root_profile(TD, KEYS[kind].public_key(), at=at, lifetime=timedelta(days=365))
    assert put_together(profile, serial) == built(profile, serial)


def test_an_intermediate_is_what_the_builder_makes() -> None:
    key = KEYS[KeyType.P384].public_key()
    profile = intermediate_profile(TD, key, at=AT, lifetime=timedelta(days=7), root=ROOT.certificate)
    assert put_together(profile, 1) == built(profile, 1)


@pytest.mark.parametrize("kind", KEYS)
def test_each_kind_of_key_signs_by_its_own_algorithm(kind: KeyType) -> None:
    key = KEYS[kind]
    algorithm = algorithm_of(key.public_key())
    tbs = put_together(root_profile(TD, key.public_key(), at=AT, lifetime=timedelta(days=1)), 2**100)
    signature = sign(key, tbs)
    require_signature(key.public_key(), signature, tbs)
    certificate = x509.load_der_x509_certificate(certificate_to_der(tbs, algorithm.identifier, signature))
    assert certificate.signature_algorithm_oid == algorithm.oid
    digest = {KeyType.P384: "sha384", KeyType.ED25519: None}.get(kind, "sha256")
    found = certificate.signature_hash_algorithm
    assert (found.name if found else None) == digest


@pytest.mark.parametrize("kind", ["p224", "p521", "secp256k1"])
def test_on_other_curves_nothing_is_signed(kind: str) -> None:
    key = new_key(kind)
    with pytest.raises(ValueError, match="nothing is signed on curve"):
        sign(key, b"")
    with pytest.raises(ValueError, match="nothing is signed on curve"):
        algorithm_of(key.public_key())
    with pytest.raises(ValueError, match="nothing is signed on curve"):
        Signer.root(TD, key, at=AT, lifetime=timedelta(days=1))
