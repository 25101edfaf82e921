"""An authority's HTTP servers, real ones with TLS, in a thread of their own."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from ca.front.tls import ServerTls, load_svid
from ca.joining import new_join_token
from ca.limits import Limits
from ca.metrics import Metrics
from ca.own_svid import OwnSvid
from ca.rest import AdminToken, Bounds, admin_app, serving, workloads_app
from identity import SpiffeId, X509Svid
from tests.unit.ca.offices import BY, TestOffice, office
from tests.unit.ca.rest.asking import ADMIN

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Served:
    """An authority that answers, and where."""

    made: TestOffice
    port: int
    admin_port: int
    directory: Path

    @property
    def roots(self) -> Path:
        """A file with the bundle."""
        file = self.directory / "roots.pem"
        file.write_bytes(self.made.office.signing.now().bundle.to_pem())
        return file

    def client(self, svid: X509Svid | None = None, *, admin: bool = False) -> httpx.Client:  # what a test reads best
        """A client that verifies the server, and shows `svid` if it has one."""
        context = ssl.create_default_context(cafile=str(self.roots))
        if svid is not None:
            load_svid(context, svid)
        port = self.admin_port if admin else self.port
        return httpx.Client(verify=context, base_url=f"https://localhost:{port}", timeout=SECONDS)

    def token(self, spiffe_id: SpiffeId) -> str:
        """A join token."""

        async def new() -> str:
            at = self.made.clock()
            made = await new_join_token(self.made.office.store, spiffe_id, ttl=timedelta(minutes=5), by=BY, at=at)
            return made.text

        return asyncio.run(new())


@contextmanager
def served(directory: Path, *, bounds: Bounds | None = None) -> Iterator[Served]:
    """Both servers of a new authority."""
    with office(directory, at=datetime.now(UTC)) as made:
        unlimited = Limits(attest_per_second=10**6, issue_per_second=10**6)
        made = replace(made, office=replace(made.office, limits=unlimited))  # noqa: PLW2901  # the same with limits
        listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        port, admin_port = (int(each.getsockname()[1]) for each in listening)
        loop, stop, up = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

        async def run() -> None:
            own = OwnSvid(made.office, dns_names=("localhost",))
            await own.renew()
            tls = ServerTls(lambda: own.current, lambda: made.office.signing.now().bundle, protocols=("http/1.1",))
            metrics = Metrics(made.office, own=lambda: own.current)
            workloads = workloads_app(made.office)
            admin = admin_app(made.office, metrics, token=AdminToken.of(ADMIN))
            async with (
                serving(workloads, listening[0], tls=tls.context, bounds=bounds),
                serving(admin, listening[1], tls=tls.context, bounds=bounds),
            ):
                up.set()
                await stop.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(run(),), name="rest")
        thread.start()
        try:
            assert up.wait(SECONDS)
            yield Served(made, port, admin_port, directory)
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()
