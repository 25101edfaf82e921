"""Reports of proofs: for people, and for the programs that run them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import orjson

from authz.span import Span
from cli.reports import github, junit, sarif
from mesh.proving.proofs import Status
from mesh.proving.results import FileResult, Result
from mesh.proving.showing import Decided, Shown
from parser.diagnostics import Diagnostic
from parser.excerpt import visible

__all__ = ["WRITERS", "Report", "Writer"]


@dataclass(frozen=True, slots=True)
class Report:
    """What came of files of invariants: all that is to be told."""

    results: Sequence[FileResult]
    seconds: float

    @property
    def all(self) -> list[Result]:
        """The results of all files."""
        return [result for file in self.results for result in file.results]

    @property
    def ok(self) -> bool:
        """Whether all are proved, of at least one."""
        return bool(self.all) and all(result.ok for result in self.all)


Writer = Callable[[Report], bytes]
"""Writes a report in one format."""


def _text(report: Report) -> bytes:
    lines: list[str] = []
    for file in report.results:
        for result in file.results:
            lines.append(_headline(result))
            lines += (f"  {label:<8}  {text}".rstrip() for label, text in _details(result))
            lines += [""] if not result.ok else []
        lines += [f"in {file.file} it is assumed that", *(f"  - {each}" for each in file.assumptions)]
    return _encoded([*lines, _summary(report)])


def _headline(result: Result) -> str:
    verdict = f"{result.status.value:<7}"
    if result.ok:
        questions = _counted(result.questions, "question", "questions")
        return f"{verdict}  {result.id}  (over {questions}, in {1000 * result.seconds:.0f} ms)"
    return f"{verdict}  {result.id}  {_why(result)}"


def _why(result: Result) -> str:
    return result.reason if result.shown is None else f"{result.reason}: {result.shown.summary}"


def _details(result: Result) -> Iterator[tuple[str, str]]:
    """All there is to say about an invariant that is not proved: a label and a line each."""
    if result.ok:
        return
    yield "claimed", str(result.span)
    if result.because:
        yield "because", result.because
    for rule in result.rules:
        place = "" if rule.place is None else f" ({rule.place})"
        yield "rule", f"{rule.name}{place}: {rule.words}"
    for name, shown in (("request", result.shown), ("respelt", result.respelt)):
        if shown is not None:
            yield from _shown(name, shown)
    if result.test is not None:
        for number, line in enumerate(result.test.splitlines()):
            yield "" if number else "test", line


def _shown(name: str, shown: Shown) -> Iterator[tuple[str, str]]:
    yield "decided", str(shown.decided)
    if shown.before is not None:
        yield "before", str(shown.before)
    yield name, shown.json
    if shown.curl is not None:
        yield "curl", shown.curl
    if shown.allowed_by:
        yield "custom", f"{', '.join(shown.allowed_by)} let it through"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _summary(report: Report) -> str:
    """One line, the verdict first."""
    counts = {status: sum(result.status is status for result in report.all) for status in Status}
    wrong = [
        f"{counts[status]} {word}"
        for status, word in ((Status.BROKEN, "broken"), (Status.VACUOUS, "vacuous"))
        if counts[status]
    ]
    of = f"{', '.join(wrong)} of " if wrong else ""
    invariants = _counted(len(report.all), "invariant", "invariants")
    files = _counted(len(report.results), "file", "files")
    verdict = "proved" if report.ok else "failed"
    return f"{verdict}: {of}{invariants} in {files}, {report.seconds:.2f} s"


def _encoded(lines: Iterable[str]) -> bytes:
    return "".join(f"{visible(line)}\n" for line in lines).encode()


# For programs -----------------------------------------------------------------------------------------------------------


def _json(report: Report) -> bytes:
    document = {
        "verdict": "proved" if report.ok else "failed",
        "seconds": round(report.seconds, 3),
        "files": [
            {
                "file": file.file,
                "assumptions": file.assumptions,
                "invariants": list(map(_as_data, file.results)),
            }
            for file in report.results
        ],
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2)


def _as_data(result: Result) -> dict[str, object]:
    shown = result.shown
    return {
        "id": result.id,
        "verdict": result.status.value,
        "reason": result.reason or None,
        "because": result.because or None,
        "file": result.span.file,
        "line": result.span.line,
        "questions": result.questions,
        "seconds": round(result.seconds, 4),
        "rules": [
            {"rule": rule.name, **_place_as_data(rule.place), "covered_by": rule.covered_by} for rule in result.rules
        ],
        "witness": None if shown is None else _shown_as_data(shown),
        "respelt": None if result.respelt is None else _shown_as_data(result.respelt),
        "test": result.test,
    }


def _shown_as_data(shown: Shown) -> dict[str, object]:
    return {
        "request": shown.document,
        "curl": shown.curl,
        "allowed_by": shown.allowed_by,
        "decided": _decided_as_data(shown.decided),
        "before": None if shown.before is None else _decided_as_data(shown.before),
    }


def _decided_as_data(decided: Decided) -> dict[str, object]:
    return {"words": decided.words, **_place_as_data(decided.place)}


def _place_as_data(place: Span | None) -> dict[str, object]:
    return {"file": None if place is None else place.file, "line": None if place is None else place.line}


def _junit(report: Report) -> bytes:
    return junit.write_junit(map(_suite, report.results), name="meshward prove")


def _suite(file: FileResult) -> junit.Suite:
    assumed = "\n".join(["it is assumed that", *(f"- {each}" for each in file.assumptions)])
    cases = tuple(
        junit.Case(
            name=f"{file.file}::{result.id}",
            file=result.span.file,
            line=result.span.line,
            seconds=result.seconds,
            failure=None if result.ok else _failure(result),
            output=assumed,
        )
        for result in file.results
    )
    return junit.Suite(file.file, cases)


def _failure(result: Result) -> junit.Outcome:
    details = "\n".join(f"{label:<8}  {text}".rstrip() for label, text in _details(result))
    return junit.Outcome(_why(result), details, result.status.value.lower())


def _diagnostics(report: Report) -> list[Diagnostic]:
    """Those that are not proved, at their places."""
    return [
        Diagnostic(
            f"invariant-{result.status.value.lower()}",
            f"{result.id}: {_why(result)}",
            result.span,
            help=str(result.shown.decided) if result.shown is not None else _remedy(result),
        )
        for result in report.all
        if not result.ok
    ]


def _remedy(result: Result) -> str:
    if result.rules:
        return "; ".join(f"{rule.name}: {rule.words}" for rule in result.rules)
    return "say what is meant, or `may-be-empty: true`"


_RULES = {
    "invariant-broken": sarif.Rule(
        summary="An invariant does not hold.",
        text="There is a request for which what the file claims is not so. docs/prove.md says how it is read.",
    ),
    "invariant-vacuous": sarif.Rule(
        summary="An invariant is about no request.",
        text="What it selects matches nothing, so it would hold whatever the policies say. docs/prove.md says what to do.",
    ),
}


def _sarif(report: Report) -> bytes:
    return sarif.write_sarif(_diagnostics(report), _RULES, version=version("meshward"))


def _github(report: Report) -> bytes:
    return github.write_github(_diagnostics(report)) + _encoded([_summary(report)])


def _markdown(report: Report) -> bytes:
    lines = [f"**{_summary(report)}**", "", "| | Invariant | |", "|---|---|---|"]
    lines += (f"| {result.status.value} | {_cell(result.id)} | {_escaped(_note(result))} |" for result in report.all)
    for result in report.all:
        if not result.ok:
            lines += ["", f"<details><summary>{_html(result.id)}</summary>", ""]
            lines += _fenced([f"{label:<8}  {text}".rstrip() for label, text in _details(result)])
            lines += ["", "</details>"]
    assumed = list(dict.fromkeys(each for file in report.results for each in file.assumptions))
    lines += ["", "<details><summary>Assumed</summary>", "", *(f"- {_escaped(each)}" for each in assumed), ""]
    return _encoded([*lines, "</details>"])


def _note(result: Result) -> str:
    if not result.ok:
        return _why(result)
    return f"over {_counted(result.questions, 'question', 'questions')}, in {1000 * result.seconds:.0f} ms"


def _fenced(block: list[str]) -> list[str]:
    # No line in it may end it.
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", "\n".join(block))), default=0))
    return [fence, *block, fence]


def _cell(text: str) -> str:
    return f"`` {text} ``".replace("|", "\\|")


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _escaped(text: str) -> str:
    """Text of which nothing is taken for Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]|~<>&#])", r"\\\1", text)


WRITERS: Mapping[str, Writer] = {
    "text": _text,
    "json": _json,
    "junit": _junit,
    "sarif": _sarif,
    "github": _github,
    "markdown": _markdown,
}
