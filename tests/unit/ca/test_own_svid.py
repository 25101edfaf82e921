"""The authority's own certificate, issued and shown."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ca.attestation import Attestor, Caller
from ca.authority import Authority
from ca.errors import NotReadyError
from ca.front.tls import ServerTls, load_svid
from ca.inventory import IssuedState
from ca.own_svid import OWN_ENTRY, OwnSvid
from ca.phases import SlotKind
from identity import Bundle, SpiffeId, X509Svid, verify_x509_svid
from tests.unit.ca.offices import AT, TD, WEB, TestOffice, office

OWN = SpiffeId(TD, "/meshward/ca")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[TestOffice]:
    with office(tmp_path) as made:
        yield made


# Issuing


def test_its_own_svid_is_issued_like_any_other(made: TestOffice) -> None:
    own = OwnSvid(made.office, dns_names=("localhost", "istiod.istio-system.svc"))
    svid = asyncio.run(own.renew())
    assert verify_x509_svid(svid.chain, [made.office.signing.now().bundle], at=AT) == OWN
    names = svid.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "istiod.istio-system.svc"]
    row = made.office.store.inventory.get(f"{svid.leaf.serial_number:x}")
    assert (row.intent.entry, row.intent.caller, row.state(AT)) == (OWN_ENTRY, "authority", IssuedState.VALID)
    assert own.current is svid


def test_before_the_first_there_is_none(made: TestOffice) -> None:
    with pytest.raises(NotReadyError):
        _ = OwnSvid(made.office).current


def test_the_authority_may_have_nothing_by_entries(made: TestOffice) -> None:
    made.entry(WEB, "authority:self")
    assert made.office.entitlements.of(Caller(Attestor.AUTHORITY, "authority")) == ()


def test_it_is_renewed_at_half_of_its_life_and_when_another_signs(made: TestOffice) -> None:
    async def scene() -> None:
        own, stop = OwnSvid(made.office), asyncio.Event()
        running = asyncio.create_task(own.run(stop))

        async def changed(before: X509Svid | None) -> X509Svid:
            async with asyncio.timeout(10):
                while own._issued is None or own.current is before:
                    made.office.changes.tell()
                    await asyncio.sleep(0.01)
            return own.current

        first = await changed(None)
        made.clock.pass_by(timedelta(minutes=20))
        made.office.changes.tell()
        await asyncio.sleep(0.1)
        assert own.current is first
        made.clock.pass_by(timedelta(minutes=13, seconds=1))
        second = await changed(first)
        made.hurry(SlotKind.ROOT)
        made.clock.pass_by(made.office.settings.notice + timedelta(seconds=1))
        made.office.supervisor.advance()
        made.office.signing.refresh()
        third = await changed(second)
        assert third.chain[1] != second.chain[1]
        stop.set()
        await asyncio.wait_for(running, 5)

    asyncio.run(scene())


# TLS


class Shown(NamedTuple):
    """What a client and the server saw of a handshake."""

    leaf: bytes
    protocol: str | None
    client: bytes | None
    reused: bool
    session: ssl.SSLSession | None


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[tuple[tuple[str, int], list[bytes | None]]]:
    """A server that takes connections one by one, and sees what certificate clients show."""
    seen: list[bytes | None] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(plain, server_side=True) as connection:
                        seen.append(connection.getpeercert(binary_form=True))
                        connection.sendall(b"x")
                        connection.recv(1)
                except OSError:
                    seen.append(None)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname(), seen
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def client(bundle: Bundle, svid: X509Svid | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=bundle.to_pem().decode())
    context.set_alpn_protocols(["h2"])
    if svid is not None:
        load_svid(context, svid)
    return context


def handshake(
    address: tuple[str, int], context: ssl.SSLContext, seen: list[bytes | None], session: ssl.SSLSession | None = None
) -> Shown:
    count = len(seen)
    with (
        socket.create_connection(address, timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as connection,
    ):
        connection.recv(1)
        leaf = connection.getpeercert(binary_form=True)
        assert leaf is not None
        return Shown(
            leaf,
            connection.selected_alpn_protocol(),
            seen[count],
            bool(connection.session_reused),
            connection.session,
        )


class Turning:
    """Two authorities of one trust domain, each with an SVID for a server, and which of them is in use."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)
        self.authorities = [Authority.create(TD, at=self.at) for _ in range(2)]
        self.svids = [self.issue(each) for each in self.authorities]
        self.turn = 0

    def issue(self, authority: Authority, spiffe_id: SpiffeId = OWN) -> X509Svid:
        return authority.issue_with_new_key(spiffe_id, at=self.at, dns_names=("localhost",))

    def svid(self) -> X509Svid:
        return self.svids[self.turn]

    def bundle(self) -> Bundle:
        return self.authorities[self.turn].bundle


VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def der(svid: X509Svid) -> bytes:
    return svid.leaf.public_bytes(Encoding.DER)


@pytest.mark.parametrize("version", VERSIONS)
def test_new_svids_and_roots_are_taken_up_by_the_next_handshake(version: ssl.TLSVersion) -> None:
    turning = Turning()
    workloads = [turning.issue(each, WEB) for each in turning.authorities]
    with serving(ServerTls(turning.svid, turning.bundle).context) as (address, seen):
        for turning.turn in (0, 1, 0):
            context = client(turning.bundle(), workloads[turning.turn])
            context.minimum_version = context.maximum_version = version
            shown = handshake(address, context, seen)
            assert (shown.leaf, shown.protocol) == (der(turning.svid()), "h2")
            assert shown.client == der(workloads[turning.turn])


def test_clients_may_come_without_a_certificate_but_not_with_a_bad_one() -> None:
    turning = Turning()
    stranger = turning.issue(turning.authorities[1], WEB)
    with serving(ServerTls(turning.svid, turning.bundle).context) as (address, seen):
        assert handshake(address, client(turning.bundle()), seen).client is None
        with pytest.raises(OSError, match="unknown ca"):
            handshake(address, client(turning.bundle(), stranger), seen)


@pytest.mark.parametrize("version", VERSIONS)
def test_no_session_is_resumed(version: ssl.TLSVersion) -> None:
    turning = Turning()
    resuming = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_svid(resuming, turning.svid())
    # Without the first, the second would prove nothing.
    for server, resumed in ((resuming, True), (ServerTls(turning.svid, turning.bundle).context, False)):
        with serving(server) as (address, seen):
            context = client(turning.bundle())
            context.check_hostname = False
            context.minimum_version = context.maximum_version = version
            first = handshake(address, context, seen)
            assert handshake(address, context, seen, first.session).reused is resumed


def test_tls_below_1_2_is_refused() -> None:
    turning = Turning()
    assert ServerTls(turning.svid, turning.bundle).context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_bundle_without_roots_makes_no_context() -> None:
    turning = Turning()
    with pytest.raises(ValueError, match="has no root"):
        ServerTls(turning.svid, lambda: Bundle(TD, ()))
