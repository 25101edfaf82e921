"""What the authority issues, property by property, and what it refuses."""

import pickle
import shutil
import ssl
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ca import (
    MAX_TTL,
    MIN_TTL,
    Authority,
    AuthorityError,
    RefusedKeyError,
    RefusedLifetimeError,
    RefusedNameError,
    Signer,
)
from identity import SpiffeId, TrustDomain, X509Svid, verify_x509_svid
from tests.unit.identity.chains import AT, SOUND, build, key_usage, new_key

TD = TrustDomain.parse("td.example")
WEB = SpiffeId.for_workload(TD, namespace="shop", service_account="web")
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(TD, at=AT)


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> x509.Certificate:
    return authority.issue_with_new_key(WEB, at=AT).leaf


def extension(certificate: x509.Certificate, kind: type[Any]) -> x509.Extension[Any]:
    return certificate.extensions.get_extension_for_class(kind)


# The leaf, row by row of the profile.


def test_an_issued_svid_verifies_against_the_authoritys_bundle(authority: Authority) -> None:
    svid = authority.issue_with_new_key(WEB, at=AT)
    assert svid.spiffe_id == WEB
    assert verify_x509_svid(svid.chain, [authority.bundle], at=AT) == WEB


def test_a_leaf_has_no_subject_and_one_uri_in_critical_names(leaf: x509.Certificate) -> None:
    names = extension(leaf, x509.SubjectAlternativeName)
    assert leaf.subject == x509.Name([])
    assert names.critical
    assert list(names.value) == [x509.UniformResourceIdentifier(str(WEB))]


def test_dns_names_are_there_only_if_asked_for(authority: Authority) -> None:
    svid = authority.issue_with_new_key(WEB, at=AT, dns_names=("web.shop.svc", "web"))
    assert list(extension(svid.leaf, x509.SubjectAlternativeName).value) == [
        x509.UniformResourceIdentifier(str(WEB)),
        x509.DNSName("web.shop.svc"),
        x509.DNSName("web"),
    ]


def test_a_leaf_is_critically_no_authority(leaf: x509.Certificate) -> None:
    constraints = extension(leaf, x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=False, path_length=None)


@pytest.mark.parametrize(
    ("kind", "usages"),
    [
        ("p256", ("digital_signature",)),
        ("p384", ("digital_signature",)),
        ("rsa2048", ("digital_signature", "key_encipherment")),
    ],
)
def test_a_leaf_may_make_signatures_and_with_rsa_encipher_keys(
    authority: Authority, kind: str, usages: tuple[str, ...]
) -> None:
    svid = authority.issue(WEB, new_key(kind).public_key(), at=AT)
    usage = extension(svid.leaf, x509.KeyUsage)
    assert usage.critical
    assert usage.value == key_usage(*usages)


def test_a_leaf_is_for_servers_and_clients(leaf: x509.Certificate) -> None:
    purposes = extension(leaf, x509.ExtendedKeyUsage)
    assert not purposes.critical
    assert set(purposes.value) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_a_leaf_names_its_key_and_its_issuers(authority: Authority, leaf: x509.Certificate) -> None:
    issuer = authority.intermediate.certificate
    own, issuers = extension(leaf, x509.SubjectKeyIdentifier), extension(leaf, x509.AuthorityKeyIdentifier)
    assert own.value == x509.SubjectKeyIdentifier.from_public_key(leaf.public_key())
    assert issuers.value.key_identifier == extension(issuer, x509.SubjectKeyIdentifier).value.digest
    assert (own.critical, issuers.critical) == (False, False)


def test_a_leaf_has_no_other_extension(leaf: x509.Certificate) -> None:
    assert len(leaf.extensions) == 6
    assert leaf.version is x509.Version.v3


def test_serial_numbers_are_random_positive_and_not_too_long(authority: Authority) -> None:
    key = new_key("p256").public_key()
    serials = [authority.issue(WEB, key, at=AT).leaf.serial_number for _ in range(20)]
    assert len(set(serials)) == 20
    assert all(0 < serial < 2**159 for serial in serials)
    assert max(serials) > 2**140


def test_a_leaf_is_valid_from_a_minute_ago_for_its_ttl(authority: Authority) -> None:
    at = AT + timedelta(microseconds=999_999)
    leaf = authority.issue_with_new_key(WEB, at=at, ttl=timedelta(minutes=30)).leaf
    assert leaf.not_valid_before_utc == AT - timedelta(seconds=60)
    assert leaf.not_valid_after_utc == AT + timedelta(minutes=30)
    assert authority.issue_with_new_key(WEB, at=AT).leaf.not_valid_after_utc == AT + timedelta(hours=1)


