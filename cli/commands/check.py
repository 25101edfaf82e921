"""`meshward check`: decides requests that are given as documents."""

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, TextIO

import orjson

from authn import InvalidJwkSetError, StaticKeys
from authz.decision import Decision, Verdict
from cli.command import Command, ExitCode, UsageError
from cli.manifests import add_manifest_arguments, print_diagnostics, print_loaded, store_of
from mesh.deciding import Offline, decide, decide_as_sent, decision_document
from mesh.errors import UnknownWorkloadError
from mesh.files import STDIN, display_name, read_file
from mesh.snapshot import Snapshot
from parser.diagnostics import PolicySyntaxError, quoted
from parser.request import RequestDocument, RequestError, parse_request
from parser.request_file import parse_request_file

__all__ = ["COMMAND"]

_KEPT = 32_768
"""Of so many decisions the text is kept, more than most meshes have rules."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_manifest_arguments(parser)
    requests = parser.add_mutually_exclusive_group(required=True)
    requests.add_argument("--request", metavar="FILE", help="a request document, YAML or JSON; - for standard input")
    requests.add_argument(
        "--requests", metavar="FILE", help="request documents, one a line of JSON; - for standard input"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: %(default)s")
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
    parser.add_argument("--exit-code", action="store_true", help="end with 3 if a request is denied")


def _run(arguments: argparse.Namespace) -> ExitCode:
    request = arguments.request or arguments.requests
    if [request, arguments.mesh, *arguments.paths].count(STDIN) > 1:
        raise UsageError("standard input can be only one of the manifests, the mesh configuration and the requests")
    loaded = store_of(arguments).load()
    print_loaded(loaded, verbose=arguments.verbose)
    known = {provider.name for provider in loaded.snapshot.config.extension_providers}
    if unknown := sorted(set(arguments.allowed_by) - known):
        raise UsageError(
            f"the mesh configuration has no external authorizer {', '.join(map(quoted, unknown))}",
            help=f"it has {', '.join(map(quoted, sorted(known))) or 'none'}",
        )
    offline = Offline(
        at=time.time() if arguments.at is None else arguments.at,
        key_sets=_keys(arguments.jwks, loaded.snapshot).key_set,
        allowed_by=frozenset(arguments.allowed_by),
    )
    how = partial(decide_as_sent if arguments.normalize else decide, offline=offline)
    answer = _Answer(loaded.snapshot, how, output=arguments.output, out=sys.stdout)
    ok = answer.document(arguments.request) if arguments.request else answer.lines(arguments.requests)
    if not ok:
        return ExitCode.INVALID
    return ExitCode.INVALID if arguments.exit_code and answer.denied else ExitCode.OK


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


class _Kept(NamedTuple):
    """What was written of a decision, beside it, so that its identity stays its own."""

    decision: Decision
    written: bytes
    denied: bool


class _Answer:
    """Decides requests and prints the decisions."""

    def __init__(
        self, snapshot: Snapshot, how: Callable[[Snapshot, RequestDocument], Decision], *, output: str, out: TextIO
    ) -> None:
        self._snapshot = snapshot
        self._how = how
        self._written: Callable[[Decision], bytes] = self._as_json if output == "json" else self._as_text
        self._kept: dict[int, _Kept] = {}
        self._out = out
        self._write: Callable[[bytes], object] = out.buffer.write
        self.denied = 0

    def document(self, name: str) -> bool:
        """The one request in a file; false if it is not one, which has then been said."""
        data, name = read_file(Path(name)), display_name(name)
        try:
            document = parse_request_file(data, name)
        except PolicySyntaxError as error:
            print_diagnostics(error.diagnostics, {name: data.decode("utf-8", "replace")})
            return False
        self._decide(document)
        return True

    def lines(self, name: str) -> bool:
        """The requests in the lines of a file. One that is wrong is said, and the others are decided all the same."""
        # Requests come and go without cycles; the mesh stays, and is not to be searched for any again and again.
        gc.freeze()
        wrong = count = 0
        decide, read = self._decide, orjson.loads
        for number, line in enumerate(_lines(name), start=1):
            if line.isspace():
                continue
            count += 1
            try:
                decide(parse_request(read(line)))
            except (RequestError, UnknownWorkloadError, orjson.JSONDecodeError) as error:
                wrong += 1
                self._out.flush()
                print(f"{display_name(name)}:{number}: error: {error}", file=sys.stderr)
        if not count:
            raise UsageError(f"no requests in {name}")
        return not wrong

    def _decide(self, document: RequestDocument) -> None:
        decision = self._how(self._snapshot, document)
        # The tree makes most decisions once and answers with them again and again; so is what is written of them.
        kept = self._kept.get(id(decision))
        if kept is None:
            kept = _Kept(decision, self._written(decision), decision.verdict is Verdict.DENY)
            if len(self._kept) < _KEPT:
                self._kept[id(decision)] = kept
        self.denied += kept.denied
        self._write(kept.written)

    def _as_json(self, decision: Decision) -> bytes:
        document = decision_document(decision, revision=self._snapshot.revision)
        return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)

    def _as_text(self, decision: Decision) -> bytes:
        because = decision.reason
        if (match := decision.match) is not None:
            place = self._snapshot.place(match)
            because += f": {match.policy}#{match.rule}" + (f" ({place})" if place else "")
        return f"{decision.verdict.value} {decision.status}  {because}\n".encode()


def _lines(name: str) -> Iterable[bytes]:
    if name == STDIN:
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from error


COMMAND = Command("check", "decide requests", _add_arguments, _run)
