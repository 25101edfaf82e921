"""`meshward check`: decides requests that are given as documents."""

import argparse

from cli.arguments import REQUEST_HELP, add_manifest_arguments, add_offline_arguments
from cli.command import Command, ExitCode

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_manifest_arguments(parser)
    requests = parser.add_mutually_exclusive_group(required=True)
    requests.add_argument("--request", metavar="FILE", help=REQUEST_HELP)
    requests.add_argument(
        "--requests", metavar="FILE", help="request documents, one a line of JSON; - for standard input"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: %(default)s")
    add_offline_arguments(parser)
    parser.add_argument("--exit-code", action="store_true", help="end with 3 if a request is denied")


def _run(arguments: argparse.Namespace) -> ExitCode:
    from cli.checking import check  # noqa: PLC0415  # no other verb pays for what this one needs

    return check(arguments)


COMMAND = Command(
    "check",
    "decide requests",
    _add_arguments,
    _run,
    epilog="example: meshward check policies/ --request request.yaml",
)
