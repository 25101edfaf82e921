"""JUnit: suites of cases as the XML that CI servers show."""

from collections.abc import Iterable
from dataclasses import dataclass

from junitparser import Attr, Error, Failure, IntAttr, JUnitXml, Skipped, TestCase, TestSuite
from junitparser.junitparser import FinalResult

from parser.excerpt import visible

__all__ = ["Case", "Outcome", "Suite", "write_junit"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why a case did not pass, in a line, and all there is to say about it. `kind` names the way in which it did not."""

    message: str
    details: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case. It has at most one of `failure`, `error` and `skipped`, and passed if it has none; `output` is what there is to say all the same."""

    name: str
    file: str | None = None
    line: int | None = None
    seconds: float = 0.0
    failure: Outcome | None = None
    error: Outcome | None = None
    skipped: str | None = None
    output: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """Cases under one name."""

    name: str
    cases: tuple[Case, ...]


def write_junit(suites: Iterable[Suite], *, name: str) -> bytes:
    """The report of a run called `name`."""
    report = JUnitXml(name)
    for suite in suites:
        element = TestSuite(visible(suite.name))
        # Not one by one: the library would count all of them again each time.
        element.extend([_case(case, suite) for case in suite.cases])
        report.append(element)
    report.update_statistics()
    # The library adds seconds up, and a sum of such fractions is none that has as few digits.
    for summed in (report, *report):
        summed.time = round(summed.time, _DIGITS)
    written: bytes = report.tostring()
    return _DECLARATION + written + b"\n"


_DIGITS = 3
"""Of a second: servers read no more, and a shorter time would be written with an exponent."""
_DECLARATION = b'<?xml version="1.0" encoding="utf-8"?>\n'


class _PlacedCase(TestCase):
    """A case that says where it is written."""

    file = Attr()
    line = IntAttr()


def _case(case: Case, suite: Suite) -> TestCase:
    element = _PlacedCase(visible(case.name), classname=visible(suite.name), time=round(case.seconds, _DIGITS))
    if case.file is not None:
        element.file = visible(case.file)
    if case.line is not None:
        element.line = case.line
    results: list[FinalResult] = []
    if case.failure is not None:
        results.append(_outcome(Failure, case.failure))
    if case.error is not None:
        results.append(_outcome(Error, case.error))
    if case.skipped is not None:
        results.append(Skipped(visible(case.skipped)))
    element.result = results
    if case.output:
        element.system_out = _lines(case.output)
    return element


def _outcome(kind: type[Failure] | type[Error], outcome: Outcome) -> Failure | Error:
    element = kind(visible(outcome.message), visible(outcome.kind) or None)
    element.text = _lines(outcome.details)
    return element


def _lines(text: str) -> str:
    # XML has no way to say most control characters.
    return "\n".join(map(visible, text.split("\n")))
