"""An office of a plugged-in authority: who signs, what is trusted, and what happens when the operator's files change."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ca.errors import NotReadyError, PluggedError, UnknownKeyError
from ca.inventory import InventoryFilter
from ca.joining import attest_renewal
from ca.office import Office
from ca.phases import SlotKind
from ca.signing import Signing
from identity import verify_jwt_svid, verify_x509_svid
from tests.unit.ca.offices import TestOffice, caller, office
from tests.unit.ca.test_plugged import CA, ROOT, TD, WEB, cacerts
from tests.unit.identity.chains import AT, Chain, build

USER = caller("unix:uid:1000")
LONG = replace(CA, to_hours=800)
Files = dict[str, bytes]


def chain(**middle: int) -> Chain:
    """A root and what signs under it, with as many between as are named, each with its path length."""
    between = {name: replace(LONG, subject=name, path_length=length) for name, length in middle.items()}
    return build({"root": replace(ROOT, path_length=len(middle) + 1), **between, "ca": LONG})


def put(directory: Path, files: Files) -> None:
    directory.mkdir(exist_ok=True)
    for name, content in files.items():
        (directory / f".{name}").write_bytes(content)
        (directory / f".{name}").rename(directory / name)


def with_roots(of: Chain, *others: Chain) -> Files:
    files = cacerts(of)
    return {
        **files,
        "root-cert.pem": files["root-cert.pem"] + b"".join(cacerts(each)["root-cert.pem"] for each in others),
    }


@contextmanager
def plugged(directory: Path, files: Files | None = None) -> Iterator[TestOffice]:
    if files is not None:
        put(directory / "cacerts", files)
    with office(directory, at=AT, trust_domain=TD, plugged=directory / "cacerts") as made:
        yield made


def another(made: TestOffice, directory: Path) -> Office:
    """Another replica, or the same after a restart."""
    office = Office.of(TD, made.office.store, made.keys, made.office.settings, clock=made.clock, plugged=directory)
    office.open()
    return office


def refresh(made: TestOffice) -> Signing:
    made.office.signing.refresh()
    return made.office.signing.now()


def issue(made: TestOffice) -> tuple[x509.Certificate, ...]:
    made.entry(WEB, "unix:uid:1000")
    return asyncio.run(made.issue(USER)).svid.chain


def test_names_are_signed_by_the_operators_key_and_tokens_by_our_own(tmp_path: Path) -> None:
    operators = chain()
    with plugged(tmp_path, cacerts(operators)) as made:
        bundle = made.office.signing.now().bundle
        assert bundle.x509_authorities == (operators.certificates["root"],)
        found = issue(made)
        assert verify_x509_svid(found, [bundle], at=AT) == WEB
        assert found[1] == operators.certificates["ca"]
        entry = made.office.entitlements.of(USER)[0]
        minted = asyncio.run(made.office.issuance.jwt_svid(USER, entry, ("a",), at=AT))
        assert verify_jwt_svid(minted.token, [bundle], audience="a", at=AT).spiffe_id == WEB
        assert made.office.store.inventory.list(InventoryFilter(), at=AT).rows[0].intent.issuer


def test_a_holder_renews_through_all_that_stands_between(tmp_path: Path) -> None:
    with plugged(tmp_path, cacerts(chain(upper=2, lower=1))) as made:
        found = issue(made)
        assert len(found) == 4
        renewing = attest_renewal(made.office.store, made.office.signing.now(), found[0], at=AT)
        assert asyncio.run(renewing).spiffe_id == WEB


def test_files_that_make_no_authority_refuse_to_start_and_nothing_is_made_up(tmp_path: Path) -> None:
    files = cacerts(chain())
    del files["ca-key.pem"]
    with pytest.raises(PluggedError, match=r"ca-key\.pem: it is missing"), plugged(tmp_path, files):
        pass
    with pytest.raises(PluggedError, match="there is no authority"), plugged(tmp_path / "nothing"):
        pass


def test_a_store_that_signed_by_itself_is_not_taken_over(tmp_path: Path) -> None:
    put(tmp_path / "cacerts", cacerts(chain()))
    with office(tmp_path, at=AT, trust_domain=TD):
        pass
    with pytest.raises(NotReadyError, match="store of its own"), plugged(tmp_path):
        pass


def test_another_authority_is_taken_up_as_it_comes_and_the_sequence_says_so(tmp_path: Path) -> None:
    old, new = chain(), chain()
    with plugged(tmp_path, cacerts(old)) as made:
        first = made.office.signing.now()
        assert not made.office.signing.refresh()
        # As operators do: both roots, then the other key, then the new root alone.
        put(tmp_path / "cacerts", with_roots(old, new))
        both = refresh(made)
        assert (both.bundle.sequence or 0) > (first.bundle.sequence or 0)
        assert set(both.bundle.x509_authorities) == {old.certificates["root"], new.certificates["root"]}
        assert both.issuer == first.issuer
        put(tmp_path / "cacerts", with_roots(new, old))
        signing = refresh(made)
        assert verify_x509_svid(issue(made), [both.bundle], at=AT) == WEB
        assert signing.issuer != first.issuer
        assert signing.to_reissue == frozenset()
        assert signing.bundle == both.bundle
        put(tmp_path / "cacerts", cacerts(new))
        last = refresh(made)
        assert last.bundle.x509_authorities == (new.certificates["root"],)
        # Whoever still has a leaf of the old one gets another at once.
        assert last.to_reissue == {first.issuer}
        again = another(made, tmp_path / "cacerts")
        assert again.signing.now().bundle == last.bundle


def test_a_change_that_makes_no_authority_is_refused_and_the_last_good_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = chain(), chain()
    with plugged(tmp_path, cacerts(old)) as made:
        # As a copy that is half done: the key belongs to another certificate.
        put(tmp_path / "cacerts", {"ca-key.pem": cacerts(new)["ca-key.pem"]})
        for _ in range(3):
            assert not made.office.signing.refresh()
        assert "it is not the key of the certificate" in caplog.text
        assert caplog.text.count("stays as it is") == 1
        assert verify_x509_svid(issue(made), [made.office.signing.now().bundle], at=AT) == WEB
        (tmp_path / "cacerts" / "root-cert.pem").unlink()
        assert not made.office.signing.refresh()
        put(tmp_path / "cacerts", cacerts(new))
        assert made.office.signing.refresh()
        assert made.office.signing.now().authority is not None
        assert made.office.signing.now().bundle.x509_authorities == (new.certificates["root"],)


def test_files_that_were_refused_are_looked_at_again_for_their_time_may_come(tmp_path: Path) -> None:
    old, new = chain(), build({"root": replace(ROOT, from_hours=1), "ca": replace(LONG, from_hours=1)})
    with plugged(tmp_path, cacerts(old)) as made:
        put(tmp_path / "cacerts", with_roots(new, old))
        assert not made.office.signing.refresh()
        made.clock.pass_by(timedelta(hours=1))
        assert made.office.signing.refresh()
        assert new.certificates["root"] in made.office.signing.now().bundle.x509_authorities


def test_a_replica_whose_files_are_behind_trusts_what_the_other_signs_by(tmp_path: Path) -> None:
    old, new = chain(), chain()
    with plugged(tmp_path, cacerts(old)) as behind:
        put(tmp_path / "cacerts", cacerts(old))
        other = tmp_path / "other"
        put(other, with_roots(new, old))
        ahead = another(behind, other)
        assert behind.office.signing.refresh()
        bundles = [each.signing.now().bundle for each in (behind.office, ahead)]
        assert bundles[0] == bundles[1]
        for _ in range(3):
            assert not behind.office.signing.refresh()
            assert not ahead.signing.refresh()
        put(other, cacerts(new))
        assert ahead.signing.refresh()
        # What a replica signs by is trusted, whatever the other's files say.
        behind.office.signing.refresh()
        ahead.signing.refresh()
        assert set(ahead.signing.now().bundle.x509_authorities) == {old.certificates["root"], new.certificates["root"]}


def test_keys_for_tokens_are_rotated_and_roots_are_not(tmp_path: Path) -> None:
    operators = chain()
    with plugged(tmp_path, cacerts(operators)) as made:
        first = made.office.signing.now()
        made.clock.pass_by(timedelta(days=6, hours=12))
        made.office.supervisor.advance()
        made.clock.pass_by(timedelta(minutes=26))
        made.office.supervisor.advance()
        signing = refresh(made)
        assert signing.jwt is not None
        assert first.jwt is not None
        assert signing.jwt.key_id != first.jwt.key_id
        assert signing.bundle.x509_authorities == first.bundle.x509_authorities
        assert signing.authorities is not None
        assert [slot.kind for slot in signing.authorities.slots].count(SlotKind.ROOT) == 1
        assert made.office.supervisor.failure is None


def test_without_the_files_an_office_of_that_store_makes_no_authority_beside(tmp_path: Path) -> None:
    with plugged(tmp_path, cacerts(chain())):
        pass
    with pytest.raises(UnknownKeyError), office(tmp_path, at=AT, trust_domain=TD):
        pass
