"""`meshward lint`: says what is wrong with policies and with the mesh that they are for."""

import argparse

from cli.arguments import add_manifest_arguments
from cli.command import Command, ExitCode

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_manifest_arguments(parser)
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "sarif", "junit", "github"),
        default="text",
        help="default: %(default)s",
    )
    parser.add_argument("--strict", action="store_true", help="fail where there are warnings, too")
    parser.add_argument(
        "--fix",
        action="store_true",
        help="edit the files where that changes nothing, or keeps out more; comments and all the rest stay as they are",
    )


def _run(arguments: argparse.Namespace) -> ExitCode:
    from cli.linting import lint_manifests  # noqa: PLC0415  # paid for by who asks

    return lint_manifests(arguments)


COMMAND = Command(
    "lint",
    "say what is wrong with policies",
    _add_arguments,
    _run,
    description=(
        "Say what is wrong with policies: what Istio refuses, what it warns about, and what it takes though nobody can mean it; "
        "docs/lint.md has the codes. `# meshward-ignore: code the reason` beside a line, or above it, passes over what is found "
        "there. Ends with 3 if there are errors."
    ),
    epilog="example: kustomize build overlays/prod | meshward lint - --strict",
)
