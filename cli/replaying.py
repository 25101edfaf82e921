"""Replaying: the run of `meshward replay`, from its arguments to its exit code."""

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cli.command import ExitCode, UsageError
from cli.diagnostics import print_diagnostics
from cli.manifests import print_loaded, store_of
from cli.reports.replay import REPORTS, Run
from cli.requests import offline_of
from extauthz.recorded import RecordedQuestions
from mesh.files import STDIN, display_name
from mesh.replaying.kind import Change, Kind
from mesh.replaying.log import Log, RecordingError
from mesh.replaying.masking import Masking
from mesh.replaying.reading import Defaults, Reading
from mesh.replaying.replay import Replay
from mesh.replaying.version import Version

__all__ = ["replay"]

Tell = Callable[[int, int], None]
_REDRAWN = 0.1
"""Seconds; nobody reads faster."""


def replay(arguments: argparse.Namespace) -> ExitCode:
    """Replay what the arguments name, and print what came of it.

    Raises:
        PolicyStoreError: There are no good policies, of either version.
        UsageError: The records cannot be read, or there is nothing to compare.
    """
    loaded = store_of(arguments).load()
    print_loaded(loaded, verbose=arguments.verbose)
    offline, fixed = offline_of(arguments, loaded.snapshot), arguments.at is not None
    version = Version(loaded.snapshot, offline, normalize=arguments.normalize, fixed=fixed)
    against = None
    if arguments.against:
        other = store_of(arguments, paths=arguments.against).load()
        print_loaded(other, verbose=arguments.verbose)
        against = Version(other.snapshot, offline, normalize=arguments.normalize, fixed=fixed)
    if arguments.workload is not None:
        loaded.snapshot.registry.named(arguments.workload)
    replaying = Replay(version, masking=Masking(arguments.mask), against=against)
    # Records come and go without cycles; the mesh stays, and is not to be searched for any again and again.
    gc.freeze()
    readings = [_take(replaying, name, arguments) for name in arguments.logs]
    run = Run(
        replayed=replaying.outcome(),
        readings=tuple(readings),
        revision=loaded.snapshot.revision,
        against=None if against is None else against.snapshot.revision,
        failing=_failing(arguments.fail_on),
    )
    for reading in readings:
        print_diagnostics(reading.problems, {})
        if reading.cut is not None:
            print_diagnostics([reading.cut], {})
    broken = any(reading.cut is not None for reading in readings)
    bad = not arguments.skip_bad and run.bad > 0
    if not run.replayed.compared:
        _say_why_nothing(run, arguments, whole=not (broken or bad))
        return ExitCode.INVALID
    sys.stdout.buffer.write(REPORTS[arguments.output](run))
    sys.stdout.flush()
    return ExitCode.INVALID if broken or bad or run.failed else ExitCode.OK


def _failing(fail_on: str | None) -> frozenset[Change]:
    if fail_on is None:
        return frozenset()
    return frozenset(change for change in Change if fail_on in (change.value, "any"))


def _say_why_nothing(run: Run, arguments: argparse.Namespace, *, whole: bool) -> None:
    """Say why nothing was compared, unless it has been said what is wrong.

    Raises:
        UsageError: Nothing is wrong but that.
    """
    names = ", ".join(map(display_name, arguments.logs))
    if run.replayed.without_verdict:
        raise UsageError(
            f"nothing to compare: no record in {names} says what was decided",
            help="give another version of the policies with --against",
        )
    if whole:
        raise UsageError(f"no requests in {names}")


def _take(replaying: Replay, name: str, arguments: argparse.Namespace) -> Reading:
    """Replay one recording."""
    defaults = Defaults(workload=arguments.workload, principal=arguments.principal)
    kind = None if arguments.kind is None else Kind(arguments.kind)
    with _opened(name) as file:
        try:
            log = Log(file, display_name(name), kind=kind, defaults=defaults, reader=RecordedQuestions(defaults))
        except RecordingError as error:
            raise UsageError(str(error), help=error.help) from error
        try:
            with _progress(file, name) as tell:
                replaying.take(log, on_progress=tell, jobs=arguments.jobs or os.cpu_count() or 1)
        except OSError as error:
            raise UsageError(f"cannot read {name}: {error.strerror}") from error
        return log.reading


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    if name == STDIN:
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115  # what goes wrong later is another's
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def _progress(file: BinaryIO, name: str) -> Iterator[Tell]:
    """Show how far it is, where somebody looks."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console  # noqa: PLC0415  # paid for by who sees it
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    size = 0 if name == STDIN else os.fstat(file.fileno()).st_size
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TimeRemainingColumn(),
    )
    # Without a thread that draws it: processes that are forked meanwhile would inherit what that one holds.
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as bar:
        # The folders would leave no room for the figures.
        task = bar.add_task(Path(display_name(name)).name, total=size or None, records=0)
        drawn = 0.0

        def tell(records: int, position: int) -> None:
            nonlocal drawn
            bar.update(task, completed=position, records=records)
            if (now := time.monotonic()) - drawn > _REDRAWN:
                drawn = now
                bar.refresh()

        yield tell
