"""Every vector of `tests/vectors/jwt` comes to what it says."""

import re
from pathlib import Path

import pytest

from authn import JwtStatus
from tests.unit.authn.vectors import FILES, cases

SECTION = re.compile(r"\((?:[^()]*, )?(?:\d|CVE-|RFC |measured)[^()]*\)$")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_request_comes_to_what_its_vector_says(file: Path) -> None:
    for case in cases(file):
        outcome = case.outcome()
        assert outcome == case.expected(outcome), f"{case.why}\n{case.attributes}"


def test_every_vector_says_why_and_by_which_section() -> None:
    assert [case.why for file in FILES for case in cases(file) if not SECTION.search(case.why)] == []


def test_there_is_a_vector_for_every_status_that_a_vector_can_lead_to() -> None:
    denied = {case.expect.get("denied") for file in FILES for case in cases(file)}
    # Missing keys and very long tokens have tests of their own.
    others = {JwtStatus.KEYS_UNAVAILABLE, JwtStatus.TOO_LONG}
    assert denied >= {status.value for status in JwtStatus if status not in others}


def test_there_are_many() -> None:
    assert sum(len(cases(file)) for file in FILES) > 200
