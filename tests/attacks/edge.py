"""A real Envoy at the edge of a workload, once for each way to normalize paths, and clients that write what they like."""

import socket
import tempfile
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpack import Decoder, Encoder
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from authz.mesh_config import PathNormalization
from ca import Authority
from demo import sidecar, tls
from demo.envoy import Envoy
from demo.sidecar import InboundPort
from demo.upstream import HttpApplication
from demo.wire import Endpoint
from identity import SpiffeId, TrustDomain
from mesh.testing.sent import HttpVersion, Sent

__all__ = ["WORKLOAD", "Edge", "status_of", "written"]

WORKLOAD = "shop/api"
"""Where every request goes."""

_TRUST_DOMAIN = TrustDomain("cluster.local")
_SECONDS = 10.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME_HEADER = 9


class Edge:
    """Envoys' listeners before one application, with an authorizer on `authorizer`; `parts` ends it."""

    def __init__(self, authorizer: Path, parts: ExitStack) -> None:
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="meshward-")))
        self._authority = Authority.create(_TRUST_DOMAIN, at=datetime.now(UTC))
        self._directory = directory
        own = self._files("api")

        def listener(option: PathNormalization) -> sidecar.Json:
            port = InboundPort(
                name=option.value,
                tls=own,
                trust_domain=_TRUST_DOMAIN,
                cluster="application",
                access_log=Envoy.access_log(directory / "envoy"),
            )
            return _hurried(sidecar.inbound_http(port, workload=WORKLOAD, path_normalization=option))

        bootstrap = sidecar.bootstrap(
            WORKLOAD,
            listeners=list(map(listener, PathNormalization)),
            clusters=[
                sidecar.authorizer(authorizer),
                sidecar.application("application", parts.enter_context(HttpApplication()).endpoint),
            ],
        )
        self.envoy = parts.enter_context(Envoy("edge", bootstrap, directory / "envoy"))
        self._ports = {option: self.envoy.listener(option.value) for option in PathNormalization}

    def port(self, option: PathNormalization = PathNormalization.BASE) -> Endpoint:
        """The listener that normalizes paths so."""
        return self._ports[option]

    def client(self, account: str) -> tls.TlsFiles:
        """What a client needs to have the identity of this service account."""
        return self._files(account)

    def status(self, sent: Sent, option: PathNormalization = PathNormalization.BASE) -> int:
        """What a plaintext client is answered; 400 where Envoy only hangs up."""
        return status_of(self.port(option), sent)

    def _files(self, account: str) -> tls.TlsFiles:
        spiffe_id = SpiffeId.for_workload(_TRUST_DOMAIN, namespace="shop", service_account=account)
        svid = self._authority.issue_with_new_key(spiffe_id, at=datetime.now(UTC))
        return tls.save(svid, self._authority.bundle, self._directory / f"{account}-svid")


def _hurried(listener: Any) -> sidecar.Json:
    """`listener`, which hangs up at once on what it cannot read, and not a second later."""
    for chain in listener["filter_chains"]:
        chain["filters"][0]["typed_config"]["delayed_close_timeout"] = "0.02s"
    return dict(listener)


def status_of(endpoint: Endpoint, sent: Sent) -> int:
    """What Envoy answers to `sent`, byte for byte as it is written; 400 where it only hangs up."""
    with socket.create_connection(endpoint, timeout=_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(written(sent))
        with suppress(ConnectionError):
            return _status_1(connection) if sent.version is HttpVersion.HTTP_1 else _status_2(connection)
    return 400


def written(sent: Sent) -> bytes:
    """The bytes of a request on a connection of its own."""
    if sent.version is HttpVersion.HTTP_1:
        lines = [f"{sent.method} {sent.target} HTTP/1.1", *(f"Host: {host}" for host in sent.hosts)]
        lines += [f"{name}: {value}" for name, value in sent.headers]
        return _bytes("".join(f"{line}\r\n" for line in [*lines, ""]))
    pseudo = [(":method", sent.method), (":scheme", "http"), (":path", sent.target)]
    hosts = [
        (name, host) for name, host in zip((":authority", *("host" for _ in sent.hosts)), sent.hosts, strict=False)
    ]
    headers = [(_bytes(name), _bytes(value)) for name, value in (*pseudo, *hosts, *sent.headers)]
    return b"".join(
        [
            _PREFACE,
            SettingsFrame(0).serialize(),
            HeadersFrame(1, data=Encoder().encode(headers), flags=["END_HEADERS", "END_STREAM"]).serialize(),
        ]
    )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _status_1(connection: socket.socket) -> int:
    line = b""
    while b"\r\n" not in line:
        line += _received(connection, 1)
    return int(line.split(b" ")[1])


def _status_2(connection: socket.socket) -> int:
    decoder = Decoder()
    while True:
        frame, length = Frame.parse_frame_header(memoryview(_received(connection, _FRAME_HEADER)))
        frame.parse_body(memoryview(_received(connection, length)))
        if isinstance(frame, HeadersFrame):
            return int(dict(decoder.decode(frame.data, raw=True))[b":status"])
        if isinstance(frame, RstStreamFrame | GoAwayFrame):
            return 400


def _received(connection: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = connection.recv(length - len(data))
        if not more:
            raise ConnectionResetError("Envoy hung up")
        data += more
    return data
