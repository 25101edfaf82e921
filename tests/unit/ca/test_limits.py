"""How often callers may ask."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.errors import LimitedError
from ca.limits import Limits
from ca.networks import network_of
from ca.refusals import RefusalKind, refusal_of
from tests.unit.ca.offices import caller


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def refused(limits: Limits, peer: str) -> timedelta | None:
    """When it may come again; `None` if it is let through."""
    try:
        limits.attesting(peer)
    except LimitedError as error:
        return error.retry_after
    return None


def attested(limits: Limits, peer: str, times: int) -> int:
    """How many of so many attempts are let through."""
    return [refused(limits, peer) for _ in range(times)].count(None)


def test_who_asks_too_often_is_told_when_to_come_again_and_nobody_else_is() -> None:
    limits = Limits(attest_per_second=3, issue_per_second=2, clock=Clock())
    assert attested(limits, "10.0.0.1", 3) == 3
    with pytest.raises(LimitedError) as caught:
        limits.attesting("10.0.0.1")
    assert timedelta(0) < caught.value.retry_after <= timedelta(seconds=1)
    assert refusal_of(caught.value).kind is RefusalKind.LIMITED
    limits.attesting("10.0.0.2")
    for _ in range(2):
        limits.issuing(caller(name="a"))
    with pytest.raises(LimitedError):
        limits.issuing(caller(name="a"))
    limits.issuing(caller(name="b"))


def test_the_end_of_one_second_counts_in_the_next() -> None:
    clock = Clock()
    limits = Limits(attest_per_second=100, clock=clock)
    clock.now = 1000.75
    assert attested(limits, "a", 200) == 100
    # Not another hundred within half a second.
    clock.now = 1001.25
    assert attested(limits, "a", 200) == 25
    clock.now = 1003.0
    assert attested(limits, "a", 200) == 100


@given(
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0, 0.7), st.integers(1, 30)), max_size=30),
)
def test_who_comes_when_told_to_is_let_in(most: int, visits: list[tuple[float, int]]) -> None:
    clock = Clock()
    limits = Limits(attest_per_second=most, clock=clock)
    for passed, times in visits:
        clock.now += passed
        for _ in range(times):
            told = refused(limits, "a")
            if told is not None:
                assert timedelta(0) < told <= timedelta(seconds=1)
                clock.now += told.total_seconds() + 1e-6
                assert refused(limits, "a") is None


def test_nobody_who_has_gone_is_remembered() -> None:
    clock = Clock()
    limits = Limits(clock=clock)
    for number in range(1000):
        limits.attesting(f"10.0.{number // 256}.{number % 256}")
    for _ in range(2):
        clock.now += 1
        limits.attesting("10.9.9.9")
    window = limits._attesting
    assert set(window._now) | set(window._before) == {"10.9.9.9"}


def test_addresses_of_one_network_of_ipv6_count_as_one() -> None:
    limits = Limits(attest_per_second=2, clock=Clock())
    limits.attesting("2001:db8:1:2::1")
    limits.attesting("2001:db8:1:2:ffff::2")
    with pytest.raises(LimitedError):
        limits.attesting("2001:db8:1:2:3:4:5:6")
    limits.attesting("2001:db8:1:3::1")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:0db8:0000::ffff:1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:uid:1000", "unix:uid:1000"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_whom_an_address_counts_as(address: str, network: str) -> None:
    assert network_of(address) == network
