"""What is published to everybody: the bundle, revocation lists, keys for OpenID Connect, and health."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography import x509

from ca.crl import LIFETIME, RevocationLists, signed_list
from ca.errors import NotKeptError
from ca.inventory import RevocationList, RevocationReason
from ca.keys import KeyType, MemoryKeyStore
from ca.lifetimes import Settings
from ca.phases import SlotKind
from ca.readiness import LITTLE_LEFT
from ca.rest import OpenId
from ca.rest.publishing import accepted
from ca.signer import Signer
from identity import parse_bundle
from tests.unit.ca.offices import AT, BY, TD, WEB, TestOffice, caller, office
from tests.unit.ca.rest.asking import Edge, edge, problem

USER = caller("unix:uid:1000")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Edge]:
    with edge(tmp_path, openid=OpenId("https://oidc.example.org")) as made:
        made.made.entry(WEB, "unix:uid:1000")
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """For tests that leave it as it was."""
    with edge(tmp_path_factory.mktemp("shared"), openid=OpenId("https://oidc.example.org")) as made:
        yield made


def leaf_of(made: TestOffice) -> x509.Certificate:
    return asyncio.run(made.issue(USER)).svid.leaf


def revoke(made: TestOffice, leaf: x509.Certificate, reason: RevocationReason = RevocationReason.SUPERSEDED) -> None:
    made.office.store.inventory.revoke(f"{leaf.serial_number:x}", reason, by=BY, at=made.clock()).result()


# The bundle


def test_the_bundle_is_the_one_that_verifies_and_says_when_to_look_again(made: Edge) -> None:
    answer = made.ask("GET", "/v1/bundle")
    current = made.office.signing.now().bundle
    assert parse_bundle(answer.content, TD) == replace(current, refresh_hint=timedelta(minutes=5))
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-cache"


def test_who_has_the_bundle_gets_nothing_more_until_it_changes(made: Edge) -> None:
    tag = made.ask("GET", "/v1/bundle").headers["etag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        answer = made.ask("GET", "/v1/bundle", headers={"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    made.office.supervisor.hurry(SlotKind.ROOT, by=BY)
    made.office.signing.refresh()
    changed = made.ask("GET", "/v1/bundle", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert len(parse_bundle(changed.content, TD).x509_authorities) == 2


# Revocation lists


def test_a_list_names_what_was_revoked_and_why_and_is_by_the_issuer(made: Edge) -> None:
    leaf, other, unsaid = (leaf_of(made.made) for _ in range(3))
    revoke(made.made, leaf, RevocationReason.KEY_COMPROMISE)
    revoke(made.made, unsaid, RevocationReason.UNSPECIFIED)
    answer = made.ask("GET", "/v1/crl")
    assert answer.headers["content-type"] == "application/pkix-crl"
    crl = x509.load_der_x509_crl(answer.content)
    authority = made.office.signing.now().require_authority(AT)
    issuer = authority.intermediate.certificate
    assert crl.issuer == issuer.subject
    assert crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # one that signs
    revoked = crl.get_revoked_certificate_by_serial_number(leaf.serial_number)
    assert revoked is not None
    assert revoked.revocation_date_utc == AT
    assert revoked.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    assert crl.get_revoked_certificate_by_serial_number(other.serial_number) is None
    silent = crl.get_revoked_certificate_by_serial_number(unsaid.serial_number)
    assert silent is not None
    assert not list(silent.extensions)
    assert crl.last_update_utc < AT
    assert crl.next_update_utc == AT + LIFETIME


@pytest.mark.parametrize("kind", list(KeyType))
def test_every_kind_of_key_signs_a_list(kind: KeyType) -> None:
    root = Signer.new_root(TD, at=AT, lifetime=timedelta(days=2))
    signer = root.certify(TD, MemoryKeyStore().make("intermediate", kind), at=AT, lifetime=timedelta(days=1))
    crl = signed_list(signer, RevocationList(0, ()), at=AT)
    assert crl.is_signature_valid(signer.certificate.public_key())  # type: ignore[arg-type]  # one that signs
    assert list(crl) == []


def test_a_list_stays_until_something_is_revoked_or_half_of_its_life_is_over(tmp_path: Path) -> None:
    with office(tmp_path) as made:
        made.entry(WEB, "unix:uid:1000")
        leaf = leaf_of(made)
        lists = RevocationLists(made.office.store.inventory, made.office.signing)
        first = lists.of(None, at=AT)
        assert lists.of(None, at=AT + LIFETIME / 2 - timedelta(seconds=1)) is first
        later = lists.of(None, at=AT + LIFETIME / 2)
        revoke(made, leaf)
        # By a clock that has gone back, as replicas differ: what was revoked counts more.
        last = lists.of(None, at=AT)
        numbers = [
            each.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for each in (first, later, last)
        ]
        assert numbers == sorted(set(numbers))
        assert all(number.bit_length() < 160 for number in numbers)
        assert len(list(last)) == 1


def test_each_issuer_has_a_list_for_as_long_as_anybody_trusts_it(made: Edge) -> None:
    leaf, before = leaf_of(made.made), made.office.signing.now().issuer
    revoke(made.made, leaf)
    made.office.supervisor.hurry(SlotKind.INTERMEDIATE, by=BY)
    made.office.supervisor.advance()
    made.office.signing.refresh()
    assert made.office.signing.now().issuer != before
    crl = x509.load_der_x509_crl(made.ask("GET", f"/v1/crl?issuer={before}").content)
    assert [each.serial_number for each in crl] == [leaf.serial_number]
    assert not list(x509.load_der_x509_crl(made.ask("GET", "/v1/crl").content))
    made.made.clock.pass_by(timedelta(hours=2))
    made.office.supervisor.advance()
    made.office.signing.refresh()
    assert problem(made.ask("GET", f"/v1/crl?issuer={before}")) == (404, "not-found")
    with pytest.raises(NotKeptError):
        made.office.signing.signer_of(before)


@pytest.mark.parametrize("issuer", ["00", "f" * 40])
def test_there_is_no_list_of_nobody(shared: Edge, issuer: str) -> None:
    assert problem(shared.ask("GET", f"/v1/crl?issuer={issuer}")) == (404, "not-found")


@pytest.mark.parametrize("issuer", ["", "..", "F0", "f" * 65, "%00"])
def test_an_issuer_is_a_number(shared: Edge, issuer: str) -> None:
    assert problem(shared.ask("GET", f"/v1/crl?issuer={issuer}")) == (400, "request-refused")


def test_a_list_is_had_as_it_is_wished_or_not_at_all(shared: Edge) -> None:
    assert problem(shared.ask("GET", "/v1/crl", headers={"Accept": "text/html"})) == (406, "not-acceptable")
    tag = shared.ask("GET", "/v1/crl").headers["etag"]
    assert shared.ask("GET", "/v1/crl", headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], "a/x"),
        ([""], "a/x"),
        (["*/*"], "a/x"),
        (["a/y"], "a/y"),
        (["A/Y;q=0.5, a/x;q=0.1"], "a/y"),
        (["a/x;q=0", "*/*"], "a/y"),
        (["a/*"], "a/x"),
        (["a/x;q=0, a/y;q=0"], None),
        (["b/*"], None),
        (["a/x;q=none"], None),
        ([";;;,,,"], None),
    ],
)
def test_accept_chooses(said: list[str], expected: str | None) -> None:
    assert accepted(said, ("a/x", "a/y")) == expected


# OpenID Connect


def test_a_verifier_that_knows_only_openid_finds_the_keys(made: Edge) -> None:
    host = {"Host": "oidc.example.org"}
    document = made.ask("GET", "/.well-known/openid-configuration", headers=host)
    assert document.headers["cache-control"] == "no-cache"
    assert document.json() == {
        "issuer": "https://oidc.example.org",
        "jwks_uri": "https://oidc.example.org/keys",
        "authorization_endpoint": "",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "ES384"],
    }
    keys = made.ask("GET", "/keys", headers=host)
    assert keys.headers["cache-control"] == "no-cache"
    minted = asyncio.run(made.office.issuance.jwt_svid(USER, made.office.entitlements.one(USER, None), ("api",), at=AT))
    key = jwt.PyJWKSet.from_json(keys.text)[jwt.get_unverified_header(minted.token)["kid"]]
    claims = jwt.decode(
        minted.token,
        key,
        algorithms=["ES256"],
        audience="api",
        issuer="https://oidc.example.org",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["sub"] == str(WEB)


@pytest.mark.parametrize("host", ["oidc.example.org", "OIDC.example.org", "oidc.example.org:8443"])
def test_the_issuers_own_host_is_answered(shared: Edge, host: str) -> None:
    assert shared.ask("GET", "/keys", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["", "evil.example", "oidc.example.org.evil.example", "oidc.example.org:x", "127.0.0.1"]
)
def test_another_host_is_not_answered(shared: Edge, host: str) -> None:
    for path in ("/keys", "/.well-known/openid-configuration"):
        assert problem(shared.ask("GET", path, headers={"Host": host})) == (400, "host-refused")


@pytest.mark.parametrize(
    "issuer",
    [
        "",
        "http://a.example",
        "https://",
        "https://a.example/",
        "https://a.example/x",
        "https://u@a.example",
        "https://a?b",
    ],
)
def test_an_issuer_is_a_host_of_https(issuer: str) -> None:
    with pytest.raises(ValueError, match="issuer"):
        OpenId(issuer)


# Health


def test_it_is_ready_until_what_signs_has_little_left(made: Edge) -> None:
    assert made.ask("GET", "/readyz").json() == {"status": "ready"}
    end = made.office.signing.now().require_authority(AT).intermediate.certificate.not_valid_after_utc
    made.made.clock.at = end - LITTLE_LEFT
    assert made.ask("GET", "/readyz").status_code == 200
    made.made.clock.pass_by(timedelta(seconds=1))
    answer = made.ask("GET", "/readyz")
    assert problem(answer) == (503, "not-ready")
    assert "the intermediate ends in 599 s" in answer.json()["detail"]
    made.made.clock.at = end
    assert problem(made.ask("GET", "/readyz")) == (503, "not-ready")
    assert made.ask("GET", "/healthz").json() == {"status": "ok"}


def test_it_is_not_ready_without_anything_that_signs(made: Edge) -> None:
    made.office.supervisor.taint(made.office.signing.now().issuer, by=BY)
    made.office.signing.refresh()
    answer = made.ask("GET", "/readyz")
    assert problem(answer) == (503, "not-ready")
    assert "no signing authority is active" in answer.json()["detail"]


def test_it_is_not_ready_without_its_store_and_does_not_say_where_that_is(tmp_path: Path) -> None:
    with edge(tmp_path, settings=Settings()) as made:
        for file in (tmp_path / "office").iterdir():
            file.write_bytes(b"no database")
        answer = made.ask("GET", "/readyz")
        assert problem(answer) == (503, "not-ready")
        assert str(tmp_path) not in answer.text


def test_however_many_probe_at_the_same_time_all_are_answered(tmp_path: Path) -> None:
    with edge(tmp_path) as made:

        async def probes() -> set[int]:
            transport = httpx.ASGITransport(made.workloads)
            async with httpx.AsyncClient(transport=transport, base_url="https://ca.example.org") as client:
                asked = [client.get(path) for path in ("/readyz", "/v1/crl") for _ in range(50)]
                return {answer.status_code for answer in await asyncio.gather(*asked)}

        assert asyncio.run(probes()) == {200}
