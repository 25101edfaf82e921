"""Linting files: what `meshward lint` does, from its arguments to its exit code."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import metadata, version
from pathlib import Path

import orjson

from authz.findings.codes import CODES
from cli.command import CommandError, ExitCode, UsageError
from cli.manifests import print_skipped, store_of
from cli.reports.github import write_github
from cli.reports.junit import Case, Outcome, Suite, write_junit
from cli.reports.sarif import Rule, write_sarif
from cli.rewriting import replace_file
from mesh.directory import Examined
from mesh.files import STDIN, display_name
from mesh.linting import Linted, lint
from parser.diagnostics import Diagnostic, Severity, render, to_data
from parser.edits import Edit
from parser.fixing import fixed

__all__ = ["lint_manifests"]

# One fix may make room for another, but not for ever.
_ROUNDS = 10


def lint_manifests(arguments: argparse.Namespace) -> ExitCode:
    """Say what is wrong with what the arguments name, and mend what may be mended if they ask for it.

    Raises:
        PolicyStoreError: A file cannot be read.
        CommandError: A file cannot be written, or what is asked for cannot be.
    """
    if [arguments.mesh, *arguments.paths].count(STDIN) > 1:
        raise UsageError("standard input can be only one of the manifests and the mesh configuration")
    if arguments.fix and STDIN in [arguments.mesh, *arguments.paths]:
        raise UsageError("standard input cannot be fixed", help="leave out --fix, or name the files")
    store = store_of(arguments)
    examined = store.examine()
    linted = lint(examined)
    if arguments.fix:
        mended = 0
        while mended < _ROUNDS and _fix(examined, linted):
            examined = store.examine()
            linted = lint(examined)
            mended += 1
    wrong = linted.errors > 0 or (arguments.strict and bool(linted.diagnostics))
    # A pipeline that renders nothing must not pass for one whose policies are good.
    configured = examined.manifests.mesh_config is not None or arguments.mesh is not None
    empty = not (wrong or configured or any(_policies(examined).values()))
    verdict = "failed" if wrong or empty else "ok"
    sys.stdout.buffer.write(_written(arguments, examined, linted, verdict=verdict, empty=empty))
    sys.stdout.flush()
    if arguments.verbose:
        print_skipped(examined.manifests.skipped)
    if empty:
        names = ", ".join(map(display_name, arguments.paths))
        raise UsageError(f"no policies and no mesh configuration in {names}")
    return ExitCode.INVALID if wrong else ExitCode.OK


def _written(arguments: argparse.Namespace, examined: Examined, linted: Linted, *, verdict: str, empty: bool) -> bytes:
    match arguments.output:
        case "json":
            return _as_json(examined, linted, verdict=verdict)
        case "sarif":
            return write_sarif(linted.diagnostics, _rules(linted.diagnostics), version=version("meshward"))
        case "junit":
            return write_junit(_suites(examined, linted, strict=arguments.strict), name="meshward lint")
        case "github":
            return write_github(linted.diagnostics)
        case _:
            shown = [render(each, linted.sources.get(each.span.file)) for each in linted.diagnostics]
            summary = [] if empty else [_summary(examined, linted, verdict=verdict)]
            return "".join(f"{text}\n" for text in shown + summary).encode()


def _policies(examined: Examined) -> dict[str, int]:
    manifests = examined.manifests
    kinds: dict[str, Sequence[object]] = {
        "AuthorizationPolicy": manifests.policies,
        "RequestAuthentication": manifests.request_authentications,
        "PeerAuthentication": manifests.peer_authentications,
    }
    return {kind: len(found) for kind, found in kinds.items()}


def _summary(examined: Examined, linted: Linted, *, verdict: str) -> str:
    errors, warnings = linted.errors, len(linted.diagnostics) - linted.errors
    policies = sum(_policies(examined).values())
    fixable = sum(bool(diagnostic.fix) for diagnostic in linted.diagnostics)
    found = [
        *([_counted(policies, "policy", "policies")] if verdict == "ok" else []),
        *([_counted(errors, "error", "errors")] if errors else []),
        *([_counted(warnings, "warning", "warnings")] if warnings else []),
    ]
    more = [
        *([f"{linted.ignored} ignored"] if linted.ignored else []),
        *([f"--fix mends {fixable}"] if fixable else []),
    ]
    besides = f" ({', '.join(more)})" if more else ""
    return f"{verdict}: {', '.join(found)} in {_counted(examined.files, 'file', 'files')}{besides}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _as_json(examined: Examined, linted: Linted, *, verdict: str) -> bytes:
    document = {
        "verdict": verdict,
        "errors": linted.errors,
        "warnings": len(linted.diagnostics) - linted.errors,
        "ignored": linted.ignored,
        "files": examined.files,
        "policies": _policies(examined),
        "workloads": len(examined.manifests.workloads),
        "skipped": examined.manifests.skipped,
        "diagnostics": [to_data(diagnostic) for diagnostic in linted.diagnostics],
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


# For other programs -------------------------------------------------------------------------------------------------------


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


# Mending ------------------------------------------------------------------------------------------------------------------


def _fix(examined: Examined, linted: Linted) -> bool:
    """Make the edits that may be made, and say whether there was one. Files that would not be read any more stay as they are."""
    edits: dict[str, list[Edit]] = defaultdict(list)
    for diagnostic in linted.diagnostics:
        edits[diagnostic.span.file] += diagnostic.fix
    written = False
    for file, wanted in edits.items():
        before = examined.texts.get(file)
        if not wanted or before is None:
            continue
        after = fixed(before, file, wanted)
        if after != before:
            _refuse_errors(file, before, after)
            # What a link leads to is written; the link stays.
            replace_file(Path(file).resolve(), before, after)
            written = True
    return written


def _refuse_errors(file: str, before: bytes, after: bytes) -> None:
    from parser.manifests import parse_manifests  # noqa: PLC0415  # only who mends needs it

    if parse_manifests([(file, after)]).errors and not parse_manifests([(file, before)]).errors:
        raise CommandError(
            f"{file} would not be read any more, so it is left alone",
            help="this is a bug in meshward; nothing is wrong with the policies",
        )
