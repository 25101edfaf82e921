"""Checking: the run of `meshward check`, from its arguments to its exit code."""

import argparse
import gc
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TextIO

import orjson

from authz.decision import Decision, Verdict
from cli.command import ExitCode, UsageError
from cli.manifests import print_loaded, store_of
from cli.requests import offline_of, read_request
from mesh.deciding import decide, decide_as_sent, decision_document
from mesh.errors import UnknownWorkloadError
from mesh.files import STDIN, display_name
from mesh.snapshot import Snapshot
from parser.request import RequestDocument, RequestError, parse_request

__all__ = ["check"]

_KEPT = 32_768
"""Of so many decisions the text is kept, more than most meshes have rules."""


def check(arguments: argparse.Namespace) -> ExitCode:
    """Decide what the arguments name, and print the decisions.

    Raises:
        PolicyStoreError: There are no good policies.
        UsageError: The requests cannot be read, or there are none.
    """
    request = arguments.request or arguments.requests
    if [request, arguments.mesh, *arguments.paths].count(STDIN) > 1:
        raise UsageError("standard input can be only one of the manifests, the mesh configuration and the requests")
    loaded = store_of(arguments).load()
    print_loaded(loaded, verbose=arguments.verbose)
    offline = offline_of(arguments, loaded.snapshot)
    how = partial(decide_as_sent if arguments.normalize else decide, offline=offline)
    answer = _Answer(loaded.snapshot, how, output=arguments.output, out=sys.stdout)
    ok = answer.document(arguments.request) if arguments.request else answer.lines(arguments.requests)
    if not ok:
        return ExitCode.INVALID
    return ExitCode.INVALID if arguments.exit_code and answer.denied else ExitCode.OK


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
        document = read_request(name)
        if document is None:
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
