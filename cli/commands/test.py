"""`meshward test`: runs policy tests, and says what they covered."""

import argparse

from cli.arguments import add_jobs_argument
from cli.command import Command, ExitCode

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="*",
        default=["."],
        metavar="PATH",
        help="files of policy tests, and directories in which those named *.authz-test.yaml are looked for (default: here)",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "junit", "json", "github", "markdown"),
        default="text",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--filter",
        metavar="TEXT",
        help="only cases whose name has this text in it; with `*` or `?` the whole name must be like it",
    )
    parser.add_argument(
        "--coverage", action="store_true", help="say which policies, rules, conditions and routes are tested"
    )
    parser.add_argument("--coverage-json", metavar="FILE", help="write that as JSON; - for standard output")
    parser.add_argument("--coverage-html", metavar="DIR", help="write the policies as pages that show it")
    parser.add_argument("--watch", action="store_true", help="run again whenever a file changes, until interrupted")
    add_jobs_argument(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="name the cases that pass, too")


def _run(arguments: argparse.Namespace) -> ExitCode:
    from cli.testing import run_tests  # noqa: PLC0415  # no other verb pays for what this one needs

    return run_tests(arguments)


COMMAND = Command(
    "test",
    "run policy tests",
    _add_arguments,
    _run,
    description=(
        "Run policy tests: every case is decided, and compared with what its file expects. Ends with 4 if a test fails, with 5 if "
        "one covers less than its file demands, and with 3 if a file or its manifests are wrong."
    ),
    epilog="example: meshward test policies/ --coverage",
)
