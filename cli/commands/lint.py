"""`meshward lint`: says what is wrong with policies and with the mesh that they are for."""

import argparse
import sys
from collections.abc import Sequence

import orjson

from cli.command import Command, ExitCode, UsageError
from cli.manifests import add_manifest_arguments, print_skipped, store_of
from mesh.directory import Examined
from mesh.files import STDIN, display_name
from parser.diagnostics import render, to_data

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_manifest_arguments(parser)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: %(default)s")
    parser.add_argument("--strict", action="store_true", help="fail where there are warnings, too")


def _run(arguments: argparse.Namespace) -> ExitCode:
    if [arguments.mesh, *arguments.paths].count(STDIN) > 1:
        raise UsageError("standard input can be only one of the manifests and the mesh configuration")
    examined = store_of(arguments).examine()
    wrong = examined.errors > 0 or (arguments.strict and bool(examined.diagnostics))
    # A pipeline that renders nothing must not pass for one whose policies are good.
    configured = examined.manifests.mesh_config is not None or arguments.mesh is not None
    empty = not (wrong or configured or any(_policies(examined).values()))
    if arguments.output == "json":
        sys.stdout.buffer.write(_as_json(examined, verdict="failed" if wrong or empty else "ok"))
    else:
        shown = [render(each, examined.sources.get(each.span.file)) for each in examined.diagnostics]
        summary = [] if empty else [_summary(examined, verdict="failed" if wrong else "ok")]
        sys.stdout.buffer.write("".join(f"{text}\n" for text in shown + summary).encode())
    sys.stdout.flush()
    if arguments.verbose:
        print_skipped(examined.manifests.skipped)
    if empty:
        names = ", ".join(map(display_name, arguments.paths))
        raise UsageError(f"no policies and no mesh configuration in {names}")
    return ExitCode.INVALID if wrong else ExitCode.OK


def _policies(examined: Examined) -> dict[str, int]:
    manifests = examined.manifests
    kinds: dict[str, Sequence[object]] = {
        "AuthorizationPolicy": manifests.policies,
        "RequestAuthentication": manifests.request_authentications,
        "PeerAuthentication": manifests.peer_authentications,
    }
    return {kind: len(found) for kind, found in kinds.items()}


def _summary(examined: Examined, *, verdict: str) -> str:
    errors, warnings = examined.errors, len(examined.diagnostics) - examined.errors
    policies = sum(_policies(examined).values())
    found = [
        *([_counted(policies, "policy", "policies")] if verdict == "ok" else []),
        *([_counted(errors, "error", "errors")] if errors else []),
        *([_counted(warnings, "warning", "warnings")] if warnings else []),
    ]
    return f"{verdict}: {', '.join(found)} in {_counted(examined.files, 'file', 'files')}"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _as_json(examined: Examined, *, verdict: str) -> bytes:
    document = {
        "verdict": verdict,
        "errors": examined.errors,
        "warnings": len(examined.diagnostics) - examined.errors,
        "files": examined.files,
        "policies": _policies(examined),
        "workloads": len(examined.manifests.workloads),
        "skipped": examined.manifests.skipped,
        "diagnostics": [to_data(diagnostic) for diagnostic in examined.diagnostics],
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


COMMAND = Command(
    "lint",
    "say what is wrong with policies",
    _add_arguments,
    _run,
    description=(
        "Say what is wrong with policies: what Istio refuses, what it warns about, and what it takes though nobody can mean it. "
        "Ends with 3 if there are errors."
    ),
    epilog="example: kustomize build overlays/prod | meshward lint - --strict",
)
