"""What `meshward lint` found, for the programs that show it beside the lines."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import metadata, version

from authz.findings.codes import CODES
from cli.reports.junit import Case, Outcome, Suite, write_junit
from cli.reports.sarif import Rule, write_sarif
from mesh.directory import Examined
from mesh.linting import Linted
from parser.diagnostics import Diagnostic, Severity, render

__all__ = ["junit_of_findings", "sarif_of_findings"]


def sarif_of_findings(linted: Linted) -> bytes:
    """All of them as a log of SARIF, whose rules lead to the pages that tell of them."""
    return write_sarif(linted.diagnostics, _rules(linted.diagnostics), version=version("meshward"))


def junit_of_findings(examined: Examined, linted: Linted, *, strict: bool) -> bytes:
    """A suite of JUnit's for each file; warnings fail if `strict`."""
    return write_junit(_suites(examined, linted, strict=strict), name="meshward lint")


def _rules(diagnostics: Iterable[Diagnostic]) -> Mapping[str, Rule]:
    """What is known of the codes, each with the page that tells of it: those about meaning have a section each."""
    return {code: _rule(code) for code in {diagnostic.code for diagnostic in diagnostics}}


def _rule(name: str) -> Rule:
    if (code := CODES.get(name)) is None:
        return Rule(text=f"More about it is in docs/validation.md, beside `{name}`.", page=_address("validation.md"))
    return Rule(
        summary=code.summary,
        text=f"{code.summary} More about it is in docs/lint.md, under `{name}`.",
        page=_address(f"lint.md#{name}"),
    )


def _address(page: str) -> str | None:
    """Where a page of `docs` is to be read, if the package says where all of them are."""
    documentation = _documentation()
    return None if documentation is None else f"{documentation.rstrip('/')}/docs/{page}"


@cache
def _documentation() -> str | None:
    """Where the pages in `docs` are to be read, if the package says so."""
    urls = (entry.partition(", ") for entry in metadata("meshward").get_all("Project-URL") or ())
    return next((url for label, _, url in urls if label == "Documentation"), None)


def _suites(examined: Examined, linted: Linted, *, strict: bool) -> Iterator[Suite]:
    """A suite for each file: a case for all that is found in it, or one that passes."""
    by_file: dict[str, list[Diagnostic]] = defaultdict(list)
    for diagnostic in linted.diagnostics:
        by_file[diagnostic.span.file].append(diagnostic)
    for file in dict.fromkeys((*examined.texts, *by_file)):
        found = by_file.get(file, [])
        source = linted.sources.get(file)
        cases = tuple(_case(each, source, strict=strict) for each in found)
        yield Suite(file, cases or (Case(name=file, file=file),))


def _case(diagnostic: Diagnostic, source: str | None, *, strict: bool) -> Case:
    span = diagnostic.span
    name = f"{diagnostic.code} {span.line}:{span.column}"
    text = render(diagnostic, source)
    if diagnostic.severity is Severity.WARNING and not strict:
        return Case(name=name, file=span.file, line=span.line, output=text)
    return Case(
        name=name, file=span.file, line=span.line, failure=Outcome(diagnostic.message, text, diagnostic.severity.value)
    )
