"""Serving: the server of `meshward serve`, from its arguments to its end."""

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence

import uvloop

from cli.answering import Answering, Versions, decision_log
from cli.command import ExitCode
from cli.diagnostics import print_diagnostics, print_skipped
from cli.manifests import store_of
from cli.monitoring import monitoring
from cli.workers import Workers, addresses
from extauthz.decision_log import DecisionLog
from extauthz.metrics import Answerer, Status
from extauthz.tally import Tally
from mesh.current import Current
from mesh.directory import Loaded
from mesh.errors import InvalidManifestsError, PolicyStoreError
from mesh.heap import use_one_arena

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
    use_one_arena()
    status = Status()
    # Tried here in any case: workers could only say one after the other that it cannot be written.
    with decision_log(arguments.decision_log) as log, monitoring(arguments.metrics, status) as metrics:
        if metrics is not None:
            _logger.info("metrics on http://%s/metrics", metrics)
        if arguments.workers == 1:
            return uvloop.run(_serve(arguments, status, lambda versions: _Alone(arguments, versions, log)))
        with addresses(arguments.listen, arguments.workers) as listen:
            return uvloop.run(_serve(arguments, status, lambda versions: _Several(arguments, listen, versions)))


class _Alone:
    """This process answers."""

    def __init__(self, arguments: argparse.Namespace, versions: Versions, log: DecisionLog | None) -> None:
        self._tally = Tally()
        self._answering = Answering(arguments, versions, log, self._tally)
        self.address = self._answering.address
        self.take = self._answering.take
        self.start = self._answering.start
        self.stop = self._answering.stop

    def answerers(self) -> Sequence[Answerer]:
        """This one."""
        enforced, shadow = self._answering.versions.revisions
        return [Answerer(name="server", pid=os.getpid(), tally=self._tally, revision=enforced, shadow=shadow)]


class _Several:
    """Workers answer."""

    def __init__(self, arguments: argparse.Namespace, listen: Sequence[str], versions: Versions) -> None:
        workers = Workers(arguments, listen, versions)
        self.address = ", ".join(dict.fromkeys(listen))
        self.take = workers.take
        self.start = workers.start
        self.stop = workers.stop
        self.answerers = workers.answerers


async def _serve(
    arguments: argparse.Namespace, status: Status, answering_by: Callable[[Versions], _Alone | _Several]
) -> ExitCode:
    answering: _Alone | _Several | None = None

    def on_load(loaded: Loaded) -> None:
        _print_loaded(loaded, verbose=arguments.verbose)
        if answering is not None:
            answering.take(Versions(loaded.snapshot, status.shadow))
        status.loaded(loaded.snapshot)
        _logger.info("revision %s in force: %s", loaded.snapshot.revision, _size(loaded))

    def on_refusal(error: PolicyStoreError) -> None:
        status.refused()
        _print_refusal(error)
        _logger.error("%s: refused, revision %s stays in force", error, current.snapshot.revision)

    current = Current(store_of(arguments), on_load=on_load, on_refusal=on_refusal)
    if arguments.workload is not None:
        current.snapshot.registry.named(arguments.workload)
    watched = [current]
    if arguments.shadow:

        def on_shadow_load(loaded: Loaded) -> None:
            _print_loaded(loaded, verbose=arguments.verbose)
            if answering is not None:
                answering.take(Versions(current.snapshot, loaded.snapshot))
            status.shadow = loaded.snapshot
            _logger.info("shadow: revision %s is decided by, too: %s", loaded.snapshot.revision, _size(loaded))

        def on_shadow_refusal(error: PolicyStoreError) -> None:
            _print_refusal(error)
            _logger.error("shadow: %s: refused, revision %s stays", error, shadow.snapshot.revision)

        shadow = Current(
            store_of(arguments, paths=arguments.shadow), on_load=on_shadow_load, on_refusal=on_shadow_refusal
        )
        status.shadow_outdated = lambda: shadow.refused
        watched.append(shadow)
    answering = answering_by(Versions(current.snapshot, status.shadow))
    status.outdated = lambda: current.refused
    status.answerers = answering.answerers
    stop = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, stop.set)
    await answering.start()
    _logger.info("listening on %s", answering.address)
    await asyncio.gather(*(each.watch(stop) for each in watched))
    _logger.info("draining")
    status.draining = True
    await answering.stop()
    return ExitCode.OK


def _print_loaded(loaded: Loaded, *, verbose: bool) -> None:
    # What a server does not enforce must be seen by whoever starts it, asked for or not.
    print_diagnostics(loaded.warnings, loaded.sources)
    if verbose:
        print_skipped(loaded.skipped)
    for warning in loaded.snapshot.warnings():
        _logger.warning("%s", warning)


def _print_refusal(error: PolicyStoreError) -> None:
    if isinstance(error, InvalidManifestsError):
        print_diagnostics(error.diagnostics, error.sources)


def _size(loaded: Loaded) -> str:
    snapshot = loaded.snapshot
    return f"{len(snapshot.policies)} policies, {len(snapshot.registry)} workloads, from {loaded.files} files"
