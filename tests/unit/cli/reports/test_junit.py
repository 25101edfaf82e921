"""JUnit's XML, as its own library reads it again."""

from time import perf_counter

from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped

from cli.reports.junit import Case, Outcome, Suite, write_junit


def read(*suites: Suite) -> JUnitXml:
    return JUnitXml.fromstring(write_junit(suites, name="meshward"))


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


@given(st.text(), st.text(), st.text())
def test_whatever_the_text_it_is_xml(name: str, message: str, output: str) -> None:
    ((case,),) = read(Suite(name, (Case(name=name, failure=Outcome(message, message, message), output=output),)))
    assert case.is_failure


def test_thousands_of_cases_are_written_at_once() -> None:
    cases = tuple(Case(name=f"c{number}") for number in range(5000))
    start = perf_counter()
    written = write_junit([Suite(f"s{number}", ()) for number in range(500)] + [Suite("s", cases)], name="n")
    assert perf_counter() - start < 5
    assert isinstance(JUnitXml.fromstring(written), JUnitXml)
