"""Minimizing files: what `meshward format --minimize` does, from its arguments to its exit code."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from difflib import unified_diff
from pathlib import Path

from authz.model import Policy
from authz.span import Path as Place
from authz.span import Span
from cli.command import CommandError, ExitCode, UsageError
from cli.rewriting import replace_file
from mesh.directory import DirectoryStore
from mesh.files import STDIN, read_manifests
from mesh.minimizing import Dropped, Minimized, minimize
from mesh.proving.subjects import subjects
from mesh.snapshot import Snapshot
from parser.cutting import CannotCutError, cut
from parser.manifests import parse_manifests
from parser.ward_text import is_ward

__all__ = ["minimize_files"]


def minimize_files(arguments: argparse.Namespace) -> ExitCode:
    """Say what the policies of these files can do without, and show or write the files without it, as the arguments say.

    Raises:
        PolicyStoreError, InvalidManifestsError: They cannot be read, or are no valid mesh.
        CommandError: What can go cannot be taken out of a file, or the file cannot be written.
    """
    if arguments.to is not None or STDIN in arguments.paths:
        raise UsageError("--minimize is for files, in the syntax that they have", help="leave out --to and -")
    snapshot = DirectoryStore(tuple(arguments.paths)).load().snapshot
    found = minimize(snapshot)
    policies = {policy.id: policy for policy in snapshot.policies}
    for dropped in found.dropped:
        print(f"{_place(policies[dropped.policy], dropped)}: {dropped.policy}: {dropped.what} changes nothing")
    files = _without(read_manifests(arguments.paths), found, policies)
    for name, (before, after) in files.items():
        if arguments.diff:
            _print_diff(name, before, after)
        elif arguments.write:
            replace_file(Path(name), before, after)
    print(_summary(found, snapshot, len(files), written=arguments.write))
    return ExitCode.INVALID if found.dropped and (arguments.check or arguments.diff) else ExitCode.OK


def _place(policy: Policy, dropped: Dropped) -> Span | None:
    return policy.span(*dropped.path)


def _summary(found: Minimized, snapshot: Snapshot, files: int, *, written: bool) -> str:
    proved = f"proved: every request to {len(subjects(snapshot))} workloads is decided as before ({found.questions} questions)"
    if not found.dropped:
        return f"nothing can go; {proved}"
    where = f"{'taken out of' if written else 'can be taken out of'} {files} file{'' if files == 1 else 's'}"
    return f"{len(found.dropped)} that change nothing {where}; {proved}"


def _without(
    files: Sequence[tuple[str, bytes]], found: Minimized, policies: Mapping[str, Policy]
) -> dict[str, tuple[bytes, bytes]]:
    """The files that change, as they are and as they are to be; each is read again, and must say what was proved."""
    by_file: defaultdict[str, list[tuple[Span, Place]]] = defaultdict(list)
    for dropped in found.dropped:
        document = policies[dropped.policy].span()
        if document is not None:
            by_file[document.file].append((document, dropped.path))
    wanted = {policy.id: policy for policy in found.policies}
    changed: dict[str, tuple[bytes, bytes]] = {}
    for name, data in files:
        if name not in by_file:
            continue
        if is_ward(name, data):
            raise CommandError(f"{name} is ward, which is not cut", help="take out by hand what is named above")
        try:
            after = cut(data, name, by_file[name])
        except CannotCutError as error:
            raise CommandError(str(error), help="nothing is written") from error
        said = parse_manifests([(name, after)])
        if said.errors or any(wanted[policy.id] != policy for policy in said.policies):
            raise CommandError(
                f"{name} would come out with another meaning, so it is left alone",
                help="take out by hand what is named above",
            )
        changed[name] = data, after
    return changed


def _print_diff(name: str, before: bytes, after: bytes) -> None:
    old, new = (data.decode("utf-8-sig").splitlines(keepends=True) for data in (before, after))
    for line in unified_diff(old, new, name, f"{name} (minimized)"):
        sys.stdout.write(line if line.endswith("\n") else f"{line}\n")
