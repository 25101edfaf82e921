"""The arguments by which a verb takes requests, and what stands in for a network when they are decided."""

import argparse
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from authn import InvalidJwkSetError, StaticKeys
from cli.command import UsageError
from cli.manifests import print_diagnostics
from mesh.deciding import Offline
from mesh.files import display_name, read_file
from mesh.snapshot import Snapshot
from parser.diagnostics import PolicySyntaxError, quoted
from parser.request import RequestDocument
from parser.request_file import parse_request_file

__all__ = ["REQUEST_HELP", "add_offline_arguments", "offline_of", "read_request"]

REQUEST_HELP = "a request document, YAML or JSON; - for standard input"
"""What `--request` takes."""


def add_offline_arguments(parser: argparse.ArgumentParser) -> None:
    """`--normalize`, `--allowed-by`, `--jwks` and `--at`."""
    parser.add_argument(
        "--normalize",
        action="store_true",
        help="take requests as clients send them: the mesh's pathNormalization comes first, and trusted x-forwarded-for",
    )
    parser.add_argument(
        "--allowed-by",
        metavar="PROVIDER",
        action="append",
        default=[],
        help="take it that this external authorizer lets every request through; the others refuse (may be repeated)",
    )
    parser.add_argument(
        "--jwks",
        metavar="URI=FILE",
        type=_source,
        action="append",
        default=[],
        help="a JWK Set for the tokens of this jwksUri or issuer, instead of fetching it (may be repeated)",
    )
    parser.add_argument(
        "--at", metavar="TIME", type=_time, help="decide as if it were then, e.g. 2026-01-31T12:00:00Z (default: now)"
    )


def offline_of(arguments: argparse.Namespace, snapshot: Snapshot) -> Offline:
    """What the arguments say, for requests to what is in `snapshot`.

    Raises:
        UsageError: They name what nothing in it asks for.
    """
    known = {provider.name for provider in snapshot.config.extension_providers}
    if unknown := sorted(set(arguments.allowed_by) - known):
        raise UsageError(
            f"the mesh configuration has no external authorizer {', '.join(map(quoted, unknown))}",
            help=f"it has {', '.join(map(quoted, sorted(known))) or 'none'}",
        )
    return Offline(
        at=time.time() if arguments.at is None else arguments.at,
        key_sets=_keys(arguments.jwks, snapshot).key_set,
        allowed_by=frozenset(arguments.allowed_by),
    )


def _keys(given: Iterable[tuple[str, str]], snapshot: Snapshot) -> StaticKeys:
    """The keys for tokens, by the URI or the issuer they are given for."""
    try:
        keys = StaticKeys.parse({name: read_file(Path(file)) for name, file in given})
    except InvalidJwkSetError as error:
        raise UsageError(f"--jwks: {error}") from error
    rules = snapshot.jwt_rules()
    if unused := keys.unused(rules):
        known = sorted({rule.jwks_uri or rule.issuer for rule in rules})
        raise UsageError(
            f"--jwks: no rule asks for the keys of {', '.join(map(quoted, unused))}",
            help=f"the rules ask for {', '.join(map(quoted, known)) or 'none'}",
        )
    return keys


def _source(text: str) -> tuple[str, str]:
    # An issuer may hold an equals sign, and a file seldom does.
    name, equals, file = text.rpartition("=")
    if not (equals and name and file):
        raise argparse.ArgumentTypeError(f"{text!r} is no URI=FILE")
    return name, file


def _time(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time like 2026-01-31T12:00:00Z") from error
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def read_request(name: str) -> RequestDocument | None:
    """The one request in a file; none if it is not one, which has then been said on standard error.

    Raises:
        PolicyStoreError: The file cannot be read.
    """
    data, name = read_file(Path(name)), display_name(name)
    try:
        return parse_request_file(data, name)
    except PolicySyntaxError as error:
        print_diagnostics(error.diagnostics, {name: data.decode("utf-8", "replace")})
        return None
