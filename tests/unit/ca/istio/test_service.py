"""What Istio's agents are answered: the layout of the chain, and the code of everything that is refused (spec 2.7, 2.8)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from ca.attestation import Caller, KubernetesAttestor
from ca.audit import AuditEvent, Outcome
from ca.front import Front, TlsPeer
from ca.inventory import IssuedKind, RevocationReason
from ca.issuance import IssuedX509
from ca.istio.service import CertificateService
from ca.limits import Limits
from ca.phases import SlotKind
from ca.rotation import hurried
from identity import verify_x509_svid
from tests.unit.ca.clusters import TestCluster
from tests.unit.ca.istio.asking import ADDRESS, Asker, Heard, serving
from tests.unit.ca.offices import API, AT, BY, TD, WEB, TestOffice, caller, csr, office
from tests.unit.ca.test_csr import Builder, der, pem_of, request, uri, usage

EAST = TestCluster()
WEST = TestCluster("west", issuer="https://west.example")
TOKEN = EAST.token(at=AT)
AUTHENTICATION = "request authentication failure"
NAME = str(WEB)
WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505  # to be refused


@pytest.fixture
def made(tmp_path: Path) -> Iterator[TestOffice]:
    with office(tmp_path, istio_clusters=frozenset({"east"})) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestOffice]:
    """One for all that is refused and leaves nothing but a row of the audit."""
    with office(tmp_path_factory.mktemp("shared"), istio_clusters=frozenset({"east"})) as made:
        yield made


def run(
    made: TestOffice, directory: Path, scenario: Callable[[Asker], Awaitable[None]], *, limits: Limits | None = None
) -> None:
    async def main() -> None:
        tokens = KubernetesAttestor([EAST.known(directory, named_in=TD), WEST.known(directory)], default="east")
        inside = made.office if limits is None else replace(made.office, limits=limits)
        async with serving(directory, lambda front: CertificateService(inside, front, tokens=tokens)) as asker:
            await scenario(asker)

    asyncio.run(main())


def ask(made: TestOffice, directory: Path, *args: bytes | str, **said: object) -> Heard:
    heard = []

    async def scenario(asker: Asker) -> None:
        heard.append(await asker.ask(*args, **said))  # type: ignore[arg-type]  # handed on as they came

    run(made, directory, scenario)
    return heard[0]


def refusals(made: TestOffice) -> list[AuditEvent]:
    return [row.event for row in made.office.store.audit.list().rows if row.event.outcome is Outcome.REFUSED]


# What works


def test_the_chain_is_leaf_then_intermediates_then_all_roots_in_one(made: TestOffice, tmp_path: Path) -> None:
    heard = ask(made, tmp_path, csr(spiffe_id=WEB), token=TOKEN)
    assert (heard.code, len(heard.chain)) == (0, 3)
    assert all(each.startswith("-----BEGIN CERTIFICATE-----\n") and each.endswith("-----\n") for each in heard.chain)
    assert all(each.count("BEGIN") == 1 for each in heard.chain[:-1])
    bundle = made.office.signing.now().bundle
    assert tuple(heard.roots) == bundle.x509_authorities
    assert verify_x509_svid(heard.certificates, [bundle], at=AT) == WEB


def test_the_last_element_has_old_and_new_roots_while_they_change(made: TestOffice, tmp_path: Path) -> None:
    kept = made.office.store.authorities
    version = kept.load(TD)
    assert version is not None
    changed = hurried(version.authorities, SlotKind.ROOT, keys=made.keys, settings=made.office.settings, at=AT)
    kept.save(changed, before=version, by=BY, action="rotate", at=AT).result()
    made.office.signing.refresh()
    heard = ask(made, tmp_path, csr(spiffe_id=WEB), token=TOKEN)
    assert tuple(heard.roots) == made.office.signing.now().bundle.x509_authorities
    assert len(heard.roots) == 2
    assert len(heard.chain) == 3


def test_who_takes_an_answer_is_known_to_hold_its_roots(made: TestOffice, tmp_path: Path) -> None:
    ask(made, tmp_path, csr(spiffe_id=WEB), token=TOKEN)
    sequence = made.office.signing.now().bundle.sequence
    made.office.store.audit.append(AuditEvent(AT, BY, "x", Outcome.DONE)).result()  # what came before it is written
    assert made.office.consumers.acknowledged(at=AT) == {"istio:k8s:east:shop:web/u-1": sequence}


def test_what_was_issued_and_refused_is_counted(made: TestOffice, tmp_path: Path) -> None:
    ask(made, tmp_path, csr(spiffe_id=WEB), token=TOKEN)
    ask(made, tmp_path, csr(spiffe_id=WEB), token="a.b.c")  # noqa: S106  # none
    counters = made.office.counters
    assert counters.issued_by == {("istio", IssuedKind.X509): 1}
    assert counters.refused_by == {("istio", "unauthenticated"): 1}
    assert sum(counters.times["istio", IssuedKind.X509]) == 1


def test_a_request_without_a_name_is_for_the_callers_own(made: TestOffice, tmp_path: Path) -> None:
    made.entry(API, "k8s:sa:web")
    heard = ask(made, tmp_path, csr(), token=TOKEN)
    assert verify_x509_svid(heard.certificates, [made.office.signing.now().bundle], at=AT) == WEB


def test_what_agent_and_ztunnel_write_is_taken(made: TestOffice, tmp_path: Path) -> None:
    empty = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "", _validate=False)])
    of_agent = request(uri(NAME), subject=empty, key=rsa.generate_private_key(65537, 2048))
    of_ztunnel = request(uri(NAME), key=ec.generate_private_key(ec.SECP256R1()))

    async def scenario(asker: Asker) -> None:
        for pem in (of_agent, of_ztunnel):
            heard = await asker.ask(pem, token=TOKEN, ClusterID="east", WorkloadName="web", WorkloadIP="10.0.0.7")
            assert heard.code == 0

    run(made, tmp_path, scenario)


def test_a_cluster_may_be_named_once_left_open_or_be_named_twice_for_the_default(
    made: TestOffice, tmp_path: Path
) -> None:
    made.entry(API, "k8s:cluster:west")
    west = WEST.token(at=AT)

    async def scenario(asker: Asker) -> None:
        async def code(token: str, *clusters: str) -> int:
            named = tuple(("clusterid", cluster) for cluster in clusters)
            return (await asker.ask(csr(), token=token, metadata=named)).code

        assert await code(TOKEN) == await code(TOKEN, "") == await code(TOKEN, "east") == 0
        assert await code(TOKEN, "west", "west") == 0
        assert await code(west, "west") == 0
        assert await code(west) == await code(west, "west", "west") == await code(TOKEN, "north") == 16

    run(made, tmp_path, scenario)


def test_the_first_bearer_token_counts(made: TestOffice, tmp_path: Path) -> None:
    async def scenario(asker: Asker) -> None:
        async def code(*shown: str) -> int:
            return (await asker.ask(csr(), metadata=tuple(("authorization", each) for each in shown))).code

        assert await code("Basic eA==", f"Bearer {TOKEN}", "Bearer x") == 0
        assert await code("Bearer x", f"Bearer {TOKEN}") == 16
        assert await code(f"bearer {TOKEN}") == await code(TOKEN) == await code("Bearer ") == 16

    run(made, tmp_path, scenario)


# Lifetimes


@pytest.mark.parametrize(
    ("seconds", "code", "lives"),
    [
        (0, 0, timedelta(hours=1)),
        (-5, 0, timedelta(hours=1)),
        (-(2**63), 0, timedelta(hours=1)),
        (86400, 0, timedelta(hours=24)),
        (600, 0, timedelta(minutes=10)),
        (86401, 3, None),
        (2**63 - 1, 3, None),
        (1, 3, None),
    ],
)
def test_a_lifetime_is_the_default_what_was_asked_for_or_refused(
    made: TestOffice, tmp_path: Path, seconds: int, code: int, lives: timedelta | None
) -> None:
    heard = ask(made, tmp_path, csr(), token=TOKEN, seconds=seconds)
    assert heard.code == code
    if lives is not None:
        assert heard.certificates[0].not_valid_after_utc == AT + lives


# Who somebody is


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (None, "neither a token nor a certificate"),
        ("", "no compact JWS"),
        ("a.b.c", "no base64url"),
        ("x" * 16385, "more than 16384"),
        (EAST.token(at=AT - timedelta(hours=2)), "has expired"),
        (EAST.token(at=AT + timedelta(minutes=2)), "not valid yet"),
        (EAST.token(at=AT, aud=["kubernetes"]), "audience"),
        (EAST.token(at=AT, aud=["istio-ca", "vault"]), "audience"),
        (EAST.token(at=AT, iss="https://evil.example"), "another issuer"),
        (EAST.token(at=AT, key="evil"), "signature"),
        (EAST.token(at=AT, kid="gone"), "no key"),
        (EAST.token(at=AT, sub="system:serviceaccount"), "not a service account's"),
        (EAST.token(at=AT, sub="system:serviceaccount:shop:db"), "another service account"),
        (EAST.token(at=AT, sub="system:node:n1"), "not a service account's"),
        (EAST.token(at=AT, exp=int(AT.timestamp()) + 90000), "lives longer"),
        (EAST.token(at=AT, exp=...), "when it expires"),
        (WEST.token(at=AT), "another issuer"),
    ],
)
def test_all_failures_of_authentication_sound_the_same_and_the_audit_says_which(
    shared: TestOffice, tmp_path: Path, token: str | None, reason: str
) -> None:
    # What follows it is wrong as well, and is not told to strangers.
    heard = ask(shared, tmp_path, b"no request", token=token)
    assert (heard.code, heard.text) == (16, AUTHENTICATION)
    event = refusals(shared)[-1]
    assert (event.actor, event.action) == (ADDRESS, "istio certificate")
    assert reason in event.reason
    assert not token or token not in event.reason


def test_an_unknown_cluster_sounds_the_same(made: TestOffice, tmp_path: Path) -> None:
    heard = ask(made, tmp_path, csr(), token=TOKEN, metadata=(("clusterid", "north"),))
    assert (heard.code, heard.text) == (16, AUTHENTICATION)
    assert "'north' is not known" in refusals(made)[0].reason


def test_who_did_not_come_by_the_door_is_nobody(made: TestOffice, tmp_path: Path) -> None:
    fronts: list[Front[TlsPeer]] = []

    def service(front: Front[TlsPeer]) -> CertificateService:
        fronts.append(front)
        return CertificateService(made.office, front, tokens=KubernetesAttestor([EAST.known(tmp_path)], default="east"))

    async def main() -> None:
        async with serving(tmp_path, service) as asker:
            asker.address = fronts[0].inner_address
            answer = await asker.ask(csr(), token=TOKEN)
            assert (answer.code, answer.text) == (16, AUTHENTICATION)

    asyncio.run(main())


def test_a_certificate_that_is_good_renews_itself(made: TestOffice, tmp_path: Path) -> None:
    async def scenario(asker: Asker) -> None:
        first = await asker.ask(csr(), token=TOKEN)
        asker.leaf = first.certificates[0]
        renewed = await asker.ask(csr(spiffe_id=WEB))
        assert verify_x509_svid(renewed.certificates, [made.office.signing.now().bundle], at=AT) == WEB
        # An agent on a virtual machine shows its first token for ever.
        assert (await asker.ask(csr(), token=EAST.token(at=AT - timedelta(days=1)))).code == 0
        assert (await asker.ask(csr(spiffe_id=API))).code == 7
        serial = f"{asker.leaf.serial_number:x}"
        await made.office.store.inventory.revoke(serial, RevocationReason.SUPERSEDED, by=BY, at=AT)
        assert (await asker.ask(csr())).code == 16
        # By its token it is who it was before it had any.
        assert (await asker.ask(csr(), token=TOKEN)).code == 0

    run(made, tmp_path, scenario)


def test_a_certificate_of_somebody_else_proves_nothing(made: TestOffice, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with office(tmp_path / "other") as other:
        other.entry(WEB, "unix:uid:1000")
        foreign: IssuedX509 = asyncio.run(other.issue(caller("unix:uid:1000")))

    async def scenario(asker: Asker) -> None:
        asker.leaf = foreign.svid.leaf
        heard = await asker.ask(csr())
        assert (heard.code, heard.text) == (16, AUTHENTICATION)

    run(made, tmp_path, scenario)


# What a request may not ask for (spec 2.8)


def signing_request(builder: Builder) -> Builder:
    return builder.add_extension(usage(digital_signature=True, key_cert_sign=True), critical=True)


def authority_request(builder: Builder) -> Builder:
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)


def unknown_extension(builder: Builder) -> Builder:
    other = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    return builder.add_extension(other, critical=True)


def forged() -> bytes:
    data = bytearray(der(request(uri(NAME))))
    data[-1] ^= 1
    return pem_of(bytes(data))


VECTORS: dict[str, tuple[bytes | str, int, str]] = {
    "empty": ("", 3, "it is empty"),
    "not PEM": ("certificate", 3, "not one PEM block"),
    "not UTF-8 safe": ("\x00\ud7ff", 3, "not one PEM block"),
    "bad DER": (pem_of(b"\x30\x03\x02\x01\x00"), 3, "no PKCS #10"),
    "two blocks": (request(uri(NAME)) * 2, 3, "not one PEM block"),
    "bad signature": (forged(), 3, "signature"),
    "SHA-224": (request(uri(NAME), algorithm=hashes.SHA224()), 3, "SHA-256"),
    "RSA of 1024 bits": (request(uri(NAME), key=WEAK), 3, "1024 bits"),
    "secp256k1": (request(uri(NAME), key=ec.generate_private_key(ec.SECP256K1())), 3, "secp256k1"),
    "another's name": (request(uri(str(API))), 7, "may not have"),
    "a foreign trust domain": (request(uri("spiffe://evil.example/ns/shop/sa/web")), 7, "may not have"),
    "the trust domain": (request(uri("spiffe://example.org")), 3, "name of an authority"),
    "two names": (request(uri(NAME), uri(str(API))), 3, "2 names"),
    "no URI": (request(x509.DNSName("web.shop")), 3, "0 of them URIs"),
    "DNS beside": (request(uri(NAME), x509.DNSName("web.shop")), 3, "2 names"),
    "e-mail beside": (request(uri(NAME), x509.RFC822Name("a@b.example")), 3, "2 names"),
    "a newline": (request(uri(f"{NAME}\n")), 3, "invalid SPIFFE ID"),
    "a NUL": (request(uri(f"{NAME}\0x")), 3, "invalid SPIFFE ID"),
    "upper case": (request(uri("spiffe://EXAMPLE.org/ns/shop/sa/web")), 3, "invalid SPIFFE ID"),
    "a subject": (
        request(uri(NAME), subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web")])),
        3,
        "subject",
    ),
    "CA:TRUE": (request(uri(NAME), extend=authority_request), 3, "sign others"),
    "keyCertSign": (request(uri(NAME), extend=signing_request), 3, "key usage"),
    "an unknown extension": (request(uri(NAME), extend=unknown_extension), 3, "1.2.3.4"),
}


@pytest.mark.parametrize("vector", VECTORS)
def test_a_request_for_anything_else_is_refused(shared: TestOffice, tmp_path: Path, vector: str) -> None:
    pem, code, text = VECTORS[vector]
    heard = ask(shared, tmp_path, pem, token=TOKEN)
    assert heard.code == code
    assert text in heard.text
    event = refusals(shared)[-1]
    assert event.actor == "k8s:east:shop:web"


@pytest.mark.parametrize("question", [b"\xff", b"\x0a\x05abc", b"\x0a\x01\xff", b"\x22\x02\xff\xff", b"\0" * 100])
def test_bytes_that_are_no_request_are_malformed(
    shared: TestOffice, tmp_path: Path, question: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    async def scenario(asker: Asker) -> None:
        heard = await asker.send(question, metadata=(("authorization", f"Bearer {TOKEN}"),))
        assert heard.code == 3
        assert "no IstioCertificateRequest" in heard.text
        assert (await asker.send(question)).code == 16

    run(shared, tmp_path, scenario)
    assert "Traceback" not in capfd.readouterr().err


def test_what_is_larger_than_64_kib_is_not_read(made: TestOffice, tmp_path: Path) -> None:
    async def scenario(asker: Asker) -> None:
        assert (await asker.ask("x" * 65_000, token=TOKEN)).code == 3
        assert (await asker.ask("x" * 65_537, token=TOKEN)).code == 8

    run(made, tmp_path, scenario)


def test_a_key_of_another_name_is_refused(made: TestOffice, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())

    async def scenario(asker: Asker) -> None:
        assert (await asker.ask(csr(key), token=TOKEN)).code == 0
        heard = await asker.ask(csr(key), token=EAST.token("shop/api", at=AT))
        assert (heard.code, "another name has it" in heard.text) == (3, True)

    run(made, tmp_path, scenario)


def test_who_has_no_name_is_refused_for_good(made: TestOffice, tmp_path: Path) -> None:
    west = WEST.token(at=AT)
    heard = ask(made, tmp_path, csr(), token=west, metadata=(("clusterid", "west"),))
    assert (heard.code, heard.text) == (7, "no identity issued")


# What is worth another try


def test_too_many_requests_are_told_so_by_a_code_that_agents_try_again_after(made: TestOffice, tmp_path: Path) -> None:
    async def scenario(asker: Asker) -> None:
        heard = await asyncio.gather(*(asker.ask(csr(), token=TOKEN) for _ in range(10)))
        assert {each.code for each in heard} == {0, 8}

    run(made, tmp_path, scenario, limits=Limits(issue_per_second=1))


def test_strangers_are_counted_before_anything_is_computed(made: TestOffice, tmp_path: Path) -> None:
    codes: list[int] = []

    async def scenario(asker: Asker) -> None:
        codes.extend(each.code for each in await asyncio.gather(*(asker.ask(csr()) for _ in range(10))))

    run(made, tmp_path, scenario, limits=Limits(attest_per_second=1))
    assert set(codes) == {16, 8}
    assert len(refusals(made)) == codes.count(16)


def test_while_nothing_can_sign_agents_are_told_to_come_again(made: TestOffice, tmp_path: Path) -> None:
    made.clock.pass_by(timedelta(days=8))
    heard = ask(made, tmp_path, csr(), token=EAST.token(at=made.clock()))
    assert heard.code == 14
    assert refusals(made) == []


def test_while_the_keys_of_the_cluster_are_not_known_agents_are_told_to_come_again(
    made: TestOffice, tmp_path: Path
) -> None:
    made.entry(API, "k8s:cluster:west")

    async def scenario(asker: Asker) -> None:
        asker.leaf = (await asker.ask(csr(), token=WEST.token(at=AT), metadata=(("clusterid", "west"),))).certificates[
            0
        ]
        (tmp_path / "east.jwks").unlink()
        # Who shows a certificate as well needs no key of the cluster's.
        assert (await asker.ask(csr(), token=TOKEN)).code == 0
        asker.leaf = None
        heard = await asker.ask(csr(), token=TOKEN)
        assert heard.code == 14
        assert str(tmp_path) not in heard.text

    run(made, tmp_path, scenario)


def test_a_store_that_is_gone_is_worth_another_try_and_nobody_hears_where_it_was(
    made: TestOffice, tmp_path: Path
) -> None:
    async def scenario(asker: Asker) -> None:
        made.office.store.close()
        heard = await asker.ask(csr(), token=TOKEN)
        assert (heard.code, heard.text) == (14, "the authority cannot keep or sign anything now")

    run(made, tmp_path, scenario)


def test_what_nobody_foresaw_is_an_error_without_details(made: TestOffice, tmp_path: Path) -> None:
    class Broken:
        async def attest(self, token: str, *, cluster: str | None, at: datetime) -> Caller:
            raise ZeroDivisionError(f"{token} {cluster} {at}")

    async def main() -> None:
        service = partial(CertificateService, made.office, tokens=Broken())
        async with serving(tmp_path, service) as asker:
            answer = await asker.ask(csr(), token=TOKEN)
            assert (answer.code, answer.text) == (13, "the authority could not do it; its log says why")

    asyncio.run(main())


# Asking for others


@pytest.mark.parametrize("asked", [NAME, str(API), "", 7, None])
def test_without_a_list_of_pods_nobody_asks_for_others(shared: TestOffice, tmp_path: Path, asked: object) -> None:
    heard = ask(shared, tmp_path, csr(spiffe_id=API), token=TOKEN, ImpersonatedIdentity=asked)
    assert (heard.code, heard.text) == (16, "request impersonation authentication failure")
    assert "in the name of others" in refusals(shared)[-1].reason
