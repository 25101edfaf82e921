"""Serving: the server of `meshward serve`, from its arguments to its end."""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from authn.egress import Egress
from authn.jwks_cache import JwksCache
from authn.jwks_fetch import tls_context
from cli.command import ExitCode, UsageError
from cli.manifests import print_diagnostics, print_skipped, store_of
from extauthz.decision_log import DecisionLog
from extauthz.server import ListenError, Server
from extauthz.service import AuthorizationService
from extauthz.token_mode import TokenMode
from extauthz.tokens import TokenReader, TrustingEnvoy, Verifying
from mesh.current import Current
from mesh.directory import Loaded
from mesh.errors import InvalidManifestsError, PolicyStoreError
from mesh.files import STDIN

__all__ = ["serve"]

_logger = logging.getLogger("meshward")


def serve(arguments: argparse.Namespace) -> ExitCode:
    """Serve until SIGTERM or SIGINT.

    Raises:
        PolicyStoreError: There are no good policies to begin with.
        UnknownWorkloadError: The workload that is fixed is not among theirs.
        UsageError: The address or the log cannot be had.
    """
    with _decision_log(arguments.decision_log) as log:
        return asyncio.run(_serve(arguments, log))


async def _serve(arguments: argparse.Namespace, log: DecisionLog | None) -> ExitCode:
    tokens = _tokens(arguments)

    def on_load(loaded: Loaded) -> None:
        # What a server does not enforce must be seen by whoever starts it, asked for or not.
        print_diagnostics(loaded.warnings, loaded.sources)
        if arguments.verbose:
            print_skipped(loaded.skipped)
        snapshot = loaded.snapshot
        tokens.expect(snapshot.jwt_rules())
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
    service = AuthorizationService(lambda: current.snapshot, tokens=tokens, workload=arguments.workload, log=log)
    try:
        server = Server(service, arguments.listen)
    except ListenError as error:
        raise UsageError(str(error)) from error
    stop = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, stop.set)
    await tokens.ready(current.snapshot.jwt_rules())
    await server.start()
    _logger.info("listening on %s", server.address)
    await current.watch(stop)
    _logger.info("draining")
    await server.stop(grace=arguments.drain)
    await service.close()
    await tokens.close()
    return ExitCode.OK


def _tokens(arguments: argparse.Namespace) -> TokenReader:
    if arguments.jwt is TokenMode.TRUST_ENVOY:
        return TrustingEnvoy()
    tls = tls_context()
    if arguments.jwks_ca is not None:
        try:
            tls.load_verify_locations(arguments.jwks_ca)
        except OSError as error:  # SSLError is one, too
            raise UsageError(f"cannot read the certificates in {arguments.jwks_ca}: {error.strerror}") from error
    return Verifying(JwksCache(Egress(allowed=tuple(arguments.jwks_allow)), tls=tls))


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
