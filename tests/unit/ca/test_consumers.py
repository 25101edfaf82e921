"""Who holds which bundle, as a rotation has to know it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ca.consumers import Consumers
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
