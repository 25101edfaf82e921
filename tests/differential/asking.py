"""Asking: the callers of both sides, byte for byte as a question says, on connections that are kept."""

import asyncio
import base64
import ipaddress
import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value
from hpack import Decoder, Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from demo.wire import Endpoint
from tests.differential.bootstrap import CASE, CASE_TLV, FIRST_PORT, SLOT, metadata_header, metadata_tlv
from tests.differential.cases import Connection, Http, HttpVersion, Tcp
from tests.differential.certificates import Certificates

__all__ = ["NOT_CONNECTED", "Answer", "Client", "connect_and_talk"]

_SECONDS = 30.0
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME_HEADER = 9
# What the answer says of the decision; the rest is the time of day and how it was sent.
_TELLING = ("content-type", "grpc-status", "grpc-message", "www-authenticate", "x-seen")
# Long enough for the listener to see that it is no TLS.
_GREETING = b"hello, is it you?"


class Answer(NamedTuple):
    """What the caller got: no status where the connection broke, or is not HTTP and was closed."""

    status: int | None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


_BROKEN = Answer(None)

NOT_CONNECTED = Answer(None, (("connection", "refused"),))
"""What comes of a connection that is not taken: Envoy has no log of it."""


class Client:
    """One connection to a listener, kept for as many requests as it takes and opened again where it was closed."""

    def __init__(
        self, endpoint: Endpoint, connection: Connection, version: HttpVersion, certificates: Certificates
    ) -> None:
        self._endpoint = endpoint
        self._connection = connection
        self._version = version
        self._certificates = certificates
        self._open: _Http1 | _Http2 | None = None

    async def ask(self, question: Http, *, slot: int, case: str) -> Answer:
        """Send the request, for the case of that number, and wait for the answer."""
        headers = [
            *question.headers,
            (SLOT, str(slot)),
            (CASE, case),
            *((metadata_header(channel), _encoded(value)) for channel, value in question.metadata.items()),
        ]
        if self._open is None:
            try:
                streams = await _connect(self._endpoint, self._connection, self._certificates, FIRST_PORT + slot)
            except OSError:
                return NOT_CONNECTED
            self._open = _Http1(*streams) if self._version is HttpVersion.HTTP_1 else _Http2(*streams)
        try:
            async with asyncio.timeout(_SECONDS):
                answer = await self._open.ask(question, headers)
        except (OSError, EOFError, _ProtocolError):
            answer = _BROKEN
        if answer is _BROKEN or self._open.ended:
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        if self._open is not None:
            self._open.writer.transport.abort()
            self._open = None


async def connect_and_talk(
    endpoint: Endpoint, question: Tcp, certificates: Certificates, *, slot: int, case: str
) -> Answer:
    """Open a connection, say something, and wait for an answer or for the end."""
    tlvs = [(CASE_TLV, case), *((metadata_tlv(channel), text) for channel, text in question.metadata.items())]
    try:
        reader, writer = await _connect(endpoint, question.connection, certificates, FIRST_PORT + slot, tlvs)
    except OSError:
        return NOT_CONNECTED
    try:
        async with asyncio.timeout(_SECONDS):
            writer.write(_GREETING)
            await writer.drain()
            return Answer(None, body=await reader.read(len(_GREETING)))
    except OSError:
        return _BROKEN
    finally:
        await _close(writer)


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _connect(
    endpoint: Endpoint,
    connection: Connection,
    certificates: Certificates,
    source_port: int,
    tlvs: Iterable[tuple[int, str]] = (),
) -> Streams:
    host = "::1" if ":" in connection.peer else "127.0.0.1"
    reader, writer = await asyncio.open_connection(host, endpoint.port, local_addr=(connection.peer, 0))
    writer.write(_proxy_header(connection, source_port, tlvs))
    if connection.caller is not None:
        context = certificates.context(connection.caller)
        await writer.start_tls(context, server_hostname=connection.sni)
    return reader, writer


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def _proxy_header(connection: Connection, source_port: int, tlvs: Iterable[tuple[int, str]]) -> bytes:
    source = ipaddress.ip_address(connection.source or connection.peer)
    destination = ipaddress.ip_address(connection.destination)
    addresses = source.packed + destination.packed + struct.pack(">HH", source_port, connection.port)
    values = [(kind, text.encode()) for kind, text in tlvs]
    rest = addresses + b"".join(struct.pack(">BH", kind, len(value)) + value for kind, value in values)
    family = 0x11 if source.version == 4 else 0x21
    return _SIGNATURE + struct.pack(">BBH", 0x21, family, len(rest)) + rest


def _encoded(value: object) -> str:
    return base64.b64encode(json_format.ParseDict(value, Value()).SerializeToString()).decode()  # type: ignore[arg-type]  # any JSON is a Value


class _ProtocolError(Exception):
    """The answer is none, or one that these clients do not read."""


class _Http1:
    """HTTP/1.1, one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.ended = False

    async def ask(self, question: Http, headers: Iterable[tuple[str, str]]) -> Answer:
        lines = [f"{question.method} {question.target} HTTP/1.1", f"host: {question.host}"]
        lines += [f"{name}: {value}" for name, value in headers]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        status, answered = _parse_head(await self._reader.readuntil(b"\r\n\r\n"))
        self.ended = answered.get("connection") == "close"
        length = 0 if question.method == "HEAD" else int(answered.get("content-length", "0"))
        if "transfer-encoding" in answered:
            raise _ProtocolError("a chunked answer")
        return _answer(status, answered, await self._reader.readexactly(length))


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(first.split(" ")[1]), headers


def _answer(status: int, headers: dict[str, str], body: bytes) -> Answer:
    return Answer(status, tuple((name, headers[name]) for name in _TELLING if name in headers), body)


class _Http2:
    """HTTP/2, one stream after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.ended = False
        self._stream = -1
        self._encoder, self._decoder = Encoder(), Decoder()

    async def ask(self, question: Http, headers: Iterable[tuple[str, str]]) -> Answer:
        if self._stream < 0:
            self.writer.write(_PREFACE + SettingsFrame(0).serialize())
        self._stream += 2
        scheme = "http" if question.connection.caller is None else "https"
        pseudo = [
            (":method", question.method),
            (":scheme", scheme),
            (":authority", question.host),
            (":path", question.target),
        ]
        lines = [*pseudo, *((name.lower(), value) for name, value in headers)]
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines]
        block = self._encoder.encode(pairs, huffman=False)
        self.writer.write(HeadersFrame(self._stream, data=block, flags=["END_HEADERS", "END_STREAM"]).serialize())
        return await self._answer()

    async def _answer(self) -> Answer:
        answered, body = dict[str, str](), b""
        while True:
            frame = await self._frame()
            if isinstance(frame, GoAwayFrame):
                raise _ProtocolError("sent away")
            if frame.stream_id != self._stream:
                continue
            if isinstance(frame, RstStreamFrame):
                raise _ProtocolError("reset")
            if isinstance(frame, HeadersFrame):
                for name, value in self._decoder.decode(frame.data, raw=True):
                    answered[name.decode()] = value.decode("latin-1")
            if isinstance(frame, DataFrame):
                body += frame.data
            if "END_STREAM" in frame.flags:
                return _answer(int(answered[":status"]), answered, body)

    async def _frame(self) -> Frame:
        frame, length = Frame.parse_frame_header(memoryview(await self._reader.readexactly(_FRAME_HEADER)))
        frame.parse_body(memoryview(await self._reader.readexactly(length)))
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.writer.write(SettingsFrame(0, flags=["ACK"]).serialize())
        return frame
