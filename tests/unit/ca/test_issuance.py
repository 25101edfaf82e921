"""Who gets what, and what the store knows of it before they do."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ca.attestation import Attestor, Caller, KubernetesTokens, ServiceAccount
from ca.csr import read_csr
from ca.errors import (
    AttestationError,
    EntitlementFault,
    NotEntitledError,
    NotReadyError,
    RefusedKeyError,
    RefusedLifetimeError,
    RefusedNameError,
    StoreConflictError,
)
from ca.inventory import InventoryFilter, IssuedState, RevocationReason
from ca.issuance import Repeat
from ca.joining import attest_join_token, attest_renewal, new_join_token
from ca.phases import SlotKind
from ca.refusals import RefusalKind, refusal_of
from identity import SpiffeId, verify_jwt_svid, verify_x509_svid
from tests.unit.ca.offices import API, AT, BY, TD, WEB, TestOffice, caller, csr, office

USER = caller("unix:uid:1000", "unix:gid:1000")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[TestOffice]:
    with office(tmp_path) as made:
        yield made


def refused(made: TestOffice, who: Caller, wanted: SpiffeId | None = None) -> EntitlementFault:
    with pytest.raises(NotEntitledError) as caught:
        asyncio.run(made.issue(who, wanted))
    return caught.value.fault


# Who may have what


def test_a_caller_gets_the_name_of_its_entry_and_the_inventory_knows_it(made: TestOffice) -> None:
    entry = made.entry(WEB, "unix:uid:1000")
    issued = asyncio.run(made.issue(USER))
    assert verify_x509_svid(issued.svid.chain, [issued.signing.bundle], at=AT) == WEB
    row = made.office.store.inventory.get(f"{issued.svid.leaf.serial_number:x}")
    assert (row.intent.spiffe_id, row.intent.entry, row.intent.caller) == (WEB, entry.id, USER.name)
    assert row.state(AT) is IssuedState.VALID


def test_who_has_no_entry_gets_nothing_and_leaves_no_row(made: TestOffice) -> None:
    made.entry(WEB, "unix:uid:1000", "unix:gid:7")
    assert refused(made, USER) is EntitlementFault.NO_IDENTITY
    assert made.office.store.inventory.list(InventoryFilter(), at=AT).rows == ()


def test_a_request_may_choose_among_its_callers_names_and_no_other(made: TestOffice) -> None:
    made.entry(WEB, "unix:uid:1000")
    made.entry(API, "unix:gid:1000")
    assert asyncio.run(made.issue(USER, API)).svid.spiffe_id == API
    assert refused(made, USER) is EntitlementFault.SEVERAL_IDENTITIES
    assert refused(made, USER, SpiffeId(TD, "/ns/shop/sa/db")) is EntitlementFault.OTHER_IDENTITY


def test_a_request_that_names_one_and_asks_for_another_is_refused(made: TestOffice) -> None:
    made.entry(WEB, "unix:uid:1000")
    made.entry(API, "unix:uid:1000")
    with pytest.raises(NotEntitledError):
        asyncio.run(made.office.issuance.x509_svid(USER, read_csr(csr(spiffe_id=WEB)), spiffe_id=API, at=made.clock()))


def test_dns_names_and_lifetime_are_the_entrys(made: TestOffice) -> None:
    made.entry(WEB, "unix:uid:1000", dns_names=("web.shop.svc",), ttl=timedelta(minutes=10))
    leaf = asyncio.run(made.issue(USER)).svid.leaf
    assert leaf.not_valid_after_utc == AT + timedelta(minutes=10)
    assert b"web.shop.svc" in leaf.tbs_certificate_bytes


def test_a_longer_life_than_the_entrys_is_refused_and_not_cut(made: TestOffice) -> None:
    made.entry(WEB, "unix:uid:1000", ttl=timedelta(minutes=10))
    issue = made.office.issuance.x509_svid
    asyncio.run(issue(USER, read_csr(csr()), ttl=timedelta(minutes=10), at=AT))
    for ttl in (timedelta(minutes=10, seconds=1), timedelta(minutes=4, seconds=59), timedelta(0), -timedelta(1)):
        with pytest.raises(RefusedLifetimeError):
            asyncio.run(issue(USER, read_csr(csr()), ttl=ttl, at=AT))


def test_a_key_is_certified_for_one_name_only(made: TestOffice) -> None:
    made.entry(WEB, "unix:uid:1000")
    made.entry(API, "unix:uid:2000")
    key = ec.generate_private_key(ec.SECP256R1())
    issue = made.office.issuance.x509_svid
    asyncio.run(issue(USER, read_csr(csr(key)), at=AT))
    asyncio.run(issue(USER, read_csr(csr(key)), at=AT))
    with pytest.raises(RefusedKeyError, match="another name has it"):
        asyncio.run(issue(caller("unix:uid:2000"), read_csr(csr(key)), at=AT))


def test_of_two_names_that_ask_with_one_key_at_once_one_gets_it(made: TestOffice) -> None:
    made.entry(WEB, "unix:uid:1000")
    made.entry(API, "unix:uid:2000")
    key = ec.generate_private_key(ec.SECP256R1())

    async def both() -> list[object]:
        issue = made.office.issuance.x509_svid
        asked = [issue(each, read_csr(csr(key)), at=AT) for each in (USER, caller("unix:uid:2000"))]
        return list(await asyncio.gather(*asked, return_exceptions=True))

    assert sum(isinstance(each, RefusedKeyError) for each in asyncio.run(both())) == 1


def test_a_compromised_key_is_never_certified_again(made: TestOffice) -> None:
    made.entry(WEB, "unix:uid:1000")
    key = ec.generate_private_key(ec.SECP256R1())
    issue = made.office.issuance.x509_svid
    first = asyncio.run(issue(USER, read_csr(csr(key)), at=AT))
    serial = f"{first.svid.leaf.serial_number:x}"
    made.office.store.inventory.revoke(serial, RevocationReason.KEY_COMPROMISE, by=BY, at=AT).result()
    with pytest.raises(RefusedKeyError):
        asyncio.run(issue(USER, read_csr(csr(key)), at=AT))


# Kubernetes


def test_service_accounts_have_their_names_without_an_entry_where_a_cluster_is_istios(tmp_path: Path) -> None:
    account = ServiceAccount("shop", "web", pod="web-1", pod_uid="u-1")
    with office(tmp_path, istio_clusters=frozenset({"east"})) as made:
        issued = asyncio.run(made.issue(account.caller("east", named_in=TD)))
        assert issued.svid.spiffe_id == WEB
        assert refused(made, account.caller("west", named_in=TD)) is EntitlementFault.NO_IDENTITY
        assert refused(made, account.caller("east")) is EntitlementFault.NO_IDENTITY


def test_who_may_be_whom_is_not_changed_by_what_tokens_are_verified_with() -> None:
    tokens = KubernetesTokens(cluster="east", issuer="https://k8s", audience="meshward")
    with pytest.raises(AttestationError):
        tokens.verify("a.b.c", (), at=AT)


# Joining and renewing


def test_a_join_token_gives_its_name_once_and_a_renewal_after_that(made: TestOffice) -> None:
    store = made.office.store

    async def join() -> None:
        token = await new_join_token(store, WEB, ttl=timedelta(minutes=10), by=BY, at=AT)
        who = await attest_join_token(store, token.text, by="10.0.0.1", at=AT)
        first = await made.issue(who)
        with pytest.raises(AttestationError):
            await attest_join_token(store, token.text, by="10.0.0.1", at=AT)
        again = await attest_renewal(store, first.signing, first.svid.leaf, at=AT)
        assert (await made.issue(again)).svid.spiffe_id == WEB

    asyncio.run(join())


def test_a_name_is_not_renewed_once_its_entry_is_gone(made: TestOffice) -> None:
    entry = made.entry(WEB, "unix:uid:1000")
    first = asyncio.run(made.issue(USER))
    who = asyncio.run(attest_renewal(made.office.store, first.signing, first.svid.leaf, at=AT))
    assert asyncio.run(made.issue(who)).svid.spiffe_id == WEB
    made.office.store.entries.delete(entry.id, by=BY, at=AT).result()
    assert refused(made, who) is EntitlementFault.NO_IDENTITY


def test_what_is_revoked_renews_nothing(made: TestOffice) -> None:
    made.entry(WEB, "unix:uid:1000")
    first = asyncio.run(made.issue(USER))
    serial = f"{first.svid.leaf.serial_number:x}"
    made.office.store.inventory.revoke(serial, RevocationReason.SUPERSEDED, by=BY, at=AT).result()
    with pytest.raises(AttestationError, match="revoked"):
        asyncio.run(attest_renewal(made.office.store, first.signing, first.svid.leaf, at=AT))


def test_what_another_authority_signed_renews_nothing(made: TestOffice, tmp_path: Path) -> None:
    with office(tmp_path / "other") as other:
        other.entry(WEB, "unix:uid:1000")
        foreign = asyncio.run(other.issue(USER)).svid.leaf
    with pytest.raises(AttestationError):
        asyncio.run(attest_renewal(made.office.store, made.office.signing.now(), foreign, at=AT))


def test_what_a_tainted_root_signed_renews_nothing(made: TestOffice) -> None:
    made.entry(WEB, "unix:uid:1000")
    first = asyncio.run(made.issue(USER))
    kept = made.office.store.authorities
    version = kept.load(TD)
    assert version is not None
    root = version.authorities.active(SlotKind.ROOT)
    assert root is not None
    tainted = version.authorities.tainted(root.id, at=AT)
    kept.save(tainted, before=version, by=BY, action="taint", at=AT).result()
    made.office.signing.refresh()
    with pytest.raises(AttestationError):
        asyncio.run(attest_renewal(made.office.store, made.office.signing.now(), first.svid.leaf, at=AT))
    with pytest.raises(NotReadyError):
        asyncio.run(made.issue(USER))


# Idempotency


def test_a_request_that_is_repeated_gets_the_same_certificate_and_another_one_is_refused(made: TestOffice) -> None:
    made.entry(WEB, "unix:uid:1000")
    request = read_csr(csr())
    issue = made.office.issuance.x509_svid

    async def repeated() -> list[bytes]:
        first = await issue(USER, request, repeat=Repeat("k"), at=AT)
        asked = [issue(USER, request, repeat=Repeat("k"), at=AT) for _ in range(20)]
        return [each.svid.chain_to_pem() for each in (first, *await asyncio.gather(*asked))]

    assert len(set(asyncio.run(repeated()))) == 1
    with pytest.raises(StoreConflictError):
        asyncio.run(issue(USER, read_csr(csr()), repeat=Repeat("k"), at=AT))
    other = replace(USER, name="unix:uid:1001")
    assert asyncio.run(issue(other, read_csr(csr()), repeat=Repeat("k"), at=AT)).svid.spiffe_id == WEB


# Tokens


def test_a_token_verifies_by_the_bundle_for_its_audience_and_is_in_the_inventory(tmp_path: Path) -> None:
    with office(tmp_path, jwt_issuer="https://ca.example.org") as made:
        entry = made.entry(WEB, "unix:uid:1000", jwt_ttl=timedelta(minutes=2))
        minted = asyncio.run(made.office.issuance.jwt_svid(USER, entry, ("api", "db"), at=AT))
        bundle = made.office.signing.now().bundle
        read = [verify_jwt_svid(minted.token, [bundle], audience=audience, at=AT) for audience in ("api", "db")]
        assert {(each.spiffe_id, each.expires) for each in read} == {(WEB, AT + timedelta(minutes=2))}
        assert read[0].claims["iss"] == "https://ca.example.org"
        row = made.office.store.inventory.get(minted.planned.id)
        assert row.state(AT) is IssuedState.VALID
        assert minted.token not in repr(minted)


@pytest.mark.parametrize("audience", [(), ("",), ("a" * 2049,)])
def test_a_token_for_nobody_is_refused(made: TestOffice, audience: tuple[str, ...]) -> None:
    entry = made.entry(WEB, "unix:uid:1000")
    with pytest.raises(RefusedNameError):
        asyncio.run(made.office.issuance.jwt_svid(USER, entry, audience, at=AT))


def test_a_token_for_longer_than_is_allowed_is_refused(made: TestOffice) -> None:
    entry = made.entry(WEB, "unix:uid:1000", jwt_ttl=timedelta(minutes=2))
    with pytest.raises(RefusedLifetimeError):
        asyncio.run(made.office.issuance.jwt_svid(USER, entry, ("api",), ttl=timedelta(minutes=3), at=AT))


# Admins


def test_admins_are_those_with_the_token_or_an_svid_by_an_entry_for_admins(made: TestOffice) -> None:
    made.entry(WEB, "unix:uid:1000", admin=True)
    made.entry(API, "unix:uid:2000")
    entitlements = made.office.entitlements
    entitlements.require_admin(Caller(Attestor.ADMIN, "admin-token"))
    web, api = asyncio.run(made.issue(USER)), asyncio.run(made.issue(caller("unix:uid:2000")))
    entitlements.require_admin(asyncio.run(attest_renewal(made.office.store, web.signing, web.svid.leaf, at=AT)))
    by_svid = asyncio.run(attest_renewal(made.office.store, api.signing, api.svid.leaf, at=AT))
    # Not by selectors alone: an admin has to hold the SVID.
    for who in (by_svid, USER):
        with pytest.raises(NotEntitledError):
            entitlements.require_admin(who)


# What is said of it


def test_failures_of_authentication_are_all_said_the_same() -> None:
    texts = {refusal_of(AttestationError(reason)) for reason in ("expired", "unknown key", "token-used")}
    assert {(each.kind, each.text) for each in texts} == {
        (RefusalKind.UNAUTHENTICATED, "request authentication failure")
    }
