"""`meshward prove`: says whether invariants hold of all requests."""

import argparse

from cli.arguments import count
from cli.command import Command, ExitCode

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="*",
        default=["."],
        metavar="PATH",
        help="files of invariants, and directories in which those named *.authz-proof.yaml are looked for (default: here)",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "junit", "sarif", "github", "markdown"),
        default="text",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--only", metavar="ID", action="append", default=[], help="only the invariant of this id (may be repeated)"
    )
    parser.add_argument("--jobs", metavar="N", type=count, default=1, help="how many processes (default: %(default)s)")


def _run(arguments: argparse.Namespace) -> ExitCode:
    from cli.proving import run_proofs  # noqa: PLC0415  # no other verb pays for what this one needs

    return run_proofs(arguments)


COMMAND = Command(
    "prove",
    "say whether invariants hold of all requests",
    _add_arguments,
    _run,
    description=(
        "Say of each invariant whether it holds of every request there can be: PROVED; BROKEN, with a request for which it does "
        "not; or VACUOUS, if it is about no request. Ends with 6 unless all are proved, and with 3 if a file or its manifests "
        "are wrong."
    ),
    epilog="example: meshward prove policies/ --only ADMIN-1",
)
