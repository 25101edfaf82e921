"""The Workload API as py-spiffe and spiffe-tls use it, in the same process as the server."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from spiffe import JwtSource, TrustDomain, WorkloadApiClient, X509Source
from spiffe.workloadapi.errors import FetchX509SvidError, ValidateJwtSvidError
from spiffetls import ClientTlsMode, ListenOptions, dial, listen
from spiffetls.errors import TLSConnectionError
from spiffetls.tlsconfig.authorize import authorize_id

from ca.phases import SlotKind
from ca.streams import Streams
from ca.workload_api import workload_api_server
from tests.unit.ca.offices import API, BY, TD, WEB, TestOffice, office
from tests.unit.ca.waiting import until

T = TypeVar("T")

ME = f"unix:uid:{os.geteuid()}"
# OpenSSL and PyJWT read the clock by themselves.
NOW = datetime.now(UTC)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[TestOffice]:
    with office(tmp_path, at=datetime.now(UTC)) as made:
        yield made


@asynccontextmanager
async def serving(made: TestOffice, tmp_path: Path) -> AsyncIterator[str]:
    server = workload_api_server(Streams(made.office), f"unix:{tmp_path}/w.sock")
    async with made.watched(), server:
        yield server.address


def with_server(made: TestOffice, tmp_path: Path, scene: Callable[[str], T]) -> T:
    """What `scene` comes to, in a thread beside the server."""

    async def run() -> T:
        async with serving(made, tmp_path) as address:
            return await asyncio.to_thread(scene, address)

    return asyncio.run(run())


def test_all_that_the_client_can_ask_for(made: TestOffice, tmp_path: Path) -> None:
    made.entry(WEB, ME)
    made.entry(API, ME)

    def scene(address: str) -> None:
        with WorkloadApiClient(address) as client:
            assert str(client.fetch_x509_svid().spiffe_id) == str(WEB)
            assert [str(each.spiffe_id) for each in client.fetch_x509_svids()] == [str(WEB), str(API)]
            context = client.fetch_x509_context()
            domain = TrustDomain(TD.name)
            bundle = context.x509_bundle_set.get_bundle_for_trust_domain(domain)
            assert bundle is not None
            assert len(bundle.x509_authorities) == 1
            bundles = client.fetch_x509_bundles()
            assert bundles.get_bundle_for_trust_domain(domain) == bundle
            svid = client.fetch_jwt_svid({"a"})
            assert (str(svid.spiffe_id), svid.audience) == (str(WEB), {"a"})
            assert len(client.fetch_jwt_svids({"a", "b"})) == 2
            jwt_bundle = client.fetch_jwt_bundles().get_bundle_for_trust_domain(domain)
            assert jwt_bundle is not None
            assert len(jwt_bundle.jwt_authorities) == 1
            assert client.validate_jwt_svid(svid.token, "a").spiffe_id == svid.spiffe_id
            with pytest.raises(ValidateJwtSvidError, match="expected audience"):
                client.validate_jwt_svid(svid.token, "c")

    with_server(made, tmp_path, scene)


def test_who_has_no_entry_hears_so(made: TestOffice, tmp_path: Path) -> None:
    def scene(address: str) -> None:
        with WorkloadApiClient(address) as client, pytest.raises(FetchX509SvidError, match="no identity issued"):
            client.fetch_x509_svid()

    with_server(made, tmp_path, scene)


def test_sources_follow_what_changes(made: TestOffice, tmp_path: Path) -> None:
    made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as address:
            x509_source = await asyncio.to_thread(X509Source, socket_path=address, timeout_in_seconds=10)
            jwt_source = await asyncio.to_thread(JwtSource, socket_path=address, timeout_in_seconds=10)
            domain = TrustDomain(TD.name)

            def roots() -> int:
                bundle = x509_source.get_bundle_for_trust_domain(domain)
                return 0 if bundle is None else len(bundle.x509_authorities)

            def keys() -> int:
                bundle = jwt_source.get_bundle_for_trust_domain(domain)
                return 0 if bundle is None else len(bundle.jwt_authorities)

            def leaf() -> int:
                return x509_source.get_x509_context().default_svid.leaf.serial_number

            first = leaf()
            await asyncio.to_thread(made.hurry, SlotKind.ROOT)
            await until(lambda: roots() == 2)
            await asyncio.to_thread(made.hurry, SlotKind.JWT)
            await until(lambda: keys() == 2)
            made.clock.pass_by(timedelta(minutes=40))
            made.office.changes.tell()
            await until(lambda: leaf() != first)
            assert not x509_source.is_closed()
            await asyncio.to_thread(x509_source.close)
            await asyncio.to_thread(jwt_source.close)

    asyncio.run(scene())


def test_a_source_outlives_the_server(made: TestOffice, tmp_path: Path) -> None:
    entry = made.entry(WEB, ME)

    async def scene() -> None:
        async with serving(made, tmp_path) as address:
            source = await asyncio.to_thread(X509Source, socket_path=address, timeout_in_seconds=10)
        made.entry(API, ME)
        await made.office.store.entries.delete(entry.id, by=BY, at=made.clock())
        assert str(source.get_x509_context().default_svid.spiffe_id) == str(WEB)
        async with serving(made, tmp_path):
            await until(lambda: str(source.get_x509_context().default_svid.spiffe_id) == str(API), seconds=20)
            assert not source.is_closed()
            await asyncio.to_thread(source.close)

    asyncio.run(scene())


# It uses what it and pyOpenSSL call deprecated, and leaves the socket of a handshake that failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mutual_tls_by_spiffe_tls(made: TestOffice, tmp_path: Path) -> None:
    made.entry(WEB, ME)

    def scene(address: str) -> None:
        with X509Source(socket_path=address, timeout_in_seconds=10) as source:
            web = source.get_x509_context().default_svid.spiffe_id
            listening = listen("127.0.0.1:0", source, ListenOptions(authorize_fn=authorize_id(web)))
            host, port = listening.getsockname()

            def serve() -> None:
                for _ in range(2):
                    connection, _ = listening.accept()
                    with suppress(Exception):
                        connection.do_handshake()
                        connection.sendall(b"hello")
                    connection.close()

            thread = threading.Thread(target=serve)
            thread.start()
            connection = dial(f"{host}:{port}", source, ClientTlsMode.TLS, authorize_id(web))
            assert connection.recv(5) == b"hello"
            connection.close()
            other = type(web)(str(API))
            with pytest.raises(TLSConnectionError):
                dial(f"{host}:{port}", source, ClientTlsMode.TLS, authorize_id(other))
            thread.join()
            listening.close()

    with_server(made, tmp_path, scene)
