"""X509-SVID standard, sections 2 to 5: what verifies, and what each defect is refused for."""

import pickle
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from identity import Bundle, SpiffeId, Step, SvidVerificationError, TrustDomain, X509Svid, verify_x509_svid
from tests.unit.identity.chains import AT, SOUND, Chain, build, der, plans_with, resigned, sign

DEFECTS = {path.stem: path for path in sorted((Path(__file__).parents[2] / "vectors" / "svid").glob("*.yaml"))}

WEB = SpiffeId.parse("spiffe://td.example/ns/shop/sa/web")


@pytest.fixture(scope="module")
def sound() -> Chain:
    return build(SOUND)


def refusal(chain: list[x509.Certificate], *bundles: Bundle, at: datetime = AT) -> SvidVerificationError:
    with pytest.raises(SvidVerificationError) as caught:
        verify_x509_svid(chain, bundles, at=at)
    return caught.value


# What verifies.


def test_a_sound_chain_proves_its_spiffe_id(sound: Chain) -> None:
    assert verify_x509_svid(sound.sound_order, [sound.bundle()], at=AT) == WEB


@pytest.mark.parametrize(
    "changes",
    [
        {"leaf": {"dns": ["web.shop", "web.shop.svc"]}},
        {"leaf": {"subject": "web"}},
        {"leaf": {"usage": ["digital_signature", "key_encipherment", "key_agreement"]}},
        {"leaf": {"purposes": None}},
        {"leaf": {"purposes": ["server_auth", "client_auth", "code_signing"]}},
        {"leaf": {"authority": None}},
        {"leaf": {"unknown_extension": "not critical"}},
        {"leaf": {"key": "p384"}},
        {"leaf": {"key": "rsa2048"}},
        {"leaf": {"key": "rsa4096"}},
        {"intermediate": {"key": "p384", "hash": "sha384"}},
        {"intermediate": {"key": "rsa2048"}},
        {"root": {"key": "rsa2048"}},
        {"intermediate": {"path_length": None}, "root": {"path_length": None}},
        {"intermediate": {"uris": []}, "root": {"uris": []}},
        {"intermediate": {"uris": ["https://example.com/policy"]}},
        {"intermediate": {"purposes": ["any"]}},
        {"intermediate": {"purposes": ["server_auth", "client_auth"]}},
        {"intermediate": {"usage": ["digital_signature", "key_cert_sign"]}},
        {"root": {"path_length": 2}, "intermediate": {"path_length": 1}, "second": {}},
        {"root": {"path_length": 3}, "intermediate": {"path_length": 2}, "second": {"path_length": 1}, "third": {}},
    ],
    ids=repr,
)
def test_what_the_standard_leaves_open_verifies(changes: dict[str, dict[str, Any]]) -> None:
    chain = build(plans_with(changes))
    assert verify_x509_svid(chain.sound_order, [chain.bundle()], at=AT) == WEB


def test_a_leaf_signed_by_the_root_itself_verifies() -> None:
    chain = build({role: SOUND[role] for role in ("root", "leaf")})
    assert verify_x509_svid(chain.present("leaf"), [chain.bundle()], at=AT) == WEB


def test_a_peer_may_send_the_root_as_well(sound: Chain) -> None:
    chain = sound.present("leaf", "intermediate", "root")
    assert verify_x509_svid(chain, [sound.bundle()], at=AT) == WEB


def test_what_follows_the_certificate_that_an_authority_issued_is_not_trusted_for_anything(sound: Chain) -> None:
    stranger = build(SOUND)
    chain = [*sound.sound_order, *stranger.present("intermediate")]
    assert verify_x509_svid(chain, [sound.bundle()], at=AT) == WEB
    assert refusal(chain, stranger.bundle()).step is Step.ISSUER


def test_an_intermediate_may_itself_be_the_authority_of_a_bundle(sound: Chain) -> None:
    bundle = sound.bundle("td.example", "intermediate")
    assert verify_x509_svid(sound.present("leaf"), [bundle], at=AT) == WEB


def test_every_authority_of_a_bundle_counts_while_roots_rotate(sound: Chain) -> None:
    # The same name and another key, as some authorities have it; and the same key with an end that has passed.
    other = build(SOUND).certificates["root"]
    root = sound.certificates["root"]
    ended = sign(replace(SOUND["root"], to_hours=-0.5), root.public_key(), root.issuer, sound.keys["root"])
    for authorities in ((other, ended, root), (root, ended, other), (ended, root)):
        bundle = Bundle(TrustDomain.parse("td.example"), authorities)
        assert verify_x509_svid(sound.sound_order, [bundle], at=AT) == WEB
    only_ended = Bundle(TrustDomain.parse("td.example"), (other, ended))
    assert refusal(sound.sound_order, only_ended).step is Step.VALIDITY


