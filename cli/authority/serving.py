"""Serving: the authority with all of its edges."""

import asyncio
import ctypes
import gc
import logging
import resource
import signal
import socket
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from datetime import timedelta

import uvloop

from ca.attestation import KubernetesAttestor
from ca.federation import Federation
from ca.front.tls import ServerTls
from ca.istio.server import istio_server
from ca.metrics import Metrics
from ca.office import Office
from ca.own_svid import OwnSvid
from ca.rest import AdminToken, OpenId, admin_app, serving, workloads_app
from ca.sds import sds_server
from ca.streams import Streams
from ca.workload_api import workload_api_server
from cli.authority.directory import AuthorityDirectory
from cli.authority.outside import foreign_of, impersonation_of, tokens_of
from cli.authority.settings import SettingsError
from cli.command import UsageError
from extauthz.server import ListenError, parse_port

__all__ = ["serve"]

_logger = logging.getLogger("meshward.ca")

_UNIX = "unix:"
_STILL_HERE_EVERY = timedelta(minutes=1)
_PR_SET_DUMPABLE = 4


def serve(directory: AuthorityDirectory) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        AuthorityError: it cannot sign, or not listen.
        CommandError: something that it needs is not said, or cannot be had.
    """
    _keep_memory_to_ourselves()
    # It outlives whoever reads its log.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    with directory.store() as store:
        office = directory.office(store)
        uvloop.run(_Serving(directory, office).run())


class _Serving:
    """One run of the server."""

    def __init__(self, directory: AuthorityDirectory, office: Office) -> None:
        self._directory = directory
        self._settings = directory.settings
        self._office = office
        self._stop = asyncio.Event()
        self._beside: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Open the authority, serve, and end in order.

        Raises:
            AuthorityError: it cannot sign, or not listen.
            SettingsError: something that it needs is not said.
        """
        for ending in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(ending, self._stop.set)
        await asyncio.to_thread(self._office.open)
        async with AsyncExitStack() as edges:
            try:
                await self._serve(edges)
            finally:
                self._stop.set()
        await asyncio.gather(*self._beside)

    async def _serve(self, edges: AsyncExitStack) -> None:
        office, settings = self._office, self._settings
        own = OwnSvid(office, dns_names=(*settings.rest.dns_names, *settings.istio.dns_names))
        await own.renew()
        federation = Federation(
            foreign_of(self._directory),
            office.store.federation,
            office.changes,
            own=office.trust_domain,
            clock=office.clock,
        )
        await asyncio.to_thread(federation.load)
        self._go(office.supervisor.run(self._stop), office.watcher.run(self._stop), own.run(self._stop))
        self._go(federation.run(self._stop), self._keep_consumers())

        tokens = tokens_of(self._directory)
        await self._serve_http(edges, own, tokens)
        await self._serve_streams(edges, federation)
        await self._serve_istio(edges, own, tokens)
        # What was loaded to get here stays: the collector need not go over it again and again while requests are answered.
        gc.collect()
        gc.freeze()
        _logger.info("serving %s: bundle %d", office.trust_domain, office.signing.now().bundle.sequence)
        await self._stop.wait()
        _logger.info("draining")

    async def _serve_http(self, edges: AsyncExitStack, own: OwnSvid, tokens: KubernetesAttestor | None) -> None:
        office, rest = self._office, self._settings.rest
        tls = ServerTls(lambda: own.current, lambda: office.signing.now().bundle, protocols=("http/1.1",))
        if rest.listen is not None:
            openid = None if rest.jwt_issuer is None else _openid(rest.jwt_issuer)
            attest = None if tokens is None else lambda token: tokens.attest(token, at=office.clock())
            app = workloads_app(office, tokens=attest, openid=openid)
            listening = _listening(rest.listen)
            await edges.enter_async_context(serving(app, listening, tls=tls.context))
            _logger.info("workloads ask at https://%s", _name(listening))
        if rest.admin is not None:
            token = None if rest.admin_token_sha256 is None else AdminToken(bytes.fromhex(rest.admin_token_sha256))
            metrics = Metrics(office, own=lambda: own.current)
            listening = _listening(rest.admin)
            admin = admin_app(office, metrics, token=token)
            await edges.enter_async_context(serving(admin, listening, tls=tls.context))
            _logger.info("operators ask at https://%s", _name(listening))

    async def _serve_streams(self, edges: AsyncExitStack, federation: Federation) -> None:
        streams = Streams(self._office, federated=federation.bundles)
        for what, settings, server in (
            ("Envoys", self._settings.sds, sds_server),
            ("SPIFFE clients", self._settings.workload_api, workload_api_server),
        ):
            if settings.listen is not None:
                address = self._unix(settings.listen)
                await edges.enter_async_context(server(streams, address))
                _logger.info("%s ask at %s", what, address)

    async def _serve_istio(self, edges: AsyncExitStack, own: OwnSvid, tokens: KubernetesAttestor | None) -> None:
        office, istio = self._office, self._settings.istio
        if istio.listen is None:
            return
        host, port = _host_and_port(istio.listen)
        tls = ServerTls(lambda: own.current, lambda: office.signing.now().bundle)
        impersonation = impersonation_of(self._directory)
        server = istio_server(office, host, port, tls, tokens=tokens, impersonation=impersonation)
        await edges.enter_async_context(server)
        _logger.info("Istio's agents ask at %s", server.address)

    def _unix(self, address: str) -> str:
        if not address.startswith(_UNIX):
            raise SettingsError(f"cannot listen on {address!r}: it has to be `unix:` and a path")
        return f"{_UNIX}{self._directory.path.absolute() / address.removeprefix(_UNIX)}"

    async def _keep_consumers(self) -> None:
        while not self._stop.is_set():
            self._office.consumers.still_here(at=self._office.clock())
            with suppress(TimeoutError):
                async with asyncio.timeout(_STILL_HERE_EVERY.total_seconds()):
                    await self._stop.wait()

    def _go(self, *running: Coroutine[None, None, None]) -> None:
        for each in running:
            task = asyncio.create_task(each)
            task.add_done_callback(self._ended)
            self._beside.append(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        # None of them fails but by a fault of ours; without it, what is served would grow old unseen.
        if not task.cancelled() and task.exception() is not None:
            self._stop.set()


def _openid(issuer: str) -> OpenId:
    try:
        return OpenId(issuer)
    except ValueError as error:
        raise SettingsError(f"`rest.jwt_issuer`: {error}") from error


def _listening(address: str) -> socket.socket:
    host, port = _host_and_port(address)
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UsageError(f"cannot listen on {address}: {error.strerror or error}") from error


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        return parse_port(address)
    except ListenError as error:
        raise SettingsError(str(error), help="an address is `host:port`") from error


def _name(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _keep_memory_to_ourselves() -> None:
    """No core is dumped, and no other process of our user may look into us: there are keys in here."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
