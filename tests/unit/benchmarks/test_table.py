"""The table of benchmarks: what is kept, what is missed, and that the page says what the results do."""

from pathlib import Path

import pytest

from benchmarks.row import Better, Row
from benchmarks.table import Measured, markdown

PAGE = Path(__file__).parents[3] / "docs/performance.md"


def _figure(_: object) -> float:
    return 0.0


LESS = Row("a decision", 3, _figure, "µs")
MORE = Row("answers", 1_000, _figure, "/s", Better.MORE)


def test_the_page_has_the_table_that_the_results_make() -> None:
    assert markdown() in PAGE.read_text(), "paste what `python -m benchmarks --markdown` prints"


@pytest.mark.parametrize(("row", "figure"), [(LESS, 3), (LESS, 2.9), (MORE, 1_000), (MORE, 1_001)])
def test_a_promise_is_kept_up_to_its_target(row: Row, figure: float) -> None:
    assert row.kept(figure)
    assert row.ratio(figure) >= 1


@pytest.mark.parametrize(("row", "figure"), [(LESS, 3.01), (MORE, 999)])
def test_a_promise_is_missed_beyond_it(row: Row, figure: float) -> None:
    assert not row.kept(figure)
    assert row.ratio(figure) < 1


def test_what_could_not_be_measured_is_named_and_neither_met_nor_missed() -> None:
    assert Measured(LESS, None).cells == ("a decision", "at most 3 µs", "not measured", "", "skipped")
