"""Running policy tests for the command line: which files, what is wrong with them, and what is said of the results."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from cli.command import ExitCode, UsageError
from cli.diagnostics import print_diagnostics
from cli.reports.coverage import coverage_as_json, pages_of_coverage
from cli.reports.tests import WRITERS, Report
from cli.watching import keep_running
from mesh.errors import InvalidManifestsError
from mesh.files import STDIN, TESTS, read_file
from mesh.testing.coverage import Coverage, merged
from mesh.testing.parallel import run_suites
from mesh.testing.results import Wanted
from mesh.testing.suites import Loading, Suite
from parser.diagnostics import PolicySyntaxError, quoted

__all__ = ["run_tests"]


def run_tests(arguments: argparse.Namespace) -> ExitCode:
    """What `meshward test` does."""
    if arguments.watch:
        _files(arguments.paths)  # what is not there cannot be watched
        keep_running(
            lambda: _suites(arguments.paths),
            lambda found: _report(arguments, *found),
            files=lambda found: frozenset(Path(file).parent for suite in found[0] for file in suite.files),
            first=frozenset(map(Path, arguments.paths)),
        )
    return _report(arguments, *_suites(arguments.paths))


def _report(arguments: argparse.Namespace, suites: Sequence[Suite], broken: Sequence[str]) -> ExitCode:
    """Run the suites and write what came of it; `broken` are the files that could not be read."""
    begun = time.perf_counter()
    results = run_suites(suites, chosen=_chosen(arguments.filter), wanted=_wanted(arguments), jobs=arguments.jobs)
    if not any(result.cases for result in results) and not broken:
        asked = quoted(arguments.filter or "")
        raise UsageError(f"no case has a name like {asked}", help="-v shows the names of those that pass")
    coverages = [result.coverage for result in results if result.coverage is not None]
    coverage = merged(coverages) if coverages else None
    report = Report(
        results=results,
        broken=broken,
        coverage=coverage if arguments.coverage else None,
        seconds=time.perf_counter() - begun,
        verbose=arguments.verbose,
    )
    sys.stdout.buffer.write(WRITERS[arguments.output](report))
    sys.stdout.flush()
    if coverage is not None:
        _write_coverage(coverage, arguments)
    if broken:
        return ExitCode.INVALID
    if any(result.failed for result in results):
        return ExitCode.TESTS
    return ExitCode.COVERAGE if any(result.shortfalls for result in results) else ExitCode.OK


def _wanted(arguments: argparse.Namespace) -> frozenset[Wanted]:
    wanted = set()
    if arguments.verbose or arguments.output == "junit":
        wanted.add(Wanted.NAMES)
    if arguments.coverage or arguments.coverage_json is not None or arguments.coverage_html is not None:
        wanted.add(Wanted.COVERAGE)
    return frozenset(wanted)


def _write_coverage(coverage: Coverage, arguments: argparse.Namespace) -> None:
    """Write the files that are asked for.

    Raises:
        UsageError: One cannot be written.
    """
    try:
        if arguments.coverage_json == STDIN:
            sys.stdout.buffer.write(coverage_as_json(coverage))
        elif arguments.coverage_json is not None:
            Path(arguments.coverage_json).write_bytes(coverage_as_json(coverage))
        if arguments.coverage_html is not None:
            directory = Path(arguments.coverage_html)
            directory.mkdir(parents=True, exist_ok=True)
            names = {policy.span.file for policy in coverage.policies if policy.span is not None}
            texts = {name: read_file(Path(name)).decode("utf-8", "replace") for name in names}
            for name, page in pages_of_coverage(coverage, texts).items():
                (directory / name).write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from error


def _suites(paths: Sequence[str]) -> tuple[list[Suite], list[str]]:
    """The suites in the files, and the names of those with something wrong, which has been said."""
    loading = Loading()
    loaded = {str(file): _load(loading, file) for file in _files(paths)}
    suites = [suite for suite in loaded.values() if suite is not None]
    return suites, [name for name, suite in loaded.items() if suite is None]


def _load(loading: Loading, file: Path) -> Suite | None:
    """The suite in a file; none where something is wrong with it, which is then said."""
    data = read_file(file)
    try:
        return loading.load(str(file), data, directory=file.parent)
    except PolicySyntaxError as error:
        others = {diagnostic.span.file for diagnostic in error.diagnostics} - {str(file)}
        texts = {name: read_file(Path(name)) for name in others} | {str(file): data}
        print_diagnostics(error.diagnostics, {name: text.decode("utf-8", "replace") for name, text in texts.items()})
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
