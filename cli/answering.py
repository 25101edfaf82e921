"""Answering: what one process needs to answer Envoy, from the arguments of `meshward serve`."""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from authn.egress import Egress
from authn.jwks_cache import JwksCache
from authn.jwks_fetch import tls_context
from cli.command import UsageError
from extauthz.decision_log import DecisionLog
from extauthz.server import ListenError, Port, Server
from extauthz.service import AuthorizationService
from extauthz.shadowing import Shadowing
from extauthz.tally import Fetch, Tally
from extauthz.token_mode import TokenMode
from extauthz.tokens import TokenReader, TrustingEnvoy, Verifying
from extauthz.wire import forget_answers
from mesh.files import STDIN
from mesh.snapshot import Snapshot

__all__ = ["Answering", "Versions", "decision_log"]

_TURN = 1.0


@dataclass(frozen=True, slots=True)
class Versions:
    """What is in force, and what is decided by besides, if anything is."""

    enforced: Snapshot
    shadow: Snapshot | None = None

    @property
    def revisions(self) -> tuple[str, str]:
        """Those of both, empty for none."""
        return self.enforced.revision, "" if self.shadow is None else self.shadow.revision


class Answering:
    """A server by `versions`, which `take` replaces while it runs. There is a shadow from the beginning, or never."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        versions: Versions,
        log: DecisionLog | None,
        tally: Tally,
        port: Port = Port.OWN,
    ) -> None:
        """Listen, without answering yet.

        Raises:
            UsageError: The address cannot be had, or the certificates for fetching keys.
        """
        self._tally = tally
        self._keys = _keys(arguments, tally)
        self._tokens: TokenReader = TrustingEnvoy() if self._keys is None else Verifying(self._keys)
        self._shadow = None if versions.shadow is None else Shadowing(versions.shadow, tokens=self._tokens, tally=tally)
        self._service = AuthorizationService(
            lambda: self.versions.enforced,
            tokens=self._tokens,
            workload=arguments.workload,
            log=log,
            tally=tally,
            shadow=self._shadow,
        )
        self._drain = arguments.drain
        self.take(versions)
        try:
            self._server = Server(self._service, arguments.listen, port=port)
        except ListenError as error:
            raise UsageError(str(error)) from error

    @property
    def address(self) -> str:
        """Where it listens."""
        return self._server.address

    def take(self, versions: Versions) -> None:
        """Answer by these from now on."""
        self.versions = versions
        forget_answers()
        rules = versions.enforced.jwt_rules()
        if self._shadow is not None and versions.shadow is not None:
            self._shadow.snapshot = versions.shadow
            rules = (*rules, *versions.shadow.jwt_rules())
        self._tokens.expect(rules)

    async def start(self) -> None:
        """Answer, once what tokens need is here or is known not to come."""
        await self._tokens.ready(self.versions.enforced.jwt_rules())
        await self._server.start()
        self._living = asyncio.create_task(self._live())

    async def _live(self) -> None:
        """Say that the loop turns, again and again."""
        while True:
            self._tally.alive(at=time.monotonic())
            if self._keys is not None:
                ages = self._keys.fetched_at
                usable = [at for at in ages if at is not None]
                self._tally.keys(usable=len(usable), missing=len(ages) - len(usable), oldest=min(usable, default=0.0))
            await asyncio.sleep(_TURN)

    async def stop(self) -> None:
        """Answer what is open, and end."""
        self._living.cancel()
        await self._server.stop(grace=self._drain)
        await self._service.close()
        await self._tokens.close()


def _keys(arguments: argparse.Namespace, tally: Tally) -> JwksCache | None:
    """Those that tokens are verified with; none where Envoy does it."""
    if arguments.jwt is TokenMode.TRUST_ENVOY:
        return None
    tls = tls_context()
    if arguments.jwks_ca is not None:
        try:
            tls.load_verify_locations(arguments.jwks_ca)
        except OSError as error:  # SSLError is one, too
            raise UsageError(f"cannot read the certificates in {arguments.jwks_ca}: {error.strerror}") from error

    def on_fetch(error: Exception | None) -> None:
        tally.count(Fetch.OK if error is None else Fetch.FAILED)

    return JwksCache(Egress(allowed=tuple(arguments.jwks_allow)), tls=tls, on_fetch=on_fetch)


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
