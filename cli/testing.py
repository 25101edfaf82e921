"""Running policy tests for the command line: which files, what is wrong with them, and what is said of the results."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from cli.command import ExitCode, UsageError
from cli.manifests import print_diagnostics
from cli.reports.tests import WRITERS
from mesh.errors import InvalidManifestsError
from mesh.files import TESTS, read_file
from mesh.testing.results import Result, run_suite
from mesh.testing.suites import Loading, Suite
from parser.diagnostics import PolicySyntaxError, quoted

__all__ = ["run_tests"]


def run_tests(arguments: argparse.Namespace) -> ExitCode:
    """What `meshward test` does."""
    begun = time.perf_counter()
    run = _run(arguments)
    cases = sum(result.cases for result in run.results)
    if not cases and not run.broken:
        raise UsageError(f"no case has a name like {quoted(arguments.filter or '')}", help="the names stand in -v")
    written = WRITERS[arguments.output](run.results, verbose=arguments.verbose, seconds=time.perf_counter() - begun)
    sys.stdout.buffer.write(written)
    sys.stdout.flush()
    if run.broken:
        return ExitCode.INVALID
    return ExitCode.TESTS if any(result.failed for result in run.results) else ExitCode.OK


@dataclass(frozen=True, slots=True)
class _Run:
    """What came of all files; `broken` is how many of them could not be run, which has been said."""

    results: Sequence[Result]
    broken: int


def _run(arguments: argparse.Namespace) -> _Run:
    files = _files(arguments.paths)
    loading = Loading()
    at, chosen = time.time(), _chosen(arguments.filter)
    results = []
    broken = 0
    for file in files:
        suite = _load(loading, file)
        if suite is None:
            broken += 1
            continue
        results.append(run_suite(suite, at=at, chosen=chosen))
    return _Run(results, broken)


def _load(loading: Loading, file: Path) -> Suite | None:
    """The suite in a file; none where something is wrong with it, which is then said."""
    data = read_file(file)
    try:
        return loading.load(str(file), data, directory=file.parent)
    except PolicySyntaxError as error:
        print_diagnostics(error.diagnostics, {str(file): data.decode("utf-8", "replace")})
    except InvalidManifestsError as error:
        print_diagnostics(error.diagnostics, error.sources)
        print(f"meshward: {file}: {error}", file=sys.stderr)
    return None


def _files(paths: Sequence[str]) -> list[Path]:
    """The files of policy tests that the paths lead to, each once.

    Raises:
        UsageError: One leads to none.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise UsageError(f"cannot read {path}: No such file or directory")
        below = list(_below(path)) if path.is_dir() else [path]
        if not below:
            raise UsageError(f"no policy tests in {path}", help=f"their files are named *{TESTS}")
        found.update(dict.fromkeys(below))
    return list(found)


def _below(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob(f"*{TESTS}")):
        if not any(part.startswith(".") for part in path.relative_to(directory).parts):
            yield path


def _chosen(text: str | None) -> Callable[[str], bool] | None:
    """Whether a case has a name like `text`."""
    if text is None:
        return None
    if "*" in text or "?" in text:
        # What is in brackets is a part of the names, and no set of letters.
        pattern = text.replace("[", "[[]")
        return lambda name: fnmatchcase(name, pattern)
    return lambda name: text in name