def test_both_ends_of_validity_belong_to_it(sound: Chain) -> None:
    for at in (AT - timedelta(hours=1), AT + timedelta(hours=1)):
        assert verify_x509_svid(sound.sound_order, [sound.bundle()], at=at) == WEB
    second = timedelta(seconds=1)
    assert refusal(sound.sound_order, sound.bundle(), at=AT - timedelta(hours=1) - second).step is Step.VALIDITY
    assert refusal(sound.sound_order, sound.bundle(), at=AT + timedelta(hours=1) + second).step is Step.VALIDITY


def test_the_time_is_an_instant_in_whatever_time_zone(sound: Chain) -> None:
    at = AT.astimezone(timezone(timedelta(hours=9)))
    assert verify_x509_svid(sound.sound_order, [sound.bundle()], at=at) == WEB


def test_a_time_without_a_time_zone_is_the_callers_mistake(sound: Chain) -> None:
    with pytest.raises(ValueError, match="time zone"):
        verify_x509_svid(sound.sound_order, [sound.bundle()], at=AT.replace(tzinfo=None))


# What does not: one file a defect, named by it. `chain` changes the sound plans by role (`chains.Plan` has the fields; a
# role that is not root, intermediate or leaf is one more intermediate above the leaf), `present` is what the peer sends,
# leaf first, and `authorities` are those of the bundle.


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_chain_with_a_defect_is_refused_for_it(defect: str) -> None:
    vector = yaml.safe_load(DEFECTS[defect].read_text(encoding="utf-8"))
    chain = build(plans_with(vector.get("chain", {})))
    stranger = build(SOUND)
    presented = chain.present(*vector.get("present", ["leaf", "intermediate"]))
    authorities = [
        stranger.certificates["root"] if role == "stranger" else chain.certificates[role]
        for role in vector.get("authorities", ["root"])
    ]
    found = refusal(presented, Bundle(TrustDomain.parse("td.example"), tuple(authorities)))

    expected = vector["refused"]
    assert (found.step, found.position) == (Step(expected["step"]), expected["position"]), found
    assert expected["reason"] in found.reason
    assert expected["step"] in str(found)


def test_every_step_has_a_defect() -> None:
    refused = {yaml.safe_load(path.read_text(encoding="utf-8"))["refused"]["step"] for path in DEFECTS.values()}
    assert refused == {step.value for step in Step}


def test_a_fifth_certificate_is_one_too_many_even_if_nothing_else_is_wrong() -> None:
    roles = ("intermediate", "second", "third", "fourth")
    deep = build(plans_with({role: {"path_length": None} for role in ("root", *roles)}))
    assert refusal(deep.sound_order, deep.bundle()).step is Step.CHAIN
    deep = build(plans_with({role: {"path_length": None} for role in ("root", *roles[:3])}))
    assert verify_x509_svid(deep.sound_order, [deep.bundle()], at=AT) == WEB


# The bundle.


def test_the_bundle_is_that_of_the_svids_own_trust_domain_and_never_a_union(sound: Chain) -> None:
    # Both trust domains are trusted; the authority of one names a workload of the other.
    other = build({**SOUND, "leaf": replace(SOUND["leaf"], uris=("spiffe://other.example/ns/shop/sa/web",))})
    bundles = [sound.bundle("td.example"), other.bundle("other.example")]
    assert str(verify_x509_svid(other.sound_order, bundles, at=AT)) == "spiffe://other.example/ns/shop/sa/web"

    forged = build({**SOUND, "leaf": SOUND["leaf"]})
    bundles = [sound.bundle("td.example"), forged.bundle("other.example")]
    assert refusal(forged.sound_order, *bundles).step is Step.ISSUER


def test_two_bundles_for_one_trust_domain_are_not_joined(sound: Chain) -> None:
    assert refusal(sound.sound_order, sound.bundle(), sound.bundle()).step is Step.BUNDLE


def test_without_bundles_nothing_verifies(sound: Chain) -> None:
    assert refusal(sound.sound_order).step is Step.BUNDLE


# What no builder makes, and what nobody has thought of.


