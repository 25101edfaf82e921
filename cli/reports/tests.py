"""Reports of policy tests: for people, and for the programs that run them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import orjson

from authz.span import Span
from cli.reports import github, junit
from cli.reports.coverage import coverage_as_data, lines_of_coverage
from mesh.testing.coverage import Coverage
from mesh.testing.results import Failed, Result, Through
from parser.diagnostics import Diagnostic
from parser.excerpt import visible

__all__ = ["WRITERS", "Report", "Writer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of files of tests: all that is to be told. `coverage` is that of all files, where it is to be told.

    `broken` are the files that could not be run.
    """

    results: Sequence[Result]
    seconds: float
    broken: Sequence[str] = ()
    coverage: Coverage | None = None
    verbose: bool = False

    @property
    def cases(self) -> int:
        """How many cases were run."""
        return sum(result.cases for result in self.results)

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return sum(len(result.failed) for result in self.results)

    @property
    def shortfalls(self) -> list[str]:
        """What is covered less than its file demands."""
        return [f"{result.file}: {each}" for result in self.results for each in result.shortfalls]

    @property
    def ok(self) -> bool:
        """Whether all is as it should be."""
        return not (self.failed or self.shortfalls or self.broken)


Writer = Callable[[Report], bytes]
"""Writes a report in one format."""


def _text(report: Report) -> bytes:
    lines: list[str] = []
    for result in report.results:
        lines += (f"ok      {name}" for name in result.passed if report.verbose)
        for failed in result.failed:
            lines += [f"FAILED  {failed.name}", *(f"        {line}" for line in _details(failed)), ""]
        lines.append(f"{result.file}: {_counts(result)}")
    if report.coverage is not None:
        lines += lines_of_coverage(report.coverage)
    lines += report.shortfalls
    lines.append(_summary(report))
    return _encoded(lines)


def _details(failed: Failed) -> Iterator[str]:
    """All there is to say about a case that failed, a line each."""
    yield from failed.problems
    if failed.answer.headline:
        yield failed.answer.headline
    yield from (f"  {label:<10}  {text}" for label, text in failed.answer.lines)
    yield f"as {failed.caller}, in the test at {failed.span}" if failed.caller else f"in the test at {failed.span}"
    if failed.curl is not None:
        yield failed.curl
    for through in failed.through:
        yield from _way(through)


def _way(through: Through) -> Iterator[str]:
    yield f"{through.kind}" + ("" if through.why is None else f": {through.why}")
    yield f"  ALLOW  {through.decided}"
    yield f"  {through.curl}"


def _counts(result: Result) -> str:
    counts = [_counted(result.cases, "case", "cases")]
    if result.failed:
        counts.append(f"{len(result.failed)} failed")
    if result.mutants:
        counts.append(_counted(result.mutants, "evasion", "evasions"))
    return ", ".join(counts)


def _summary(report: Report) -> str:
    cases = _counted(report.cases, "case", "cases")
    of = f"{report.failed} of {cases}" if report.failed else cases
    where = _counted(len(report.results), "file", "files")
    low = ", coverage is too low" if report.shortfalls else ""
    broken = f", {_counted(len(report.broken), 'file', 'files')} not run" if report.broken else ""
    return f"{'ok' if report.ok else 'failed'}: {of} in {where}{low}{broken}, {report.seconds:.2f} s"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _encoded(lines: Iterable[str]) -> bytes:
    return "".join(f"{visible(line)}\n" for line in lines).encode()


def _json(report: Report) -> bytes:
    document = {
        "verdict": "ok" if report.ok else "failed",
        "cases": report.cases,
        "failed": report.failed,
        "broken": report.broken,
        "seconds": round(report.seconds, 3),
        "files": [
            {
                "file": result.file,
                "cases": result.cases,
                "evasions": result.mutants,
                "failed": [_failed_as_data(each) for each in result.failed],
                **({"passed": result.passed} if report.verbose else {}),
                "shortfalls": result.shortfalls,
            }
            for result in report.results
        ],
        **({} if report.coverage is None else {"coverage": coverage_as_data(report.coverage)}),
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2)


def _failed_as_data(failed: Failed) -> dict[str, object]:
    return {
        "name": failed.name,
        "file": failed.span.file,
        "line": failed.span.line,
        "caller": failed.caller,
        "problems": failed.problems,
        "answer": [failed.answer.headline, *(f"{label}: {text}" for label, text in failed.answer.lines)],
        "curl": failed.curl,
        "through": [asdict(through) for through in failed.through],
    }


def _junit(report: Report) -> bytes:
    broken = [junit.Suite(name, (junit.Case(name=name, file=name, error=_BROKEN),)) for name in report.broken]
    return junit.write_junit([*map(_suite, report.results), *broken], name="meshward test")


_BROKEN = junit.Outcome("something is wrong with this file, or with its manifests", kind="invalid")


def _suite(result: Result) -> junit.Suite:
    cases = [*map(_passed_case, result.passed), *map(_failed_case, result.failed)]
    if result.shortfalls:
        outcome = junit.Outcome("; ".join(result.shortfalls), kind="coverage")
        cases.append(junit.Case(name=f"{result.file}::coverage", file=result.file, failure=outcome))
    return junit.Suite(result.file, tuple(cases))


def _passed_case(name: str) -> junit.Case:
    return junit.Case(name=name)


def _failed_case(failed: Failed) -> junit.Case:
    outcome = junit.Outcome("; ".join(failed.problems), "\n".join(_details(failed)), "policy-test")
    return junit.Case(name=failed.name, file=failed.span.file, line=failed.span.line, failure=outcome)


def _github(report: Report) -> bytes:
    found = [
        Diagnostic(
            "policy-test", f"{failed.name}: {'; '.join(failed.problems)}", failed.span, help=failed.answer.headline
        )
        for result in report.results
        for failed in result.failed
    ]
    found += (
        Diagnostic("coverage", shortfall, Span(result.file, 1, 1, 1, 1))
        for result in report.results
        for shortfall in result.shortfalls
    )
    return github.write_github(found) + _encoded([_summary(report)])


def _markdown(report: Report) -> bytes:
    lines = [f"**{_summary(report)}**", "", "| File | Cases | Failed | Evasions |", "|---|---|---|---|"]
    lines += (
        f"| {_cell(result.file)} | {result.cases:,} | {len(result.failed):,} | {result.mutants:,} |"
        for result in report.results
    )
    if report.coverage is not None:
        lines += ["", *_fenced(list(lines_of_coverage(report.coverage)))]
    lines += (f"- {shortfall}" for shortfall in report.shortfalls)
    for failed in (failed for result in report.results for failed in result.failed):
        lines += ["", *_fenced([failed.name, *_details(failed)])]
    return _encoded(lines)


def _fenced(block: list[str]) -> list[str]:
    # No line in it may end it.
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", "\n".join(block))), default=0))
    return [fence, *block, fence]


def _cell(text: str) -> str:
    return f"`` {text} ``".replace("|", "\\|")


WRITERS: Mapping[str, Writer] = {
    "text": _text,
    "junit": _junit,
    "json": _json,
    "github": _github,
    "markdown": _markdown,
}
"""Every format by its name on the command line."""