def test_the_given_public_key_is_certified_and_no_private_key_made(authority: Authority) -> None:
    key = new_key("p256").public_key()
    svid = authority.issue(WEB, key, at=AT)
    assert svid.leaf.public_key() == key
    assert svid.private_key is None


def test_a_new_key_is_on_p256_and_the_leafs(authority: Authority) -> None:
    one, other = (authority.issue_with_new_key(WEB, at=AT) for _ in range(2))
    assert isinstance(one.private_key, ec.EllipticCurvePrivateKey)
    assert isinstance(one.private_key.curve, ec.SECP256R1)
    assert one.private_key.public_key() == one.leaf.public_key() != other.leaf.public_key()


def test_the_chain_is_leaf_first_without_the_root(authority: Authority) -> None:
    svid = authority.issue_with_new_key(WEB, at=AT)
    assert svid.chain == (svid.leaf, authority.intermediate.certificate)
    assert authority.bundle.x509_authorities == (authority.root,)
    assert authority.bundle.trust_domain == TD


# The authority's own certificates.


@pytest.mark.parametrize(("role", "path_length"), [("root", 1), ("intermediate", 0)])
def test_a_signing_certificate_is_an_authority_and_an_svid_without_path(
    authority: Authority, role: str, path_length: int
) -> None:
    certificate = {"root": authority.root, "intermediate": authority.intermediate.certificate}[role]
    constraints, usage = extension(certificate, x509.BasicConstraints), extension(certificate, x509.KeyUsage)
    names = extension(certificate, x509.SubjectAlternativeName)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=path_length)
    assert usage.critical
    assert usage.value == key_usage("key_cert_sign", "crl_sign")
    assert list(names.value) == [x509.UniformResourceIdentifier("spiffe://td.example")]
    assert certificate.subject.rdns
    certificate.verify_directly_issued_by(authority.root)


def test_two_authorities_of_a_trust_domain_have_different_names(authority: Authority) -> None:
    other = Authority.create(TD, at=AT)
    assert other.root.subject != authority.root.subject
    assert other.intermediate.certificate.subject != authority.intermediate.certificate.subject


def test_an_intermediate_does_not_outlive_the_root() -> None:
    day = timedelta(days=1)
    authority = Authority.create(TD, at=AT, root_lifetime=day, intermediate_lifetime=7 * day)
    assert authority.intermediate.certificate.not_valid_after_utc == authority.root.not_valid_after_utc == AT + day


def test_an_authority_too_short_lived_to_sign_anything_is_refused() -> None:
    with pytest.raises(RefusedLifetimeError):
        Authority.create(TD, at=AT, root_lifetime=MIN_TTL - SECOND)
    with pytest.raises(RefusedLifetimeError):
        Authority.create(TD, at=AT, intermediate_lifetime=MIN_TTL - SECOND)
    Authority.create(TD, at=AT, root_lifetime=MIN_TTL).issue_with_new_key(WEB, at=AT, ttl=MIN_TTL)


def test_a_root_and_an_intermediate_that_do_not_belong_together_make_no_authority(authority: Authority) -> None:
    with pytest.raises(ValueError, match="did not issue"):
        replace(authority, root=Authority.create(TD, at=AT).root)


def test_a_key_that_is_not_the_certificates_makes_no_signer(authority: Authority) -> None:
    with pytest.raises(ValueError, match="not the certificate's"):
        replace(authority.intermediate, private_key=new_key("p256"))


def test_a_certificate_that_does_not_name_its_key_makes_no_signer() -> None:
    key = new_key("p256")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.not_valid_before(AT).not_valid_after(AT + MAX_TTL).serial_number(1)
    with pytest.raises(ValueError, match="no subject key identifier"):
        Signer(builder.sign(key, hashes.SHA256()), key)


# Lifetimes.


def test_a_ttl_out_of_bounds_is_refused(authority: Authority) -> None:
    for ttl in (MIN_TTL, MAX_TTL):
        authority.issue_with_new_key(WEB, at=AT, ttl=ttl)
    for ttl in (MIN_TTL - SECOND, MAX_TTL + SECOND, timedelta(0), timedelta(hours=-1)):
        with pytest.raises(RefusedLifetimeError, match="not 0:05:00 to 1 day") as caught:
            authority.issue_with_new_key(WEB, at=AT, ttl=ttl)
        assert caught.value.lifetime == ttl


