"""`meshward diff`: says what two versions of a mesh decide differently."""

import argparse

from cli.command import Command, ExitCode

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "old",
        metavar="OLD",
        help="the older version: a directory, a file, git:REVISION (of the path of the other) or git:REVISION:PATH (from the "
        "root of the repository, or ./PATH from here)",
    )
    parser.add_argument(
        "new",
        metavar="NEW",
        nargs="?",
        help="the newer version, likewise (default: what OLD names, in the working tree)",
    )
    parser.add_argument(
        "--mesh", metavar="FILE", help="the mesh configuration of both; wins over what the manifests hold"
    )
    parser.add_argument(
        "--assume",
        metavar="WORD",
        choices=("mtls-strict", "istio-identities"),
        action="append",
        default=[],
        help="take for granted that every caller shows an identity (mtls-strict), or that identities are as Istio issues them "
        "(istio-identities); may be repeated",
    )
    parser.add_argument(
        "--fail-on",
        choices=("new-access", "any"),
        help="end with 7 if something is newly allowed, or if anything is decided otherwise",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "markdown", "github", "svg"),
        default="text",
        help="default: %(default)s",
    )


def _run(arguments: argparse.Namespace) -> ExitCode:
    from cli.differing import run_diff  # noqa: PLC0415  # no other verb pays for what this one needs

    return run_diff(arguments)


COMMAND = Command(
    "diff",
    "say what two versions of policies decide differently",
    _add_arguments,
    _run,
    description=(
        "Say what two versions of policies decide differently, over all requests there can be: per workload what is newly allowed "
        "and newly denied, each with a request and the rules responsible; or that nothing changes, which is proved."
    ),
    epilog="example: meshward diff git:main policies/ --fail-on new-access",
)
