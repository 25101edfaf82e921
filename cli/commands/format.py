"""`meshward format`: writes policies in their canonical form, as YAML or as ward."""

import argparse

from cli.command import Command, ExitCode

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="files and directories of Kubernetes YAML and of ward; - for standard input",
    )
    parser.add_argument("--to", choices=("yaml", "ward"), help="what to write; default: what each file is written in")
    parser.add_argument(
        "--skip-others", action="store_true", help="leave out what ward cannot say: documents of other kinds"
    )
    parser.add_argument(
        "--minimize",
        action="store_true",
        help="name the rules and values that change no verdict about any request, by proof; take them out with --write",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--check", action="store_true", help="name the files that would change, and end with 3 if there are"
    )
    how.add_argument("--diff", action="store_true", help="show what would change, and end with 3 if something would")
    how.add_argument("--write", action="store_true", help="write the files anew where they are")


def _run(arguments: argparse.Namespace) -> ExitCode:
    if arguments.minimize:
        from cli.minimizing import minimize_files  # noqa: PLC0415  # as below

        return minimize_files(arguments)
    from cli.formatting import format_files  # noqa: PLC0415  # no other verb pays for what this one needs

    return format_files(arguments)


COMMAND = Command(
    "format",
    "write policies in their canonical form, as YAML or as ward",
    _add_arguments,
    _run,
    epilog="example: meshward format policies/ --check",
)
