"""The authority over HTTP with real TLS: renewal by certificate, and clients that are old, slow, many or not to be trusted."""

import asyncio
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ca.authority import Authority
from ca.csr import read_csr
from ca.front.tls import load_svid
from ca.inventory import RevocationReason
from ca.rest import Bounds
from identity import X509Svid, verify_x509_svid
from tests.integration.rest_serving import SECONDS, Served, served
from tests.unit.ca.offices import API, BY, TD, WEB, caller, csr
from tests.unit.ca.rest.asking import BY_ADMIN, OPAQUE, bearer, problem

IMPATIENT = Bounds(connections=3, request=1.0, idle=1, handshake=1.0)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("rest")) as running:
        yield running


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, bounds=IMPATIENT) as running:
        yield running


def svid_of(answer: httpx.Response, key: ec.EllipticCurvePrivateKey) -> X509Svid:
    assert answer.status_code == 200, answer.text
    chain = tuple(x509.load_pem_x509_certificate(pem.encode()) for pem in answer.json()["chain"])
    return X509Svid(WEB, chain, private_key=key)


def joined(running: Served) -> X509Svid:
    key = ec.generate_private_key(ec.SECP256R1())
    with running.client() as client:
        asked, headers = {"csr": csr(key).decode()}, bearer(running.token(WEB))
        return svid_of(client.post("/v1/x509-svid", json=asked, headers=headers), key)


# Mutual TLS


def test_a_workload_joins_by_a_token_and_renews_by_what_it_got(running: Served) -> None:
    first, key = joined(running), ec.generate_private_key(ec.SECP256R1())
    with running.client(first) as client:
        second = svid_of(client.post("/v1/x509-svid", json={"csr": csr(key).decode()}), key)
        # As often as it likes, on one connection, until it is revoked.
        serial = f"{first.leaf.serial_number:x}"
        now = running.made.clock()
        running.made.office.store.inventory.revoke(serial, RevocationReason.SUPERSEDED, by=BY, at=now).result()
        refused = client.post("/v1/x509-svid", json={"csr": csr().decode()})
        assert (refused.status_code, refused.json()) == (401, OPAQUE)
    assert verify_x509_svid(second.chain, [running.made.office.signing.now().bundle], at=running.made.clock()) == WEB
    with running.client(second) as client:
        both = client.post("/v1/x509-svid", json={"csr": csr().decode()}, headers=bearer("token"))
        assert problem(both) == (400, "several-credentials")


