"""Serving: the server of `meshward serve`, from its arguments to its end."""

import argparse
import asyncio
import logging
import signal
from collections.abc import Callable

from cli.answering import Answering, decision_log
from cli.command import ExitCode
from cli.manifests import print_diagnostics, print_skipped, store_of
from cli.workers import Declared, Workers, address_of, reserve
from mesh.current import Current
from mesh.directory import Loaded
from mesh.errors import InvalidManifestsError, PolicyStoreError
from mesh.snapshot import Snapshot

__all__ = ["serve"]

_logger = logging.getLogger("meshward")


def serve(arguments: argparse.Namespace) -> ExitCode:
    """Serve until SIGTERM or SIGINT.

    Raises:
        PolicyStoreError: There are no good policies to begin with.
        UnknownWorkloadError: The workload that is fixed is not among theirs.
        UsageError: The address or the log cannot be had.
        CommandError: A worker did not come up.
    """
    # Tried here in any case: workers could only say one after the other that it cannot be written.
    with decision_log(arguments.decision_log) as log:
        if arguments.workers == 1:
            return asyncio.run(_serve(arguments, lambda snapshot: _Alone(Answering(arguments, snapshot, log))))
        with reserve(arguments.listen) as reserved:
            arguments.listen = address_of(reserved)
            return asyncio.run(_serve(arguments, lambda snapshot: _Several(arguments, snapshot)))


class _Alone:
    """This process answers."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self.address = answering.address
        self.take = answering.take
        self.start = answering.start
        self.stop = answering.stop


class _Several:
    """Workers answer."""

    def __init__(self, arguments: argparse.Namespace, snapshot: Snapshot) -> None:
        self._workers = Workers(arguments, arguments.workers, Declared.by(snapshot))
        self._sending: set[asyncio.Task[None]] = set()
        self.address = arguments.listen
        self.start = self._workers.start
        self.stop = self._workers.stop

    def take(self, snapshot: Snapshot) -> None:
        """Have them answer by this one; they do so one moment later."""
        task = asyncio.create_task(self._workers.send(Declared.by(snapshot)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)


async def _serve(arguments: argparse.Namespace, answering_by: Callable[[Snapshot], _Alone | _Several]) -> ExitCode:
    answering: _Alone | _Several | None = None

    def on_load(loaded: Loaded) -> None:
        # What a server does not enforce must be seen by whoever starts it, asked for or not.
        print_diagnostics(loaded.warnings, loaded.sources)
        if arguments.verbose:
            print_skipped(loaded.skipped)
        snapshot = loaded.snapshot
        if answering is not None:
            answering.take(snapshot)
        for warning in snapshot.warnings():
            _logger.warning("%s", warning)
        _logger.info(
            "revision %s in force: %d policies, %d workloads, from %d files",
            snapshot.revision,
            len(snapshot.policies),
            len(snapshot.registry),
            loaded.files,
        )

    def on_refusal(error: PolicyStoreError) -> None:
        if isinstance(error, InvalidManifestsError):
            print_diagnostics(error.diagnostics, error.sources)
        _logger.error("%s: refused, revision %s stays in force", error, current.snapshot.revision)

    current = Current(store_of(arguments), on_load=on_load, on_refusal=on_refusal)
    if arguments.workload is not None:
        current.snapshot.registry.named(arguments.workload)
    answering = answering_by(current.snapshot)
    stop = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, stop.set)
    await answering.start()
    _logger.info("listening on %s", answering.address)
    await current.watch(stop)
    _logger.info("draining")
    await answering.stop()
    return ExitCode.OK
