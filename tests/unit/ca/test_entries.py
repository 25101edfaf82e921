from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.entries import Entry, EntryIndex
from ca.selector import Selector
from identity import SpiffeId, TrustDomain

AT = datetime(2030, 1, 1, tzinfo=UTC)
TD = TrustDomain("example.org")

selectors = st.frozensets(st.sampled_from([Selector("k", f"v{number}") for number in range(6)]), min_size=1)


def entry(wanted: frozenset[Selector], number: int = 0) -> Entry:
    return replace(Entry.new(SpiffeId(TD, f"/w{number}"), wanted, at=AT), id=f"e{number}")


@given(st.lists(selectors, max_size=12), st.sets(st.integers(0, 11)), selectors)
def test_the_index_finds_what_going_over_all_entries_finds(
    kept: list[frozenset[Selector]], removed: set[int], caller: frozenset[Selector]
) -> None:
    entries = [entry(wanted, number) for number, wanted in enumerate(kept)]
    index = EntryIndex()
    for number, one in enumerate(entries):
        index.put(number, one)
    for number in removed:
        index.remove(f"e{number}")
    left = [one for number, one in enumerate(entries) if number not in removed]
    assert index.entries_for(caller) == tuple(one for one in left if one.selectors <= caller)
    assert len(index) == len(left)


def test_an_entry_that_is_put_again_replaces_the_one_before() -> None:
    index = EntryIndex()
    first = entry(frozenset({Selector("k", "a")}))
    second = replace(first, selectors=frozenset({Selector("k", "b")}))
    index.put(0, first)
    index.put(0, second)
    assert index.entries_for(first.selectors) == ()
    assert index.entries_for(second.selectors) == (second,)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"selectors": frozenset()}, "no selector"),
        ({"spiffe_id": TD.id}, "own name"),
        ({"ttl": timedelta(0)}, "not positive"),
        ({"jwt_ttl": timedelta(seconds=-1)}, "not positive"),
        ({"hint": "x" * 1025}, "hint"),
        ({"hint": "a\nb"}, "hint"),
    ],
)
def test_an_entry_that_would_give_too_much_away_cannot_be(change: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(entry(frozenset({Selector("k", "a")})), **change)  # type: ignore[arg-type]  # planted
