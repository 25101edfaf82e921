"""Proving for the command line: which files, what is wrong with them, and what is said of the results."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cli.command import ExitCode, UsageError
from cli.diagnostics import print_diagnostics
from cli.reports.proofs import WRITERS, Report
from mesh.errors import InvalidManifestsError
from mesh.files import PROOFS, read_file
from mesh.proving.loading import Claims, load_claims
from mesh.proving.results import run_claims
from parser.diagnostics import PolicySyntaxError, quoted
from parser.problems import nearest

__all__ = ["run_proofs"]


def run_proofs(arguments: argparse.Namespace) -> ExitCode:
    """What `meshward prove` does."""
    begun = time.perf_counter()
    files = _files(arguments.paths)
    loaded = [claims for file in files if (claims := _load(file)) is not None]
    broken = len(files) - len(loaded)
    chosen = _chosen(loaded, arguments.only, complete=not broken)
    report = Report(results=run_claims(chosen, jobs=arguments.jobs), seconds=time.perf_counter() - begun)
    sys.stdout.buffer.write(WRITERS[arguments.output](report))
    sys.stdout.flush()
    if broken:
        return ExitCode.INVALID
    return ExitCode.OK if report.ok else ExitCode.INVARIANT


def _load(file: Path) -> Claims | None:
    """The claims in a file; none where something is wrong with it, which is then said."""
    data = read_file(file)
    try:
        return load_claims(str(file), data, directory=file.parent)
    except PolicySyntaxError as error:
        print_diagnostics(error.diagnostics, {str(file): data.decode("utf-8", "replace")})
    except InvalidManifestsError as error:
        print_diagnostics(error.diagnostics, error.sources)
        print(f"meshward: {file}: {error}", file=sys.stderr)
    return None


def _chosen(loaded: Sequence[Claims], only: Sequence[str], *, complete: bool) -> list[Claims]:
    """The claims with the invariants of these ids alone, or with all of them.

    Raises:
        UsageError: There is none of some id.
    """
    if not only:
        return list(loaded)
    known = {invariant.id for claims in loaded for invariant in claims.proof.invariants}
    unknown = [each for each in only if each not in known]
    # What could not be read may have it.
    if unknown and complete:
        near = nearest(unknown[0], sorted(known))
        listed = f"did you mean `{near}`?" if near else f"there are {', '.join(map(quoted, sorted(known)))}"
        raise UsageError(f"no invariant is called {quoted(unknown[0])}", help=listed)
    found = []
    for claims in loaded:
        invariants = tuple(each for each in claims.proof.invariants if each.id in only)
        if invariants:
            found.append(replace(claims, proof=replace(claims.proof, invariants=invariants)))
    return found


def _files(paths: Sequence[str]) -> list[Path]:
    """The files of invariants that the paths lead to, each once.

    Raises:
        UsageError: One leads to none.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise UsageError(f"cannot read {path}: No such file or directory")
        below = list(_below(path)) if path.is_dir() else [path]
        if not below:
            raise UsageError(f"no invariants in {path}", help=f"their files are named *{PROOFS}")
        found.update(dict.fromkeys(below))
    return list(found)


def _below(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob(f"*{PROOFS}")):
        if not any(part.startswith(".") for part in path.relative_to(directory).parts):
            yield path