def test_curl_renews_too(running: Served, tmp_path: Path) -> None:
    svid = joined(running)
    shown, asked = tmp_path / "svid.pem", tmp_path / "asked.json"
    shown.write_bytes(svid.private_key_to_unencrypted_pem() + svid.chain_to_pem())
    asked.write_text(httpx.Request("POST", "https://x", json={"csr": csr().decode()}).content.decode())
    answer = subprocess.run(
        [
            *("curl", "-sS", "--fail-with-body", "--cacert", running.roots, "--cert", shown),
            *("-H", "Content-Type: application/json", "--data-binary", f"@{asked}"),
            f"https://localhost:{running.port}/v1/x509-svid",
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    assert str(WEB) in answer.stdout


def test_an_operators_certificate_manages_on_the_other_listener_only(running: Served) -> None:
    entry = running.made.entry(API, "unix:uid:0", admin=True)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = asyncio.run(_issued(running, key))
    with running.client(leaf, admin=True) as client:
        assert entry.id in client.get("/v1/entries").text
    with running.client(leaf) as client:
        assert problem(client.get("/v1/entries")) == (404, "not-found")
    with running.client(admin=True) as client:
        assert client.get("/v1/entries").json() == OPAQUE
        assert client.get("/v1/entries", headers=BY_ADMIN).status_code == 200
        own = [
            line for line in client.get("/metrics").text.splitlines() if line.startswith("meshward_ca_own_svid_expiry")
        ]
        assert float(own[0].split()[1]) > 0


async def _issued(running: Served, key: ec.EllipticCurvePrivateKey) -> X509Svid:
    office = running.made.office
    requested = read_csr(csr(key))
    issued = await office.issuance.x509_svid(caller("unix:uid:0"), requested, at=office.clock(), spiffe_id=API)
    return X509Svid(API, issued.svid.chain, private_key=key)


def test_a_certificate_of_another_authority_is_no_client(running: Served) -> None:
    foreign = Authority.create(TD, at=running.made.clock()).issue_with_new_key(WEB, at=running.made.clock())
    with running.client(foreign) as client, pytest.raises(httpx.TransportError):
        client.get("/v1/bundle")


# TLS


def openssl(running: Served, *options: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *("openssl", "s_client", "-connect", f"localhost:{running.port}", "-servername", "localhost"),
            *("-CAfile", running.roots, "-verify_return_error", *options),
        ],
        input="GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_tls_of_today_is_spoken(running: Served, version: str) -> None:
    spoken = openssl(running, version, "-ign_eof")
    assert "Verify return code: 0 (ok)" in spoken.stdout
    assert '{"status":"ok"}' in spoken.stdout


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_tls_of_yesterday_is_not(running: Served, version: str) -> None:
    spoken = openssl(running, version, "-cipher", "DEFAULT@SECLEVEL=0", "-ign_eof")
    assert spoken.returncode != 0
    assert "Cipher is (NONE)" in spoken.stdout


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_no_session_is_resumed(running: Served, version: str) -> None:
    # Six handshakes, each of which offers the session of the one before.
    again = openssl(running, version, "-reconnect", "-ign_eof")
    assert again.stdout.count("New, TLS") == 6
    assert "Reused" not in again.stdout


def test_http_2_is_not_agreed_on_where_it_is_not_spoken(running: Served) -> None:
    assert "ALPN protocol: http/1.1" in openssl(running, "-alpn", "h2,http/1.1", "-ign_eof").stdout


# Clients that are slow, or many, on purpose


def connected(running: Served) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(running.roots))
    raw = socket.create_connection(("127.0.0.1", running.port), timeout=SECONDS)
    return context.wrap_socket(raw, server_hostname="localhost")


def read_until_closed(connection: socket.socket) -> bytes:
    read = b""
    try:
        while block := connection.recv(65536):
            read += block
    except (ConnectionError, ssl.SSLError):
        pass
    return read


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /healthz HTT",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: ",
        b"POST /v1/jwt-svid HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ],
    ids=["nothing", "half a line", "half a header", "half a body"],
)
def test_who_does_not_finish_a_request_is_hung_up_on(impatient: Served, begun: bytes) -> None:
    with connected(impatient) as connection:
        connection.sendall(begun)
        started = time.monotonic()
        assert read_until_closed(connection) == b""
        assert time.monotonic() - started < SECONDS / 2


def test_who_trickles_a_second_request_is_hung_up_on(impatient: Served) -> None:
    with connected(impatient) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
        try:
            while time.monotonic() - started < SECONDS:
                connection.sendall(b"A")
                time.sleep(0.2)
        except (ConnectionError, ssl.SSLError):
            pass
        assert time.monotonic() - started < SECONDS / 2


def test_who_does_not_finish_the_handshake_is_hung_up_on(impatient: Served) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=SECONDS) as connection:
        started = time.monotonic()
        assert read_until_closed(connection) == b""
        assert time.monotonic() - started < SECONDS / 2


def test_one_connection_too_many_is_dropped_and_the_others_are_not(impatient: Served) -> None:
    held = [connected(impatient) for _ in range(IMPATIENT.connections)]
    try:
        with connected(impatient) as one_more:
            assert read_until_closed(one_more) == b""
        held[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert held[0].recv(65536).startswith(b"HTTP/1.1 200")
    finally:
        for each in held:
            each.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 hello\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000 + b"\r\n\r\n",
        b"POST /v1/jwt-svid HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/jwt-svid HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["noise", "no host", "a long header", "two lengths", "a length below none"],
)
def test_what_is_no_http_is_a_problem_and_the_end(running: Served, sent: bytes) -> None:
    with connected(running) as connection:
        connection.sendall(sent)
        answer = read_until_closed(connection)
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
        assert b"application/problem+json" in answer


