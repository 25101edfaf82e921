"""Certificates and tokens over HTTP: who gets what, and what those hear who do not (spec 2.8)."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from ca.attestation import Attestor, Caller, ServiceAccount
from ca.errors import AttestationError
from ca.inventory import InventoryFilter, IssuedKind, RevocationReason
from ca.joining import new_join_token
from ca.limits import Limits
from ca.rest import workloads_app
from ca.rest.guard import MAX_BODY
from ca.selector import Selector
from identity import SpiffeId, parse_bundle, verify_jwt_svid, verify_x509_svid
from tests.unit.ca.offices import API, AT, BY, TD, WEB, caller, csr
from tests.unit.ca.rest import asking
from tests.unit.ca.rest.asking import OPAQUE, Edge, bearer, edge, problem
from tests.unit.ca.test_csr import request, uri, usage

SERVICE_ACCOUNT = "header.claims.signature"
"""A token of a service account, to whoever verifies those in these tests."""


async def verified(token: str) -> Caller:
    if token != SERVICE_ACCOUNT:
        raise AttestationError("token has expired")
    return ServiceAccount("shop", "web").caller("c1")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Edge]:
    with edge(tmp_path, tokens=verified) as made:
        made.made.entry(WEB, "k8s:ns:shop", "k8s:sa:web")
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """For tests that leave it as it was, but for what they got."""
    with edge(tmp_path_factory.mktemp("shared"), tokens=verified) as made:
        made.made.entry(WEB, "k8s:ns:shop", "k8s:sa:web")
        yield made


def certify(
    made: Edge, pem: bytes | None = None, headers: dict[str, str] | None = None, **more: object
) -> httpx.Response:
    asked = {"csr": (pem or csr()).decode(errors="replace"), **more}
    return made.ask("POST", "/v1/x509-svid", json=asked, headers=headers or bearer(SERVICE_ACCOUNT))


def token(made: Edge, spiffe_id: SpiffeId = WEB, *, ttl: timedelta = timedelta(minutes=5)) -> str:
    async def new() -> str:
        return (await new_join_token(made.office.store, spiffe_id, ttl=ttl, by=BY, at=AT)).text

    return asyncio.run(new())


def chain_of(answer: httpx.Response) -> tuple[x509.Certificate, ...]:
    assert answer.status_code == 200, answer.text
    return tuple(x509.load_pem_x509_certificate(pem.encode()) for pem in answer.json()["chain"])


# What is had


def test_a_key_is_certified_and_all_that_a_peer_needs_comes_with_it(made: Edge) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    answer = certify(made, csr(key), ttl=600)
    chain, said = chain_of(answer), answer.json()
    assert chain[0].public_key() == key.public_key()
    bundle = made.office.signing.now().bundle
    assert verify_x509_svid(chain, [bundle], at=AT) == WEB
    assert said["spiffe_id"] == str(WEB)
    assert said["serial"] == f"{chain[0].serial_number:x}"
    assert said["expires"] == "2030-01-01T12:10:00Z"
    assert said["bundle"] == {"trust_domain": TD.name, "sequence": bundle.sequence, "pem": bundle.to_pem().decode()}
    assert answer.headers["cache-control"] == "no-store"
    assert made.office.counters.issued_by == {("rest", IssuedKind.X509): 1}


def test_a_token_is_made_for_its_audience(made: Edge) -> None:
    asked = {"audience": ["api"], "ttl": 60}
    answer = made.ask("POST", "/v1/jwt-svid", json=asked, headers=bearer(SERVICE_ACCOUNT))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    read = verify_jwt_svid(said["token"], [made.office.signing.now().bundle], audience="api", at=AT)
    assert (read.spiffe_id, said["expires"], said["audience"]) == (WEB, "2030-01-01T12:01:00Z", ["api"])
    assert answer.headers["cache-control"] == "no-store"
    assert made.office.store.inventory.get(said["id"]).intent.kind is IssuedKind.JWT


def test_a_join_token_gives_one_certificate_that_renews_itself(made: Edge) -> None:
    text = token(made, API)
    leaf = chain_of(certify(made, headers=bearer(text)))[0]
    assert problem(certify(made, headers=bearer(text))) == (401, "unauthenticated")
    asked = {"csr": csr().decode()}
    renewed = chain_of(made.ask("POST", "/v1/x509-svid", json=asked, certificate=leaf))
    assert verify_x509_svid(renewed, [made.office.signing.now().bundle], at=AT) == API


def test_whoever_takes_a_certificate_is_known_to_hold_the_bundle(made: Edge) -> None:
    certify(made)
    certify(made, headers=bearer(token(made, API)))
    # It is written in the background, and this comes after it.
    made.made.entry(API, "unix:uid:1")
    sequence = made.office.signing.now().bundle.sequence
    held = made.office.consumers.acknowledged(at=AT)
    assert held == {"rest k8s:c1:shop:web": sequence, f"rest {API}": sequence}


def test_one_of_several_names_is_chosen_and_none_is_guessed(made: Edge) -> None:
    made.made.entry(API, "k8s:ns:shop")
    assert problem(certify(made)) == (403, "several-identities")
    assert certify(made, spiffe_id=str(API)).json()["spiffe_id"] == str(API)
    assert certify(made, csr(spiffe_id=WEB)).json()["spiffe_id"] == str(WEB)
    assert problem(certify(made, csr(spiffe_id=WEB), spiffe_id=str(API))) == (403, "other-identity")


# A token is good for one attempt, so nothing else may be wrong with it


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"csr": "nothing"}, "csr-malformed"),
        ({}, "request-refused"),
        ({"csr": csr().decode(), "spiffe_id": "web"}, "name-refused"),
        ({"csr": csr().decode(), "dns_names": ["web"]}, "request-refused"),
    ],
)
def test_a_join_token_survives_a_request_that_is_wrong(shared: Edge, asked: dict[str, object], code: str) -> None:
    text = token(shared)
    assert problem(shared.ask("POST", "/v1/x509-svid", json=asked, headers=bearer(text))) == (400, code)
    assert certify(shared, headers=bearer(text)).status_code == 200


def test_a_join_token_survives_an_authority_that_cannot_sign(made: Edge) -> None:
    text = token(made)
    made.made.clock.pass_by(timedelta(days=8))
    answer = certify(made, headers=bearer(text))
    assert problem(answer) == (503, "not-ready")
    assert answer.headers["retry-after"] == "1"
    assert made.office.store.tokens.list().rows[0].used is None


def test_of_a_hundred_who_show_one_token_at_the_same_time_one_gets_in(made: Edge) -> None:
    text = token(made)

    async def race() -> list[int]:
        transport = httpx.ASGITransport(made.workloads)
        async with httpx.AsyncClient(transport=transport, base_url="https://ca.example.org") as client:
            asked = [
                client.post("/v1/x509-svid", json={"csr": csr().decode()}, headers=bearer(text)) for _ in range(100)
            ]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    statuses = asyncio.run(race())
    assert (statuses.count(200), statuses.count(401)) == (1, 99)


# Who asks (spec 2.8: one text for all)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "neither a token nor a certificate was shown"),
        ({"Authorization": "Basic d2ViOndlYg=="}, "`Authorization` is not `Bearer` and a token"),
        ({"Authorization": "Bearer"}, "`Authorization` is not `Bearer` and a token"),
        ({"Authorization": "Bearer  "}, "`Authorization` is not `Bearer` and a token"),
        ({"Authorization": SERVICE_ACCOUNT}, "`Authorization` is not `Bearer` and a token"),
        (bearer("a.b.c"), "token has expired"),
        (bearer("a.b"), "token has expired"),
        (bearer("."), "token has expired"),
    ],
)
def test_whoever_does_not_show_who_it_is_hears_one_text_and_the_audit_why(
    made: Edge, headers: dict[str, str], reason: str
) -> None:
    asked = {"csr": csr().decode()}
    answer = made.ask("POST", "/v1/x509-svid", json=asked, headers=headers)
    assert answer.status_code == 401
    assert answer.json() == OPAQUE
    assert answer.headers["www-authenticate"] == 'Bearer realm="meshward"'
    assert made.reasons("attest") == [f"attestation failed: {reason}"]
    assert made.ask("POST", "/v1/jwt-svid", json={"audience": ["api"]}, headers=headers).json() == OPAQUE


def test_a_join_token_that_is_unknown_used_or_expired_is_one_text_and_three_in_the_audit(made: Edge) -> None:
    used, expired = token(made), token(made, API, ttl=timedelta(minutes=1))
    assert certify(made, headers=bearer(used)).status_code == 200
    made.made.clock.pass_by(timedelta(minutes=2))
    for text in ("never-given", used, expired):
        assert certify(made, headers=bearer(text)).json() == OPAQUE
    assert [reason.rpartition(" ")[2] for reason in made.reasons("token redeem")] == [
        "token-unknown",
        "token-used",
        "token-expired",
    ]
    assert made.reasons("attest") == []


def test_without_a_cluster_no_service_account_is_let_in(tmp_path: Path) -> None:
    with edge(tmp_path) as made:
        assert certify(made).json() == OPAQUE
        assert made.reasons("attest") == ["attestation failed: no cluster's tokens are verified here"]


def test_several_credentials_at_once_are_refused(shared: Edge) -> None:
    leaf = chain_of(certify(shared))[0]
    asked = {"csr": csr().decode()}
    both = shared.ask("POST", "/v1/x509-svid", json=asked, headers=bearer(token(shared)), certificate=leaf)
    assert problem(both) == (400, "several-credentials")
    twice = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
    assert problem(shared.ask("POST", "/v1/x509-svid", json=asked, headers=twice)) == (400, "several-credentials")


def test_a_certificate_that_is_revoked_expired_tainted_or_foreign_renews_nothing(made: Edge, tmp_path: Path) -> None:
    asked = {"csr": csr().decode()}
    leaf = chain_of(certify(made))[0]
    made.office.store.inventory.revoke(f"{leaf.serial_number:x}", RevocationReason.SUPERSEDED, by=BY, at=AT).result()
    assert made.ask("POST", "/v1/x509-svid", json=asked, certificate=leaf).json() == OPAQUE

    leaf = chain_of(certify(made))[0]
    root = made.office.signing.now().bundle.x509_authorities[0]
    assert made.ask("POST", "/v1/x509-svid", json=asked, certificate=root).json() == OPAQUE
    made.made.clock.pass_by(timedelta(hours=1, seconds=1))
    assert made.ask("POST", "/v1/x509-svid", json=asked, certificate=leaf).json() == OPAQUE

    leaf = chain_of(certify(made))[0]
    made.office.supervisor.taint(made.office.signing.now().issuer, by=BY)
    made.office.supervisor.advance()
    made.office.signing.refresh()
    made.office.supervisor.advance()
    made.office.signing.refresh()
    assert made.ask("POST", "/v1/x509-svid", json=asked, certificate=leaf).json() == OPAQUE

    other = tmp_path / "other"
    other.mkdir()
    with edge(other, tokens=verified) as another:
        another.made.entry(WEB, "k8s:ns:shop", "k8s:sa:web")
        foreign = chain_of(certify(another))[0]
    assert made.ask("POST", "/v1/x509-svid", json=asked, certificate=foreign).json() == OPAQUE


def test_whoever_has_no_entry_or_lost_it_gets_nothing(made: Edge) -> None:
    leaf = chain_of(certify(made))[0]
    entry = made.office.store.entries.entries_for(caller("k8s:ns:shop", "k8s:sa:web").selectors)[0]
    made.office.store.entries.delete(entry.id, by=BY, at=AT).result()
    assert problem(certify(made)) == (403, "no-identity")
    asked = {"csr": csr().decode()}
    assert problem(made.ask("POST", "/v1/x509-svid", json=asked, certificate=leaf)) == (403, "no-identity")
    assert len(made.reasons("issue x509-svid")) == 2
    jwt = made.ask("POST", "/v1/jwt-svid", json={"audience": ["api"]}, headers=bearer(SERVICE_ACCOUNT))
    assert problem(jwt) == (403, "no-identity")
    assert len(made.reasons("issue jwt-svid")) == 1


# What is asked for (spec 2.8)

_AUTHORITY = x509.BasicConstraints(ca=True, path_length=None)
_UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
WEB_URI = uri(str(WEB))
WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505  # what is to be refused


def _broken(pem: bytes) -> bytes:
    lines = pem.split(b"\n")
    # In the last line is the end of the signature.
    flipped = b"A" if lines[-3][:1] != b"A" else b"B"
    return b"\n".join([*lines[:-3], flipped + lines[-3][1:], *lines[-2:]])


@pytest.mark.parametrize(
    ("pem", "expected"),
    [
        (b" ", (400, "csr-missing")),
        (b"not PEM", (400, "csr-malformed")),
        (csr() * 2, (400, "csr-malformed")),
        ("Ä".encode() + csr(), (400, "csr-malformed")),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", (400, "csr-malformed")),
        (_broken(request(WEB_URI)), (400, "csr-signature")),
        (request(WEB_URI, key=WEAK), (400, "csr-key")),
        (request(WEB_URI, key=ec.generate_private_key(ec.SECP256K1())), (400, "csr-key")),
        (request(WEB_URI, uri(str(API))), (400, "csr-asks-for-more")),
        (request(WEB_URI, x509.DNSName("web.example.org")), (400, "csr-asks-for-more")),
        (request(x509.RFC822Name("web@example.org")), (400, "csr-asks-for-more")),
        (
            request(WEB_URI, subject=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web")])),
            (400, "csr-asks-for-more"),
        ),
        (request(extend=lambda each: each.add_extension(_AUTHORITY, critical=True)), (400, "csr-asks-for-more")),
        (request(extend=lambda each: each.add_extension(_UNKNOWN, critical=True)), (400, "csr-asks-for-more")),
        (
            request(extend=lambda each: each.add_extension(usage(key_cert_sign=True), critical=True)),
            (400, "csr-asks-for-more"),
        ),
        (request(uri("spiffe://example.org/a\n")), (400, "csr-name")),
        (request(uri("spiffe://example.org/a\x00/b")), (400, "csr-name")),
        (request(uri("spiffe://example.org")), (400, "csr-name")),
        (request(uri("https://example.org/ns/shop/sa/web")), (400, "csr-name")),
        (request(uri("spiffe://other.example/ns/shop/sa/web")), (403, "other-identity")),
        (request(uri(str(API))), (403, "other-identity")),
        (request(WEB_URI), (200, "")),
        (request(), (200, "")),
        (request(WEB_URI, key=rsa.generate_private_key(65537, 2048)), (200, "")),
    ],
)
def test_what_a_certificate_request_asks_for(shared: Edge, pem: bytes, expected: tuple[int, str]) -> None:
    answer = certify(shared, pem)
    assert (answer.status_code, "") == expected if answer.status_code == 200 else problem(answer) == expected


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [
        (24 * 3600, (200, "")),
        (24 * 3600 + 1, (400, "lifetime-refused")),
        (299, (400, "lifetime-refused")),
        (300, (200, "")),
        (0, (400, "request-refused")),
        (-1, (400, "request-refused")),
        (10**12, (400, "request-refused")),
        (True, (400, "request-refused")),
        ("300", (400, "request-refused")),
        (300.5, (400, "request-refused")),
    ],
)
def test_how_long_it_may_live(shared: Edge, ttl: object, expected: tuple[int, str]) -> None:
    answer = certify(shared, ttl=ttl)
    assert (answer.status_code, "") == expected if answer.status_code == 200 else problem(answer) == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"audience": []}, (400, "request-refused")),
        ({"audience": [""]}, (400, "request-refused")),
        ({"audience": "api"}, (400, "request-refused")),
        ({}, (400, "request-refused")),
        ({"audience": ["a" * 2048, "b"]}, (400, "name-refused")),
        ({"audience": ["api"], "ttl": 3601}, (400, "lifetime-refused")),
        ({"audience": ["api"], "spiffe_id": str(API)}, (403, "other-identity")),
        ({"audience": ["api"], "spiffe_id": "spiffe://Example.org/a"}, (400, "name-refused")),
    ],
)
def test_what_a_token_may_be_for(shared: Edge, asked: dict[str, object], expected: tuple[int, str]) -> None:
    assert problem(shared.ask("POST", "/v1/jwt-svid", json=asked, headers=bearer(SERVICE_ACCOUNT))) == expected


def test_a_key_is_of_one_name_and_not_the_authoritys(made: Edge) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    assert certify(made, csr(key)).status_code == 200
    assert certify(made, csr(key)).status_code == 200
    made.made.entry(API, "k8s:ns:shop")
    assert problem(certify(made, csr(key), spiffe_id=str(API))) == (400, "key-refused")
    assert len(made.reasons("issue x509-svid")) == 1


# Repeating


def test_who_repeats_a_request_gets_the_same_and_another_request_a_conflict(made: Edge) -> None:
    pem, headers = csr(), {**bearer(SERVICE_ACCOUNT), "Idempotency-Key": "first"}
    first = certify(made, pem, headers=headers)
    assert certify(made, pem, headers=headers).json() == first.json()
    assert (
        certify(made, pem, headers={**headers, "Idempotency-Key": "second"}).json()["serial"] != first.json()["serial"]
    )
    assert problem(certify(made, csr(), headers=headers)) == (409, "conflict")
    assert problem(certify(made, pem, headers=headers, ttl=600)) == (409, "conflict")


def test_a_join_token_gets_the_same_again_by_its_key_and_nothing_else(made: Edge) -> None:
    pem, headers = csr(), {**bearer(token(made, API)), "Idempotency-Key": "first"}
    first = certify(made, pem, headers=headers)
    assert first.status_code == 200
    assert certify(made, pem, headers=headers).json() == first.json()
    # The key of the answer, not the token, is what lets somebody have it.
    without = {"Authorization": headers["Authorization"]}
    assert problem(certify(made, pem, headers=without)) == (401, "unauthenticated")
    assert problem(certify(made, pem, headers={**without, "Idempotency-Key": "second"})) == (401, "unauthenticated")
    # Another request is another certificate, which a token that is used up does not get.
    assert problem(certify(made, csr(), headers=headers)) == (409, "conflict")
    assert problem(certify(made, pem, headers={**headers, **bearer("unknown")})) == (401, "unauthenticated")
    assert len(made.office.store.inventory.list(InventoryFilter(), at=AT).rows) == 1


def test_a_certificate_that_has_expired_is_not_repeated(made: Edge) -> None:
    pem, headers = csr(), {**bearer(SERVICE_ACCOUNT), "Idempotency-Key": "first"}
    first = certify(made, pem, headers=headers, ttl=600)
    made.made.clock.pass_by(timedelta(seconds=601))
    again = certify(made, pem, headers=headers, ttl=600)
    assert again.json()["serial"] != first.json()["serial"]


def test_of_many_who_repeat_at_the_same_time_all_get_one_certificate(made: Edge) -> None:
    pem, headers = csr().decode(), {**bearer(SERVICE_ACCOUNT), "Idempotency-Key": "same"}

    async def race() -> set[str]:
        transport = httpx.ASGITransport(made.workloads)
        async with httpx.AsyncClient(transport=transport, base_url="https://ca.example.org") as client:
            asked = [client.post("/v1/x509-svid", json={"csr": pem}, headers=headers) for _ in range(50)]
            return {answer.json()["serial"] for answer in await asyncio.gather(*asked)}

    assert len(asyncio.run(race())) == 1


@pytest.mark.parametrize(
    ("key", "expected"), [("k" * 255, 200), ("k" * 256, 400), ("", 400), (b"\xc3\xa9", 400), ("a\tb", 400), (" ~", 200)]
)
def test_an_idempotency_key_is_printable_and_short(shared: Edge, key: str | bytes, expected: int) -> None:
    answer = certify(shared, headers={**bearer(SERVICE_ACCOUNT), "Idempotency-Key": key})  # type: ignore[dict-item]  # bytes on purpose
    assert answer.status_code == expected


def test_two_idempotency_keys_are_none(shared: Edge) -> None:
    headers = [("Authorization", f"Bearer {SERVICE_ACCOUNT}"), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    answer = shared.ask("POST", "/v1/x509-svid", json={"csr": csr().decode()}, headers=headers)
    assert problem(answer) == (400, "request-refused")


# Limits


def test_who_asks_too_often_is_told_when_to_come_back_before_anything_is_looked_at(tmp_path: Path) -> None:
    with edge(tmp_path, limits=Limits(attest_per_second=1)) as made:
        # A machine that is slow enough asks less often than once in a second.
        answers = [made.ask("POST", "/v1/x509-svid", content=b"{") for _ in range(50)]
        limited = [answer for answer in answers if problem(answer) != (415, "media-type-refused")]
        assert limited
        assert {problem(answer) for answer in limited} == {(429, "limited")}
        assert {answer.headers["retry-after"] for answer in limited} == {"1"}
        assert made.ask("GET", "/v1/bundle").status_code == 200


def test_one_caller_takes_nothing_from_another(tmp_path: Path) -> None:
    async def each(token: str) -> Caller:
        return Caller(Attestor.KUBERNETES, token, frozenset({Selector("k8s", "ns:shop")}))

    with edge(tmp_path, tokens=each, limits=Limits(attest_per_second=1000, issue_per_second=1)) as made:
        made.made.entry(WEB, "k8s:ns:shop")
        assert 429 in [certify(made, headers=bearer("a.a")).status_code for _ in range(50)]
        assert certify(made, headers=bearer("b.b")).status_code == 200


# Bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"csr"',
        b'{"csr": "a", "csr": "b"}',
        b'{"csr": NaN}',
        b'{"ttl": 1e999}',
        b'{"csr": ' + b"[" * 101 + b"]" * 101 + b"}",
        b'{"csr": "\\ud800"}',
        b"\xff\xfe{\x00}\x00",
        b'{"csr": "\xff"}',
    ],
)
def test_what_is_no_json_object_to_everybody_is_refused(shared: Edge, body: bytes) -> None:
    headers = {**bearer(SERVICE_ACCOUNT), "Content-Type": "application/json"}
    status, code = problem(shared.ask("POST", "/v1/x509-svid", content=body, headers=headers))
    assert status == 400
    assert code == ("body-refused" if body else "request-refused")


@pytest.mark.parametrize("said", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_a_body_has_to_be_said_to_be_json(shared: Edge, said: str | None) -> None:
    headers = bearer(SERVICE_ACCOUNT) if said is None else {**bearer(SERVICE_ACCOUNT), "Content-Type": said}
    content = b'{"csr": "a"}'
    assert problem(shared.ask("POST", "/v1/x509-svid", content=content, headers=headers)) == (415, "media-type-refused")


def test_the_longest_body_is_read_and_one_more_byte_is_not(shared: Edge) -> None:
    headers = {**bearer(SERVICE_ACCOUNT), "Content-Type": "application/json"}
    body = b'{"csr": "' + csr().replace(b"\n", b"\\n") + b'"}'
    longest = body + b" " * (MAX_BODY - len(body))
    assert shared.ask("POST", "/v1/x509-svid", content=longest, headers=headers).status_code == 200
    too_long = shared.ask("POST", "/v1/x509-svid", content=longest + b" ", headers=headers)
    assert problem(too_long) == (413, "body-too-long")


def test_a_body_is_counted_as_it_comes_whatever_was_said_of_it(shared: Edge) -> None:
    async def chunks() -> "httpx._types.AsyncByteStream":  # type: ignore[misc]  # a generator
        for _ in range(MAX_BODY // 1024 + 1):
            yield b" " * 1024

    headers = {**bearer(SERVICE_ACCOUNT), "Content-Type": "application/json"}
    assert problem(shared.ask("POST", "/v1/x509-svid", content=chunks(), headers=headers)) == (413, "body-too-long")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", (404, "not-found")),
        ("GET", "/v1", (404, "not-found")),
        ("GET", "/docs", (404, "not-found")),
        ("POST", "/v1/x509-svid/", (404, "not-found")),
        ("GET", "/v1/x509-svid", (405, "method-not-allowed")),
        ("PUT", "/v1/bundle", (405, "method-not-allowed")),
        ("GET", "/v1/entries", (404, "not-found")),
        ("GET", "/metrics", (404, "not-found")),
        ("GET", "/keys", (404, "not-found")),
        ("GET", "/problems/none", (404, "not-found")),
    ],
)
def test_what_is_not_there_is_a_problem_too(shared: Edge, method: str, path: str, expected: tuple[int, str]) -> None:
    assert problem(shared.ask(method, path)) == expected


def test_what_nobody_foresaw_is_said_without_a_word_of_it(made: Edge, caplog: pytest.LogCaptureFixture) -> None:
    async def unforeseen(_: str) -> Caller:
        raise ZeroDivisionError("the secret of the house")

    app = workloads_app(made.office, tokens=unforeseen)
    answer = asking.asked(app, "POST", "/v1/x509-svid", json={"csr": csr().decode()}, headers=bearer("a.b"))
    assert problem(answer) == (500, "internal")
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text
    assert "ZeroDivisionError" in caplog.text


def test_a_bundle_that_was_taken_with_a_certificate_is_the_one_that_is_published(made: Edge) -> None:
    published = parse_bundle(made.ask("GET", "/v1/bundle").content, TD)
    assert published.to_pem().decode() == certify(made).json()["bundle"]["pem"]
