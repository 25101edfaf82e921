"""`meshward ca bundle`: what everybody is to verify with."""

import argparse
import sys

from cli.authority.directory import AuthorityDirectory, add_directory_argument
from cli.command import Command, CommandError, ExitCode
from identity import jwt_keys_document, to_document

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=("pem", "spiffe", "jwks"),
        default="pem",
        help="roots in PEM (default), the SPIFFE bundle document, or the JWT keys alone",
    )
    add_directory_argument(parser)


def _run(arguments: argparse.Namespace) -> ExitCode:
    directory = AuthorityDirectory.of(arguments)
    with directory.store() as store:
        version = store.authorities.load(directory.settings.trust_domain)
    if version is None:
        raise CommandError(f"{directory.path}: there are no authorities", help="`meshward ca init` makes them")
    bundle = version.authorities.bundle
    match arguments.format:
        case "pem":
            content = bundle.to_pem()
        case "spiffe":
            content = to_document(bundle) + b"\n"
        case _:
            content = jwt_keys_document(bundle) + b"\n"
    sys.stdout.buffer.write(content)
    sys.stdout.flush()
    return ExitCode.OK


COMMAND = Command(
    "bundle",
    "print what verifies everything that was issued",
    _add_arguments,
    _run,
    epilog="example: meshward ca bundle --format spiffe",
)
