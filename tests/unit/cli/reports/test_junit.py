"""JUnit's XML, as its own library reads it again."""

from dataclasses import replace
from time import perf_counter
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped

from cli.reports.junit import Case, Outcome, Suite, write_junit
from tests.unit.cli.reports.schemas import JUnitSchema, junit_in


def read(*suites: Suite) -> JUnitXml:
    written = write_junit(suites, name="meshward")
    junit_in(written)
    return JUnitXml.fromstring(written)


def test_cases_keep_what_became_of_them() -> None:
    report = read(
        Suite(
            "a.yaml",
            (Case(name="passes"), Case(name="fails", failure=Outcome("got DENY", "line 1\nline 2", "verdict"))),
        ),
        Suite("b.yaml", (Case(name="breaks", error=Outcome("cannot")), Case(name="waits", skipped="later"))),
    )
    assert (report.tests, report.failures, report.errors, report.skipped) == (4, 1, 1, 1)
    first, second = report
    passed, failed = first
    assert (first.name, passed.name, passed.classname, passed.is_passed) == ("a.yaml", "passes", "a.yaml", True)
    (failure,) = failed.result
    assert isinstance(failure, Failure)
    assert (failure.message, failure.type, failure.text) == ("got DENY", "verdict", "line 1\nline 2")
    broken, waiting = second
    assert [type(each) for case in (broken, waiting) for each in case.result] == [Error, Skipped]


def test_a_case_says_where_it_is_written_and_how_long_it_took() -> None:
    written = write_junit([Suite("s", (Case(name="c", file="a.yaml", line=7, seconds=0.25, output="seen"),))], name="n")
    assert written.startswith(b'<?xml version="1.0" encoding="utf-8"?>\n')
    assert b'file="a.yaml"' in written
    assert b'line="7"' in written
    assert b'time="0.25"' in written
    ((case,),) = JUnitXml.fromstring(written)
    assert case.system_out == "seen"


# Surrogates, too: a file's name need not be text.
TEXTS = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["]]>", "\x00\x1b", "\ufffe\uffff", "\udcff", "x" * 10**5]
)
OUTCOMES = st.builds(Outcome, message=TEXTS, details=TEXTS, kind=TEXTS)
CASES = st.builds(
    Case,
    name=TEXTS,
    file=st.none() | TEXTS,
    line=st.none() | st.integers(1, 10**9),
    seconds=st.floats(0, 1e9),
    output=TEXTS,
)
ENDED = st.one_of(
    CASES,
    st.builds(replace, CASES, failure=OUTCOMES),
    st.builds(replace, CASES, error=OUTCOMES),
    st.builds(replace, CASES, skipped=TEXTS),
)
SUITES = st.builds(Suite, TEXTS, st.lists(ENDED, max_size=4).map(tuple))


@given(st.lists(SUITES, max_size=3))
@example([Suite("s", (Case(name="c", seconds=1e-05),))])
@example([Suite("s", (Case(name="c", seconds=0.1), Case(name="d", seconds=0.2)))])
def test_whatever_there_is_to_say_the_report_is_one_of_the_schema(suites: list[Suite]) -> None:
    root = junit_in(write_junit(suites, name="meshward"))
    cases = [case for suite in suites for case in suite.cases]
    assert root.get("tests") == str(len(cases))
    assert root.get("failures") == str(sum(case.failure is not None for case in cases))
    assert root.get("errors") == str(sum(case.error is not None for case in cases))
    assert root.get("skipped") == str(sum(case.skipped is not None for case in cases))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'time="0.25"', b'time="2.5e-01"'),
        (b'tests="1"', b'tests="one"'),
        (b'name="c" ', b""),
        (b"<failure ", b"<failed "),
        (b"</failure>", b"</failure><skipped message='s'/>"),
    ],
)
def test_the_schema_refuses_what_is_no_report(was: bytes, becomes: bytes) -> None:
    written = write_junit([Suite("s", (Case(name="c", seconds=0.25, failure=Outcome("f", "d")),))], name="n")
    assert was in written
    broken = written.replace(was, becomes).replace(
        b"</failure>", b"</failed>" if b"<failed" in becomes else b"</failure>"
    )
    assert not JUnitSchema.is_valid(ET.fromstring(broken))  # noqa: S314  # our own


def test_thousands_of_cases_are_written_at_once() -> None:
    cases = tuple(Case(name=f"c{number}") for number in range(5000))
    start = perf_counter()
    written = write_junit([Suite(f"s{number}", ()) for number in range(500)] + [Suite("s", cases)], name="n")
    assert perf_counter() - start < 5
    assert isinstance(JUnitXml.fromstring(written), JUnitXml)
