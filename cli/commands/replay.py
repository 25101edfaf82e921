"""`meshward replay`: decides recorded traffic again, and says what comes out otherwise."""

import argparse
import re

from cli.arguments import add_jobs_argument, add_manifest_arguments, add_offline_arguments
from cli.command import Command, ExitCode, UsageError
from identity import IdentityError, SpiffeId
from mesh.files import STDIN
from mesh.replaying.kind import Change, Kind

__all__ = ["COMMAND"]

_ANY = "any"
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_manifest_arguments(parser)
    parser.add_argument(
        "--log",
        dest="logs",
        metavar="FILE",
        action="append",
        required=True,
        help="recorded traffic, gzip or not; - for standard input (may be repeated)",
    )
    parser.add_argument(
        "--from",
        dest="kind",
        metavar="KIND",
        choices=tuple(kind.value for kind in Kind),
        help=f"what it is, if that cannot be told: {', '.join(kind.value for kind in Kind)}",
    )
    parser.add_argument(
        "--against",
        metavar="PATH",
        action="append",
        default=[],
        help="compare with what these policies decide, and not with what was recorded (may be repeated)",
    )
    parser.add_argument(
        "--workload",
        metavar="NAMESPACE/NAME",
        help="records that do not say are for this workload; an archive never says",
    )
    parser.add_argument(
        "--principal", metavar="SPIFFE-ID", type=_principal, help="records that do not say are from this caller"
    )
    parser.add_argument(
        "--mask",
        metavar="HEADER",
        type=_header,
        action="append",
        default=[],
        help="show no value of this header, as of those that are known to be secret (may be repeated)",
    )
    parser.add_argument(
        "--fail-on",
        choices=(Change.NEWLY_DENIED.value, Change.NEWLY_ALLOWED.value, _ANY),
        help="end with 3 if any requests are",
    )
    parser.add_argument("--skip-bad", action="store_true", help="do not end with 3 where there is what is no record")
    add_offline_arguments(parser)
    add_jobs_argument(parser)
    parser.add_argument(
        "-o", "--output", choices=("text", "json", "markdown", "github"), default="text", help="default: %(default)s"
    )


def _principal(text: str) -> str:
    try:
        return str(SpiffeId.parse(text))
    except IdentityError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _header(text: str) -> str:
    if not _HEADER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a header")
    return text


def _run(arguments: argparse.Namespace) -> ExitCode:
    if [arguments.mesh, *arguments.logs, *arguments.paths, *arguments.against].count(STDIN) > 1:
        raise UsageError(
            "standard input can be only one of the manifests, the mesh configuration, the other version and the records"
        )
    from cli.replaying import replay  # noqa: PLC0415  # no other verb pays for what this one needs

    return replay(arguments)


COMMAND = Command(
    "replay",
    "decide recorded traffic again, and compare",
    _add_arguments,
    _run,
    description=(
        "Decide recorded traffic again and compare with what was recorded, or with another version of the policies. It may be "
        "meshward's decision log, Envoy's access log, CheckRequests or an HTTP archive. Secrets in it are masked. "
        "Ends with 3 if something is no record or is cut off, and as --fail-on says."
    ),
    epilog="example: meshward replay policies/ --log decisions.jsonl.gz",
)
