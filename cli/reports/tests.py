"""Reports of policy tests: for people, and for the programs that run them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Protocol

import orjson

from cli.reports import github, junit
from mesh.testing.results import Failed, Missing, Result, Through
from parser.diagnostics import Diagnostic
from parser.excerpt import visible

__all__ = ["WRITERS", "Writer"]


class Writer(Protocol):
    """Writes what came of files of tests in one format. `seconds` is how long all of it took."""

    def __call__(self, results: Sequence[Result], /, *, verbose: bool, seconds: float) -> bytes:
        """The report, whole."""


def _text(results: Sequence[Result], /, *, verbose: bool, seconds: float) -> bytes:
    lines: list[str] = []
    for result in results:
        if verbose:
            lines += (f"ok      {name}" for name in result.passed)
        for failed in result.failed:
            lines += [f"FAILED  {failed.name}", *(f"        {line}" for line in _details(failed)), ""]
        lines.append(f"{result.file}: {_counts(result)}")
    lines.append(_summary(results, seconds))
    return _encoded(lines)


def _details(failed: Failed) -> Iterator[str]:
    """All there is to say about a case that failed, a line each."""
    yield from failed.problems
    yield f"{failed.verdict} {failed.status}  {failed.decided}"
    if failed.nearest is not None:
        yield f"nearest is {failed.nearest.rule}, but for"
        yield from map(_clause, failed.nearest.missing)
    yield f"as {failed.caller}, in the test at {failed.span}"
    if failed.curl is not None:
        yield failed.curl
    for through in failed.through:
        yield from _way(through)


def _clause(missing: Missing) -> str:
    seen = ", ".join(missing.seen) or "nothing"
    wanted = ", ".join(missing.values)
    return (
        f"  {missing.field}: {seen}, and {'none' if missing.negated else 'one'} of {wanted} is wanted ({missing.place})"
    )


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


def _summary(results: Sequence[Result], seconds: float) -> str:
    cases, failed = sum(result.cases for result in results), sum(len(result.failed) for result in results)
    of = f"{failed} of {_counted(cases, 'case', 'cases')}" if failed else _counted(cases, "case", "cases")
    where = _counted(len(results), "file", "files")
    return f"{'failed' if failed else 'ok'}: {of} in {where}, {seconds:.2f} s"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _encoded(lines: Iterable[str]) -> bytes:
    return "".join(f"{visible(line)}\n" for line in lines).encode()


def _json(results: Sequence[Result], /, *, verbose: bool, seconds: float) -> bytes:
    failed = sum(len(result.failed) for result in results)
    document = {
        "verdict": "failed" if failed else "ok",
        "cases": sum(result.cases for result in results),
        "failed": failed,
        "seconds": round(seconds, 3),
        "files": [
            {
                "file": result.file,
                "cases": result.cases,
                "evasions": result.mutants,
                "failed": [_failed_as_data(each) for each in result.failed],
                **({"passed": result.passed} if verbose else {}),
            }
            for result in results
        ],
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2)


def _failed_as_data(failed: Failed) -> dict[str, object]:
    return {**asdict(failed), "span": None, "file": failed.span.file, "line": failed.span.line}


def _junit(results: Sequence[Result], /, *, verbose: bool, seconds: float) -> bytes:
    del verbose, seconds
    suites = [
        junit.Suite(result.file, (*map(_passed_case, result.passed), *map(_failed_case, result.failed)))
        for result in results
    ]
    return junit.write_junit(suites, name="meshward test")


def _passed_case(name: str) -> junit.Case:
    return junit.Case(name=name)


def _failed_case(failed: Failed) -> junit.Case:
    outcome = junit.Outcome("; ".join(failed.problems), "\n".join(_details(failed)), "policy-test")
    return junit.Case(name=failed.name, file=failed.span.file, line=failed.span.line, failure=outcome)


def _github(results: Sequence[Result], /, *, verbose: bool, seconds: float) -> bytes:
    del verbose
    found = [
        Diagnostic("policy-test", f"{failed.name}: {'; '.join(failed.problems)}", failed.span, help=failed.decided)
        for result in results
        for failed in result.failed
    ]
    return github.write_github(found) + _encoded([_summary(results, seconds)])


def _markdown(results: Sequence[Result], /, *, verbose: bool, seconds: float) -> bytes:
    del verbose
    lines = [f"**{_summary(results, seconds)}**", "", "| File | Cases | Failed | Evasions |", "|---|---|---|---|"]
    lines += (
        f"| {_cell(result.file)} | {result.cases:,} | {len(result.failed):,} | {result.mutants:,} |"
        for result in results
    )
    for failed in (failed for result in results for failed in result.failed):
        block = [failed.name, *_details(failed)]
        # No line in it may end it.
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", "\n".join(block))), default=0))
        lines += ["", fence, *block, fence]
    return _encoded(lines)


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
