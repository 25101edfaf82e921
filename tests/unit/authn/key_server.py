"""A real HTTP server that gives out keys, well or badly, and a time that passes when a test says so."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from authn.egress import Egress

LOOPBACK = Egress((ip_network("127.0.0.0/8"),))
"""For tests: they have no other network."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered: `body` as one piece, or what `pieces` gives, each sent when the one before it has gone."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: Callable[[], Iterator[bytes]] | None = None

    @classmethod
    def text(cls, text: str, **headers: str) -> "Reply":
        """A document that is all well."""
        return cls(text.encode(), headers={name.replace("_", "-").title(): value for name, value in headers.items()})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came in."""

    path: str
    headers: Mapping[str, str]


class KeyServer:
    """What it answers by path; a path that it does not know is not found."""

    def __init__(self, port: int, scheme: str) -> None:
        self.port = port
        self.scheme = scheme
        self.replies: dict[str, Reply] = {}
        self.asked: list[Asked] = []
        self.sent = 0
        self.held = threading.Event()
        self.held.set()

    def url(self, path: str, *, host: str = "127.0.0.1") -> str:
        """Where it can be asked."""
        return f"{self.scheme}://{host}:{self.port}{path}"


def _handler(server: KeyServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.asked.append(Asked(self.path, {name.lower(): value for name, value in self.headers.items()}))
            server.held.wait()
            reply = server.replies.get(self.path, Reply(status=404))
            try:
                self._send(reply)
            except OSError:
                self.close_connection = True  # whoever asked has heard enough

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            headers = {"Content-Length": str(len(reply.body))} if reply.pieces is None else {"Connection": "close"}
            for name, value in {**headers, **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            for piece in (reply.body,) if reply.pieces is None else reply.pieces():
                self.wfile.write(piece)
                server.sent += len(piece)

        def log_message(self, *args: Any) -> None:
            del args

    return Handler


@contextmanager
def key_server(tls: ssl.SSLContext | None = None) -> Iterator[KeyServer]:
    """A server on a port of 127.0.0.1."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    http.daemon_threads = True
    http.block_on_close = False
    # Whoever distrusts the certificate hangs up, which is nobody's error here.
    http.handle_error = lambda *_: None  # type: ignore[method-assign]  # a test must not write to standard error
    server = KeyServer(http.server_address[1], "https" if tls else "http")
    http.RequestHandlerClass = _handler(server)
    if tls is not None:
        http.socket = tls.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.held.set()
        http.shutdown()
        thread.join()
        http.server_close()


class Passing:
    """A time that stands still until it is moved on. `pauses` are those that somebody has asked for, in order."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []
        self._sleeping: list[tuple[float, asyncio.Future[None]]] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        future = asyncio.get_running_loop().create_future()
        self._sleeping.append((self.now + seconds, future))
        await future

    async def pass_by(self, seconds: float) -> None:
        """Move on, and wake whom it is time for."""
        self.now += seconds
        for when, future in self._sleeping:
            if when <= self.now and not future.done():
                future.set_result(None)
        await asyncio.sleep(0)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what happens elsewhere."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  # it happens in threads
            await asyncio.sleep(0.002)


def certificates(directory: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server of that DNS name shows, and trust in whoever certified it."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate("authority", authority_key, "authority", authority_key, authority=True)
    certificate = _certificate(name, key, "authority", authority_key, authority=False)
    chain, secret = directory / f"{name}.pem", directory / f"{name}.key"
    chain.write_bytes(certificate.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain, secret)
    trust = ssl.create_default_context(cadata=authority.public_bytes(Encoding.PEM).decode())
    return server, trust


def _certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, *, authority: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
    return builder.sign(signer, hashes.SHA256())