def test_a_name_that_is_not_ascii_is_refused(sound: Chain) -> None:
    leaf = resigned(sound.certificates["leaf"], sound.keys["intermediate"], old=b"/sa/web", new=b"/sa/w\xe9b")
    found = refusal([leaf, *sound.present("intermediate")], sound.bundle())
    assert (found.step, found.reason) == (Step.CONTENT, "certificate is malformed")


def test_a_certificate_of_the_first_version_is_refused_even_with_extensions(sound: Chain) -> None:
    leaf = resigned(sound.certificates["leaf"], sound.keys["intermediate"], old=b"\xa0\x03\x02\x01\x02", new=b"")
    assert leaf.version is x509.Version.v1
    found = refusal([leaf, *sound.present("intermediate")], sound.bundle())
    assert found.reason == "certificate is not of version 3"


def test_an_extension_that_comes_twice_is_refused(sound: Chain) -> None:
    # Extended key usage (2.5.29.37) becomes a second key usage (2.5.29.15).
    leaf = resigned(sound.certificates["leaf"], sound.keys["intermediate"], old=b"\x55\x1d\x25", new=b"\x55\x1d\x0f")
    assert refusal([leaf, *sound.present("intermediate")], sound.bundle()).step is Step.CONTENT


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_negative_serial_number_is_refused(sound: Chain) -> None:
    serial = sound.certificates["leaf"].serial_number.to_bytes(20, "big")
    leaf = resigned(sound.certificates["leaf"], sound.keys["intermediate"], old=serial, new=b"\x80" + serial[1:])
    found = refusal([leaf, *sound.present("intermediate")], sound.bundle())
    assert "serial number" in found.reason


def test_signing_again_is_what_these_tests_think_it_is(sound: Chain) -> None:
    leaf = resigned(sound.certificates["leaf"], sound.keys["intermediate"], old=b"/sa/web", new=b"/sa/wed")
    proved = verify_x509_svid([leaf, *sound.present("intermediate")], [sound.bundle()], at=AT)
    assert str(proved) == "spiffe://td.example/ns/shop/sa/wed"


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@pytest.mark.parametrize("place", [0, 1], ids=["leaf", "intermediate"])
def test_nothing_signed_can_be_changed_in_any_byte(sound: Chain, place: int) -> None:
    encoded = der(sound.sound_order)
    survivors = []
    for index in range(len(encoded[place])):
        for mask in (0x01, 0x20, 0xFF):
            changed = bytearray(encoded[place])
            changed[index] ^= mask
            chain = list(sound.sound_order)
            try:
                chain[place] = x509.load_der_x509_certificate(bytes(changed))
            except (ValueError, x509.InvalidVersion):
                continue
            try:
                verify_x509_svid(chain, [sound.bundle()], at=AT)
            except SvidVerificationError:
                continue
            if signed_parts(chain[place]) != signed_parts(sound.sound_order[place]):
                survivors.append((index, mask))
    assert survivors == []


def signed_parts(certificate: x509.Certificate) -> tuple[bytes, bytes]:
    # pyca overlooks how many bits of a signature's last byte are said to be unused: another encoding of the same.
    return certificate.tbs_certificate_bytes, certificate.signature


# The value.


def test_a_private_key_is_never_shown_and_never_pickled() -> None:
    chain = build(SOUND)
    svid = X509Svid(WEB, tuple(chain.sound_order), private_key=chain.keys["leaf"])
    secret = str(chain.keys["leaf"].private_numbers().private_value)
    for text in (repr(svid), str(svid), f"{svid}"):
        assert "key" not in text
        assert secret not in text
    with pytest.raises(TypeError):
        pickle.dumps(svid)


def test_a_private_key_that_is_not_the_leafs_is_the_callers_mistake(sound: Chain) -> None:
    with pytest.raises(ValueError, match="not the leaf's"):
        X509Svid(WEB, tuple(sound.sound_order), private_key=sound.keys["intermediate"])


def test_an_svid_without_certificates_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="at least one certificate"):
        X509Svid(WEB, ())


def test_an_svid_in_pem_is_leaf_first_and_its_bundle_the_authorities(sound: Chain) -> None:
    svid = X509Svid(WEB, tuple(sound.sound_order), private_key=sound.keys["leaf"])
    assert x509.load_pem_x509_certificates(svid.chain_to_pem()) == sound.sound_order
    assert svid.private_key_to_unencrypted_pem().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert x509.load_pem_x509_certificates(sound.bundle().to_pem()) == sound.present("root")
    with pytest.raises(ValueError, match="without its private key"):
        X509Svid(WEB, tuple(sound.sound_order)).private_key_to_unencrypted_pem()