def test_a_body_that_is_too_long_is_refused_before_it_has_come(running: Served) -> None:
    with connected(running) as connection:
        connection.sendall(
            b"POST /v1/jwt-svid HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
        )
        answer = read_until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"body-too-long"' in answer


# Many at the same time


def test_of_a_hundred_who_show_one_token_at_the_same_time_one_gets_in(running: Served) -> None:
    text, context = running.token(WEB), ssl.create_default_context(cafile=str(running.roots))

    async def race() -> list[int]:
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(verify=context, limits=limits, timeout=SECONDS) as client:
            url = f"https://localhost:{running.port}/v1/x509-svid"
            asked = [client.post(url, json={"csr": csr().decode()}, headers=bearer(text)) for _ in range(100)]
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    statuses = asyncio.run(race())
    assert (statuses.count(200), statuses.count(401)) == (1, 99)


def test_of_many_who_repeat_a_renewal_at_the_same_time_all_get_one_certificate(running: Served) -> None:
    context, pem = ssl.create_default_context(cafile=str(running.roots)), csr().decode()
    load_svid(context, joined(running))

    async def race() -> set[str]:
        async with httpx.AsyncClient(
            verify=context, limits=httpx.Limits(max_connections=10), timeout=SECONDS
        ) as client:
            url, headers = f"https://localhost:{running.port}/v1/x509-svid", {"Idempotency-Key": "again"}
            asked = [client.post(url, json={"csr": pem}, headers=headers) for _ in range(40)]
            return {answer.json()["serial"] for answer in await asyncio.gather(*asked)}

    assert len(asyncio.run(race())) == 1


# OpenSSL and revocation


def test_openssl_reads_a_list_and_refuses_by_it(running: Served, tmp_path: Path) -> None:
    good, bad = joined(running).leaf, joined(running).leaf
    office, now = running.made.office, running.made.clock()
    office.store.inventory.revoke(f"{bad.serial_number:x}", RevocationReason.KEY_COMPROMISE, by=BY, at=now).result()
    with running.client() as client:
        pem = client.get("/v1/crl", headers={"Accept": "application/x-pem-file"})
    assert pem.headers["content-type"] == "application/x-pem-file"
    authority = office.signing.now().require_authority(now)
    root, intermediate, crl = tmp_path / "root.pem", tmp_path / "intermediate.pem", tmp_path / "crl.pem"
    root.write_bytes(authority.root.public_bytes(Encoding.PEM))
    intermediate.write_bytes(authority.intermediate.certificate.public_bytes(Encoding.PEM))
    crl.write_bytes(pem.content)
    read = subprocess.run(
        [*("openssl", "crl", "-in"), crl, *("-noout", "-text", "-CAfile"), intermediate],
        capture_output=True,
        check=True,
        text=True,
    )
    assert "verify OK" in read.stderr
    assert f"{bad.serial_number:X}" in read.stdout.replace(":", "")
    for leaf, expected in ((good, ": OK"), (bad, "certificate revoked")):
        shown = tmp_path / "leaf.pem"
        shown.write_bytes(leaf.public_bytes(Encoding.PEM))
        verified = subprocess.run(
            [
                *("openssl", "verify", "-x509_strict", "-crl_check"),
                *("-CAfile", root, "-untrusted", intermediate, "-CRLfile", crl, shown),
            ],
            capture_output=True,
            check=False,
            text=True,
        )
        assert expected in verified.stdout + verified.stderr


def test_the_end_of_a_server_is_the_end_of_its_port_and_of_idle_connections(tmp_path: Path) -> None:
    with served(tmp_path) as running:
        idle = connected(running)
    assert read_until_closed(idle) == b""
    idle.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.port), timeout=SECONDS)
