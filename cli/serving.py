"""Serving: the server of `meshward serve`, from its arguments to its end."""

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence

import uvloop

from cli.answering import Answering, decision_log
from cli.command import ExitCode
from cli.manifests import print_diagnostics, print_skipped, store_of
from cli.monitoring import monitoring
from cli.workers import Workers, addresses
from extauthz.decision_log import DecisionLog
from extauthz.metrics import Answerer, Status
from extauthz.tally import Tally
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
    status = Status()
    # Tried here in any case: workers could only say one after the other that it cannot be written.
    with decision_log(arguments.decision_log) as log, monitoring(arguments.metrics, status) as metrics:
        if metrics is not None:
            _logger.info("metrics on http://%s/metrics", metrics)
        if arguments.workers == 1:
            return uvloop.run(_serve(arguments, status, lambda snapshot: _Alone(arguments, snapshot, log)))
        with addresses(arguments.listen, arguments.workers) as listen:
            return uvloop.run(_serve(arguments, status, lambda snapshot: _Several(arguments, listen, snapshot)))


class _Alone:
    """This process answers."""

    def __init__(self, arguments: argparse.Namespace, snapshot: Snapshot, log: DecisionLog | None) -> None:
        self._tally = Tally()
        self._answering = Answering(arguments, snapshot, log, self._tally)
        self.address = self._answering.address
        self.take = self._answering.take
        self.start = self._answering.start
        self.stop = self._answering.stop

    def answerers(self) -> Sequence[Answerer]:
        """This one."""
        revision = self._answering.snapshot.revision
        return [Answerer(name="server", pid=os.getpid(), tally=self._tally, revision=revision)]


class _Several:
    """Workers answer."""

    def __init__(self, arguments: argparse.Namespace, listen: Sequence[str], snapshot: Snapshot) -> None:
        workers = Workers(arguments, listen, snapshot)
        self.address = ", ".join(dict.fromkeys(listen))
        self.take = workers.take
        self.start = workers.start
        self.stop = workers.stop
        self.answerers = workers.answerers


async def _serve(
    arguments: argparse.Namespace, status: Status, answering_by: Callable[[Snapshot], _Alone | _Several]
) -> ExitCode:
    answering: _Alone | _Several | None = None

    def on_load(loaded: Loaded) -> None:
        # What a server does not enforce must be seen by whoever starts it, asked for or not.
        print_diagnostics(loaded.warnings, loaded.sources)
        if arguments.verbose:
            print_skipped(loaded.skipped)
        snapshot = loaded.snapshot
        if answering is not None:
            answering.take(snapshot)
        status.loaded(snapshot)
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
        status.refused()
        if isinstance(error, InvalidManifestsError):
            print_diagnostics(error.diagnostics, error.sources)
        _logger.error("%s: refused, revision %s stays in force", error, current.snapshot.revision)

    current = Current(store_of(arguments), on_load=on_load, on_refusal=on_refusal)
    if arguments.workload is not None:
        current.snapshot.registry.named(arguments.workload)
    answering = answering_by(current.snapshot)
    status.outdated = lambda: current.refused
    status.answerers = answering.answerers
    stop = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, stop.set)
    await answering.start()
    _logger.info("listening on %s", answering.address)
    await current.watch(stop)
    _logger.info("draining")
    status.draining = True
    await answering.stop()
    return ExitCode.OK
