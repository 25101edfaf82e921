"""Who holds which bundle, as a rotation has to know it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ca.consumers import MOST_NAMES, Consumers
from ca.store import Store
from tests.unit.ca.offices import AT, SetClock

HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path}/store/store.db") as store:
        yield store


def of(store: Store, clock: SetClock) -> Consumers:
    return Consumers(store.authorities, counts_for=HOUR, clock=clock)


def flushed(store: Store) -> None:
    """Wait until what was written before is on the disk."""
    store.authorities.acknowledge("nobody", 9, at=AT - 2 * HOUR).result()


def test_a_stream_counts_from_when_it_is_open_here_and_for_other_replicas(store: Store) -> None:
    clock = SetClock()
    here, there = of(store, clock), of(store, clock)
    here.opened("envoy")
    assert here.acknowledged(at=AT) == {"envoy": 0}
    flushed(store)
    assert there.acknowledged(at=AT) == {"envoy": 0}
    here.holds("envoy", 3, at=AT)
    here.holds("envoy", 2, at=AT)
    flushed(store)
    assert here.acknowledged(at=AT) == there.acknowledged(at=AT) == {"envoy": 3}


def test_who_is_gone_counts_as_long_as_what_it_was_issued_may_live(store: Store) -> None:
    clock = SetClock()
    consumers = of(store, clock)
    consumers.opened("envoy")
    consumers.opened("envoy")
    consumers.closed("envoy")
    clock.pass_by(2 * HOUR)
    assert consumers.acknowledged(at=clock()) == {"envoy": 0}
    consumers.closed("envoy")
    assert consumers.acknowledged(at=clock()) == {}


def test_a_caller_has_so_many_names_and_what_is_beyond_shares_one(store: Store) -> None:
    clock = SetClock()
    consumers = of(store, clock)
    names = {consumers.name("uid 7", f"node-{number}") for number in range(2 * MOST_NAMES)}
    assert len(names) == MOST_NAMES + 1
    assert consumers.name("uid 7", "node-0") == "uid 7 node-0"
    assert consumers.name("uid 7", "node-new") == "uid 7 (and others)"
    assert consumers.name("uid 8", "node-new") == "uid 8 node-new"

    consumers.opened("uid 7 node-1")
    clock.pass_by(2 * HOUR)
    consumers.still_here(at=clock())
    assert consumers.name("uid 7", "node-new") == "uid 7 node-new"
    for number in range(MOST_NAMES - 2):
        consumers.name("uid 7", f"later-{number}")
    # The one whose stream is open has kept its name, and its place.
    assert consumers.name("uid 7", "node-2") == "uid 7 (and others)"
    assert consumers.name("uid 7", "node-1") == "uid 7 node-1"


def test_who_is_long_gone_is_forgotten_by_the_store(store: Store) -> None:
    clock = SetClock()
    consumers = of(store, clock)
    consumers.holds("gone", 2, at=AT)
    clock.pass_by(2 * HOUR)
    consumers.still_here(at=clock())
    flushed(store)
    assert store.authorities.acknowledged(since=AT) == {"gone": 2}
    clock.pass_by(timedelta(seconds=1))
    consumers.still_here(at=clock())
    flushed(store)
    assert store.authorities.acknowledged(since=AT) == {}


def test_who_stays_for_long_is_written_down_again(store: Store) -> None:
    clock = SetClock()
    consumers = of(store, clock)
    consumers.opened("envoy")
    consumers.holds("envoy", 3, at=AT)
    clock.pass_by(2 * HOUR)
    consumers.still_here(at=clock())
    flushed(store)
    assert of(store, clock).acknowledged(at=clock()) == {"envoy": 3}


def test_who_only_asks_counts_from_then_on(store: Store) -> None:
    clock = SetClock()
    consumers = of(store, clock)
    consumers.holds("istio:shop/web", 2, at=AT)
    flushed(store)
    assert consumers.acknowledged(at=AT + HOUR) == {"istio:shop/web": 2}
    assert consumers.acknowledged(at=AT + HOUR + timedelta(seconds=1)) == {}