def test_a_leaf_ends_with_the_intermediate() -> None:
    authority = Authority.create(TD, at=AT, intermediate_lifetime=timedelta(minutes=20))
    assert authority.issue_with_new_key(WEB, at=AT).leaf.not_valid_after_utc == AT + timedelta(minutes=20)


def authority_whose_root_ends_first() -> Authority:
    chain = build({**SOUND, "root": replace(SOUND["root"], to_hours=0.5)})
    intermediate = Signer(chain.certificates["intermediate"], chain.keys["intermediate"])
    return Authority(TD, chain.certificates["root"], intermediate)


def test_a_leaf_ends_with_a_root_that_ends_before_what_it_signed() -> None:
    svid = authority_whose_root_ends_first().issue_with_new_key(WEB, at=AT)
    assert svid.leaf.not_valid_after_utc == AT + timedelta(minutes=30)


def test_a_leaf_that_its_issuers_leave_less_than_the_minimum_is_refused() -> None:
    authority = authority_whose_root_ends_first()
    last = AT + timedelta(minutes=30) - MIN_TTL
    authority.issue_with_new_key(WEB, at=last)
    with pytest.raises(RefusedLifetimeError, match="renew it first"):
        authority.issue_with_new_key(WEB, at=last + SECOND)
    with pytest.raises(RefusedLifetimeError):
        authority.issue_with_new_key(WEB, at=AT + timedelta(days=365))


def test_nothing_is_issued_before_the_chain_is_valid(authority: Authority) -> None:
    with pytest.raises(RefusedLifetimeError, match="not valid yet"):
        authority.issue_with_new_key(WEB, at=AT - timedelta(seconds=61))
    authority.issue_with_new_key(WEB, at=AT - timedelta(seconds=60))


def test_a_time_without_a_time_zone_is_the_callers_mistake(authority: Authority) -> None:
    with pytest.raises(ValueError, match="time zone"):
        authority.issue_with_new_key(WEB, at=AT.replace(tzinfo=None))


# Names and keys.


@pytest.mark.parametrize(
    "text", ["spiffe://other.example/ns/shop/sa/web", "spiffe://x.td.example/a", "spiffe://td.example"]
)
def test_a_name_that_is_not_a_workloads_of_this_trust_domain_is_refused(authority: Authority, text: str) -> None:
    with pytest.raises(RefusedNameError) as caught:
        authority.issue_with_new_key(SpiffeId.parse(text), at=AT)
    assert caught.value.name == text


@pytest.mark.parametrize(
    "name",
    [
        "",
        "*",
        "*.shop",
        "Web",
        "web.",
        ".web",
        "-web",
        "web-",
        "a..b",
        "web\n",
        "we\0b",
        "wéb",
        "a_b",
        "a" * 64,
        ".".join(["a" * 63] * 4),
        "spiffe://td.example/x",
        "10.0.0.1\r\n",
    ],
)
def test_a_dns_name_that_is_none_is_refused(authority: Authority, name: str) -> None:
    with pytest.raises(RefusedNameError):
        authority.issue_with_new_key(WEB, at=AT, dns_names=("web", name))


def test_the_longest_dns_names_are_certified(authority: Authority) -> None:
    longest = ".".join(["a" * 63] * 3 + ["a" * 61])
    assert len(longest) == 253
    authority.issue_with_new_key(WEB, at=AT, dns_names=(longest, "a" * 63))
    with pytest.raises(RefusedNameError):
        authority.issue_with_new_key(WEB, at=AT, dns_names=(longest + "a",))


@pytest.mark.parametrize("kind", ["p224", "p521", "secp256k1", "ed25519", "ed448"])
def test_a_key_of_another_kind_or_curve_is_refused(authority: Authority, kind: str) -> None:
    with pytest.raises(RefusedKeyError):
        authority.issue(WEB, new_key(kind).public_key(), at=AT)


@pytest.mark.parametrize("kind", ["rsa1024", "rsa2047", "rsa4097", "rsa2048e3"])
def test_an_rsa_key_out_of_bounds_is_refused(authority: Authority, kind: str) -> None:
    with pytest.raises(RefusedKeyError, match="RSA"):
        authority.issue(WEB, new_key(kind), at=AT)


