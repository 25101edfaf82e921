"""Renewal by the SVID that a caller has."""

from datetime import timedelta

import pytest

from ca import Authority
from ca.attestation import Attestor, attest_current_svid
from ca.errors import AttestationError
from identity import Bundle, SpiffeId, TrustDomain
from tests.unit.identity.chains import AT

TD = TrustDomain.parse("td.example")
WEB = SpiffeId.parse("spiffe://td.example/ns/shop/sa/web")


def test_who_has_an_svid_is_who_it_names() -> None:
    authority = Authority.create(TD, at=AT)
    caller = attest_current_svid(authority.issue_with_new_key(WEB, at=AT).chain, authority.bundle, at=AT)
    assert (caller.attestor, caller.spiffe_id) == (Attestor.CURRENT_SVID, WEB)
    assert {str(selector) for selector in caller.selectors} == {f"x509-svid:{WEB}"}


def test_one_that_has_expired_renews_nothing() -> None:
    authority = Authority.create(TD, at=AT)
    svid = authority.issue_with_new_key(WEB, at=AT)
    with pytest.raises(AttestationError):
        attest_current_svid(svid.chain, authority.bundle, at=AT + timedelta(hours=1, seconds=1))


def test_one_below_an_authority_that_is_no_longer_trusted_renews_nothing() -> None:
    authority = Authority.create(TD, at=AT)
    svid = authority.issue_with_new_key(WEB, at=AT)
    with pytest.raises(AttestationError):
        attest_current_svid(svid.chain, Bundle(TD, (Authority.create(TD, at=AT).root,)), at=AT)


def test_another_trust_domains_renews_nothing() -> None:
    other = Authority.create(TrustDomain.parse("other.example"), at=AT)
    svid = other.issue_with_new_key(SpiffeId.parse("spiffe://other.example/a"), at=AT)
    with pytest.raises(AttestationError):
        attest_current_svid(svid.chain, Authority.create(TD, at=AT).bundle, at=AT)
