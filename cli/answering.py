"""Answering: what one process needs to answer Envoy, from the arguments of `meshward serve`."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from authn.egress import Egress
from authn.jwks_cache import JwksCache
from authn.jwks_fetch import tls_context
from cli.command import UsageError
from extauthz.decision_log import DecisionLog
from extauthz.server import ListenError, Port, Server
from extauthz.service import AuthorizationService
from extauthz.token_mode import TokenMode
from extauthz.tokens import TokenReader, TrustingEnvoy, Verifying
from mesh.files import STDIN
from mesh.snapshot import Snapshot

__all__ = ["Answering", "decision_log"]


class Answering:
    """A server of `snapshot`, which `take` replaces while it runs."""

    def __init__(
        self, arguments: argparse.Namespace, snapshot: Snapshot, log: DecisionLog | None, port: Port = Port.OWN
    ) -> None:
        """Listen, without answering yet.

        Raises:
            UsageError: The address cannot be had, or the certificates for fetching keys.
        """
        self._tokens = _tokens(arguments)
        self._service = AuthorizationService(
            lambda: self.snapshot, tokens=self._tokens, workload=arguments.workload, log=log
        )
        self._drain = arguments.drain
        self.take(snapshot)
        try:
            self._server = Server(self._service, arguments.listen, port=port)
        except ListenError as error:
            raise UsageError(str(error)) from error

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._server.address

    def take(self, snapshot: Snapshot) -> None:
        """Answer by this one from now on."""
        self.snapshot = snapshot
        self._tokens.expect(snapshot.jwt_rules())

    async def start(self) -> None:
        """Answer, once what tokens need is here or is known not to come."""
        await self._tokens.ready(self.snapshot.jwt_rules())
        await self._server.start()

    async def stop(self) -> None:
        """Answer what is open, and end."""
        await self._server.stop(grace=self._drain)
        await self._service.close()
        await self._tokens.close()


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
def decision_log(name: str | None) -> Iterator[DecisionLog | None]:
    """The log of that name, `-` for standard output; none where there is no name.

    Raises:
        UsageError: It cannot be written.
    """
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
