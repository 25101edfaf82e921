"""`meshward ca serve`: answers workloads, Envoys, Istio's agents and operators."""

import argparse

from cli.authority.directory import AuthorityDirectory, add_directory_argument
from cli.command import Command, ExitCode

__all__ = ["COMMAND"]


def _run(arguments: argparse.Namespace) -> ExitCode:
    from cli.authority.serving import serve  # noqa: PLC0415  # no other verb pays for what this one needs

    serve(AuthorityDirectory.of(arguments))
    return ExitCode.OK


COMMAND = Command(
    "serve",
    "answer workloads, Envoys, Istio's agents and operators",
    add_directory_argument,
    _run,
    epilog="example: meshward ca serve",
)
