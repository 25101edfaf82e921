"""Durations as Go reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parser.duration import NANOSECONDS, parse_duration

MILLISECOND = NANOSECONDS // 1000


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("5s", 5 * NANOSECONDS),
        ("1.5s", 1500 * MILLISECOND),
        ("500ms", 500 * MILLISECOND),
        ("1m30s", 90 * NANOSECONDS),
        ("1h0.5m", 3630 * NANOSECONDS),
        (".5s", 500 * MILLISECOND),
        ("5.s", 5 * NANOSECONDS),
        ("0", 0),
        ("-0", 0),
        ("+5s", 5 * NANOSECONDS),
        ("-1ms", -MILLISECOND),
        ("100us", 100_000),
        ("100µs", 100_000),
        ("100μs", 100_000),
        ("1.9ns", 1),
        ("0.000000001s", 1),
        ("2562047h47m16.854775807s", 2**63 - 1),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", ".s", ".", "+", "-", "5 s", " 5s", "5s ", "5s\n", "5d", "5S", "1e3s", "1s-1s", "--1s", "\u0665s", "2562048h", "9" * 63 + "s", "1" + "0" * 70 + "ns"],
)  # fmt: skip
def test_what_go_refuses_is_none(text: str) -> None:
    assert parse_duration(text) is None


@given(st.text(max_size=80) | st.text("0123456789.smhnuµ+-", max_size=80))
def test_reading_is_total(text: str) -> None:
    found = parse_duration(text)
    assert found is None or abs(found) < 2**63


@given(st.integers(0, 2**40), st.sampled_from(["ns", "us", "ms", "s"]))
def test_whole_numbers_keep_their_worth(number: int, unit: str) -> None:
    worth = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": NANOSECONDS}[unit]
    expected = number * worth
    assert parse_duration(f"{number}{unit}") == (expected if expected < 2**63 else None)
