"""What is kept for streams: shared, verified, and made anew when it is time."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ca.authority import Authority
from ca.errors import NotReadyError, RecheckError
from ca.inventory import InventoryFilter
from ca.renewing import renewal_at
from ca.streams.kept_svids import HeldSvid, KeptSvids
from identity import Bundle
from tests.unit.ca.offices import AT, TD, WEB, TestOffice, caller, office

ME = f"unix:uid:{os.geteuid()}"
WHO = caller(ME, name=ME)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[TestOffice]:
    with office(tmp_path) as made:
        yield made


def issued(made: TestOffice) -> int:
    return len(made.office.store.inventory.list(InventoryFilter(), at=AT).rows)


def bundle(made: TestOffice) -> Bundle:
    return made.office.signing.now().bundle


def test_who_gives_up_waiting_takes_it_from_nobody_else(made: TestOffice) -> None:
    entry = made.entry(WEB, ME)

    async def scene() -> None:
        kept = KeptSvids(made.office)
        impatient, patient = (asyncio.create_task(kept.of(WHO, entry, bundle(made))) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        held = await patient
        assert held.svid.spiffe_id == WEB
        assert await kept.of(WHO, entry, bundle(made)) is held

    asyncio.run(scene())
    assert issued(made) == 1


def test_another_caller_has_another_key(made: TestOffice) -> None:
    entry = made.entry(WEB, "unix:gid:1")

    async def scene() -> None:
        kept = KeptSvids(made.office)
        one, other = [await kept.of(caller("unix:gid:1", name=name), entry, bundle(made)) for name in ("a", "b")]
        assert one.svid.leaf.public_key() != other.svid.leaf.public_key()

    asyncio.run(scene())


def test_what_does_not_verify_by_the_bundle_that_goes_out_never_does(made: TestOffice) -> None:
    entry = made.entry(WEB, ME)
    strange = Authority.create(TD, at=AT).issue_with_new_key(WEB, at=AT)

    async def scene() -> None:
        kept = KeptSvids(made.office)
        # Planted, as a fault of ours would.
        kept._held[WHO.name, entry.id] = HeldSvid(strange, entry, "x", AT + timedelta(hours=1))
        held = await kept.of(WHO, entry, bundle(made))
        assert held.svid.chain != strange.chain
        with pytest.raises(RecheckError):
            await kept.of(WHO, entry, Authority.create(TD, at=AT).bundle)

    asyncio.run(scene())


def test_an_entry_that_says_something_else_leads_to_another(made: TestOffice) -> None:
    entry = made.entry(WEB, ME)

    async def scene() -> None:
        kept = KeptSvids(made.office)
        first = await kept.of(WHO, entry, bundle(made))
        second = await kept.of(WHO, replace(entry, dns_names=("web.shop",)), bundle(made))
        assert b"web.shop" in second.svid.leaf.tbs_certificate_bytes
        assert first != second

    asyncio.run(scene())


def test_what_cannot_be_renewed_is_good_until_its_end_and_asked_for_again_soon(made: TestOffice) -> None:
    entry = made.entry(WEB, ME)

    async def scene() -> None:
        kept = KeptSvids(made.office)
        held = await kept.of(WHO, entry, bundle(made))
        made.office.signing._signing = replace(made.office.signing.now(), authority=None)
        made.clock.pass_by(timedelta(minutes=59))
        again = await kept.of(WHO, entry, bundle(made))
        assert again.svid is held.svid
        assert again.due == made.clock() + timedelta(seconds=5)
        made.clock.pass_by(timedelta(minutes=2))
        with pytest.raises(NotReadyError):
            await kept.of(WHO, entry, bundle(made))

    asyncio.run(scene())


def test_half_of_a_life_is_give_or_take_a_tenth() -> None:
    svid = Authority.create(TD, at=AT).issue_with_new_key(WEB, at=AT)
    found = [renewal_at(svid, at=AT) - AT for _ in range(200)]
    assert timedelta(minutes=27) <= min(found) < timedelta(minutes=29)
    assert timedelta(minutes=31) < max(found) <= timedelta(minutes=33)
