"""Linting files: what `meshward lint` does, from its arguments to its exit code."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import orjson

from cli.command import CommandError, ExitCode, UsageError
from cli.diagnostics import print_skipped
from cli.manifests import store_of
from cli.reports.github import write_github
from cli.rewriting import replace_file
from mesh.directory import Examined
from mesh.files import STDIN, display_name
from mesh.linting import Linted, lint
from parser.diagnostics import render, to_data
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
            from cli.reports.findings import sarif_of_findings  # noqa: PLC0415  # paid for by who asks

            return sarif_of_findings(linted)
        case "junit":
            from cli.reports.findings import junit_of_findings  # noqa: PLC0415  # paid for by who asks

            return junit_of_findings(examined, linted, strict=arguments.strict)
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