def test_the_authoritys_own_keys_are_refused(authority: Authority) -> None:
    for certificate in (authority.root, authority.intermediate.certificate):
        with pytest.raises(RefusedKeyError, match="authority's own"):
            authority.issue(WEB, certificate.public_key(), at=AT)


def test_a_private_key_is_no_public_key_and_is_not_shown(authority: Authority) -> None:
    key = new_key("p256")
    with pytest.raises(RefusedKeyError) as caught:
        authority.issue(WEB, key, at=AT)
    assert str(key.private_numbers().private_value) not in repr(caught.value)


def test_private_keys_are_never_shown_and_never_pickled(authority: Authority) -> None:
    for thing in (authority, authority.intermediate, authority.issue_with_new_key(WEB, at=AT)):
        assert "key" not in repr(thing) + str(thing)
        with pytest.raises(TypeError):
            pickle.dumps(thing)


def test_every_refusal_is_an_authority_error() -> None:
    assert all(issubclass(kind, AuthorityError) for kind in (RefusedKeyError, RefusedLifetimeError, RefusedNameError))


# Real verifiers.


def write(directory: Path, svid: X509Svid, authority: Authority) -> tuple[Path, Path, Path]:
    chain, key, roots = directory / "chain.pem", directory / "key.pem", directory / "roots.pem"
    chain.write_bytes(svid.chain_to_pem())
    roots.write_bytes(authority.bundle.to_pem())
    if svid.private_key is not None:
        key.write_bytes(svid.private_key_to_unencrypted_pem())
    return chain, key, roots


def openssl_verify(chain: Path, roots: Path, purpose: str) -> subprocess.CompletedProcess[str]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not on PATH")
    at = str(int(AT.timestamp()))
    return subprocess.run(  # noqa: S603  # the real verifier, on files of this test
        [
            openssl,
            "verify",
            "-x509_strict",
            "-purpose",
            purpose,
            "-attime",
            at,
            "-CAfile",
            str(roots),
            "-untrusted",
            str(chain),
            str(chain),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
def test_openssl_verifies_what_is_issued_by_its_strictest_rules(
    authority: Authority, tmp_path: Path, kind: str, purpose: str
) -> None:
    svid = authority.issue(WEB, new_key(kind).public_key(), at=AT, dns_names=("web.shop",))
    chain, _, roots = write(tmp_path, svid, authority)
    verified = openssl_verify(chain, roots, purpose)
    assert verified.returncode == 0, verified.stderr


def test_openssl_verifies_nothing_of_another_authority(authority: Authority, tmp_path: Path) -> None:
    chain, _, roots = write(tmp_path, authority.issue_with_new_key(WEB, at=AT), Authority.create(TD, at=AT))
    assert openssl_verify(chain, roots, "sslserver").returncode != 0


@dataclass
class Peer:
    """One end of a TLS connection in memory."""

    connection: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    done: bool = False

    @classmethod
    def of(cls, svid: X509Svid, authority: Authority, directory: Path, *, protocol: int, server: bool) -> "Peer":
        directory.mkdir()
        chain, key, roots = write(directory, svid, authority)
        context = ssl.SSLContext(protocol)
        context.check_hostname = False  # SPIFFE peers are known by their URI
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(chain, key)
        context.load_verify_locations(roots)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        return cls(context.wrap_bio(incoming, outgoing, server_side=server), incoming, outgoing)

    def step(self) -> None:
        try:
            self.connection.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.done = True


def test_two_workloads_complete_mutual_tls(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    authority = Authority.create(TD, at=now)
    api = SpiffeId.for_workload(TD, namespace="shop", service_account="api")
    client = Peer.of(
        authority.issue_with_new_key(WEB, at=now),
        authority,
        tmp_path / "client",
        protocol=ssl.PROTOCOL_TLS_CLIENT,
        server=False,
    )
    server = Peer.of(
        authority.issue_with_new_key(api, at=now),
        authority,
        tmp_path / "server",
        protocol=ssl.PROTOCOL_TLS_SERVER,
        server=True,
    )
    for _ in range(6):
        client.step()
        server.incoming.write(client.outgoing.read())
        server.step()
        client.incoming.write(server.outgoing.read())
    assert client.done
    assert server.done
    for end, peer in ((client, api), (server, WEB)):
        certificate = end.connection.getpeercert(binary_form=True)
        assert certificate is not None
        shown = x509.load_der_x509_certificate(certificate)
        assert (
            verify_x509_svid(
                (shown, authority.intermediate.certificate),
                [authority.bundle],
                at=now,
            )
            == peer
        )
