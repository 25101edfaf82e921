"""The requests that a verb was given, and what stands in for a network when they are decided."""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path

from authn import InvalidJwkSetError, StaticKeys
from cli.command import UsageError
from cli.diagnostics import print_diagnostics
from mesh.deciding import Offline
from mesh.files import display_name, read_file
from mesh.snapshot import Snapshot
from parser.diagnostics import PolicySyntaxError, quoted
from parser.request import RequestDocument
from parser.request_file import parse_request_file

__all__ = ["offline_of", "read_request"]


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
