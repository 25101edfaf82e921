"""`meshward serve`: answers Envoy's ext_authz calls from a directory of manifests."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cli.command import Command, ExitCode, UsageError
from cli.manifests import add_manifest_arguments, print_diagnostics, print_loaded, store_of
from extauthz.decision_log import DecisionLog
from extauthz.server import Server
from extauthz.service import AuthorizationService
from mesh.current import Current
from mesh.directory import Loaded
from mesh.errors import InvalidManifestsError, PolicyStoreError
from mesh.files import STDIN

__all__ = ["COMMAND"]

_logger = logging.getLogger("meshward")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_manifest_arguments(parser)
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        default="127.0.0.1:9191",
        help="host:port, or unix:/path (default: %(default)s); port 0 takes a free one",
    )
    parser.add_argument(
        "--workload",
        metavar="NAMESPACE/NAME",
        help="every request is for this workload, whatever Envoy says; for a server beside one sidecar",
    )
    parser.add_argument(
        "--decision-log", metavar="FILE", help="append one line of JSON for each decision; - for standard output"
    )
    parser.add_argument(
        "--drain",
        metavar="SECONDS",
        type=_seconds,
        default=5.0,
        help="how long open requests may take after SIGTERM (default: %(default)s)",
    )


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (seconds := float(text)) < float("inf"):
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")


def _run(arguments: argparse.Namespace) -> ExitCode:
    if STDIN in (*arguments.paths, arguments.mesh):
        raise UsageError("cannot serve standard input", help="give files or directories, which can be watched")
    # A server outlives whoever reads its log.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with _decision_log(arguments.decision_log) as log:
        return asyncio.run(_serve(arguments, log))


async def _serve(arguments: argparse.Namespace, log: DecisionLog | None) -> ExitCode:
    def on_load(loaded: Loaded) -> None:
        print_loaded(loaded, verbose=arguments.verbose)
        snapshot = loaded.snapshot
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
    service = AuthorizationService(lambda: current.snapshot, workload=arguments.workload, log=log)
    server = Server(service, arguments.listen)
    stop = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, stop.set)
    await server.start()
    _logger.info("listening on %s", server.address)
    await current.watch(stop)
    _logger.info("draining")
    await server.stop(grace=arguments.drain)
    return ExitCode.OK


@contextmanager
def _decision_log(name: str | None) -> Iterator[DecisionLog | None]:
    if name is None:
        yield None
    elif name == STDIN:
        yield DecisionLog(sys.stdout.buffer)
    else:
        with _append(Path(name)) as out:
            yield DecisionLog(out)


def _append(path: Path) -> BinaryIO:
    try:
        # Unbuffered: what could not be written must not come out later, beside the denial that it led to.
        return path.open("ab", buffering=0)
    except OSError as error:
        raise UsageError(f"cannot write the decision log {path}: {error.strerror}") from error


COMMAND = Command(
    "serve",
    "answer Envoy's ext_authz calls from a directory of manifests, reloading as files change",
    _add_arguments,
    _run,
)
