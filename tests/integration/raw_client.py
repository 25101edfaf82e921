"""A gRPC client that does what grpc's own never would: half a call, and no more."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from envoy.service.auth.v3.external_auth_pb2 import CheckResponse
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from tests.integration.serving import CHECK, SECONDS

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEADER = 9
_HEADERS = [
    (":path", CHECK),
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "localhost"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


class RawClient:
    """One HTTP/2 connection to a server's socket, or its host and port. It is for few and small messages: it knows no flow control."""

    def __init__(self, address: Path | tuple[str, int]) -> None:
        self._socket = socket.socket(socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET)
        self._socket.settimeout(SECONDS)
        self._socket.connect(str(address) if isinstance(address, Path) else address)
        self._encoder = Encoder()
        self._rest: dict[int, bytes] = {}
        self._socket.sendall(_PREFACE)
        self._send(SettingsFrame(0))

    def begin(self, question: bytes, length: int) -> int:
        """Open a call with the first `length` bytes of its message, and say which stream it is."""
        stream = 2 * len(self._rest) + 1
        message = struct.pack(">BI", 0, len(question)) + question
        self._send(
            HeadersFrame(stream, data=self._encoder.encode(_HEADERS), flags=["END_HEADERS"]),
            DataFrame(stream, data=message[:length]),
        )
        self._rest[stream] = message[length:]
        return stream

    def reset(self, stream: int) -> None:
        self._send(RstStreamFrame(stream, error_code=8))

    def finish(self, stream: int) -> CheckResponse:
        """Send the rest of the message and return the answer."""
        self._send(DataFrame(stream, data=self._rest[stream], flags=["END_STREAM"]))
        answer = b""
        for frame in self._frames():
            if frame.stream_id == stream:
                if isinstance(frame, RstStreamFrame):
                    raise ConnectionResetError(f"{frame}")
                answer += frame.data if isinstance(frame, DataFrame) else b""
                if "END_STREAM" in frame.flags:
                    break
        return CheckResponse.FromString(answer[5:])

    def wait_for_goaway(self) -> None:
        """Until the server says that it takes no more calls."""
        next(frame for frame in self._frames() if isinstance(frame, GoAwayFrame))

    def _frames(self) -> Iterator[Frame]:
        while True:
            frame, length = Frame.parse_frame_header(memoryview(self._receive(_HEADER)))
            frame.parse_body(memoryview(self._receive(length)))
            if isinstance(frame, SettingsFrame | PingFrame) and "ACK" not in frame.flags:
                frame.flags.add("ACK")
                if isinstance(frame, SettingsFrame):
                    frame.settings.clear()
                # A server that has answered its last call may be gone, and its answer still to be read.
                with suppress(BrokenPipeError):
                    self._send(frame)
            yield frame

    def _receive(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = self._socket.recv(length - len(data))
            if not more:
                raise ConnectionResetError("the server hung up")
            data += more
        return data

    def _send(self, *frames: Frame) -> None:
        self._socket.sendall(b"".join(frame.serialize() for frame in frames))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
