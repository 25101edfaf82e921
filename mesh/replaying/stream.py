"""Streams: the bytes of a recording piece by piece, inflated where they are gzip, and its lines."""

import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

__all__ = ["LONGEST", "OVERLONG", "BrokenStreamError", "Lines", "Piece", "Pieces", "Stream", "whole_lines"]

LONGEST = 4 * 1024 * 1024
"""Bytes of one record. Envoy's largest request is far smaller; what is larger is read over and not kept."""

OVERLONG = b"\xff"
"""Stands for a line that is longer than that. It is no record in any format."""

_PIECE = 256 * 1024
_GZIP = b"\x1f\x8b"
_AUTOMATIC = 16 + zlib.MAX_WBITS


class BrokenStreamError(Exception):
    """The bytes end in the middle, or are damaged from here on; `str()` says how."""


class Pieces(Protocol):
    """Bytes that come piece by piece, once."""

    def pieces(self) -> Iterator[bytes]:
        """All that was not read yet.

        Raises:
            BrokenStreamError: They end too early. All pieces before that were good.
        """
        ...


class Stream:
    """The bytes of `file`, never more of them than a piece. It is read once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.position = 0
        """How many bytes of the file have been read."""
        self._pieces = self._read()
        self._pushed: bytes | None = None

    def pieces(self) -> Iterator[bytes]:
        """All that was not read yet, none of the pieces empty.

        Raises:
            BrokenStreamError: The file is gzip, and damaged or cut off. All pieces before that were good.
        """
        if self._pushed is not None:
            pushed, self._pushed = self._pushed, None
            yield pushed
        yield from self._pieces

    def peek(self) -> bytes:
        """The first piece, which is read again afterwards; empty where there is nothing, or nothing good."""
        if self._pushed is None:
            try:
                self._pushed = next(self._pieces, b"")
            except BrokenStreamError as error:
                self._pushed, self._pieces = b"", _broken(error)
        return self._pushed

    def _read(self) -> Iterator[bytes]:
        first = self._next()
        if first[:2] == _GZIP:
            yield from self._inflated(first)
            return
        while first:
            yield first
            first = self._next()

    def _next(self) -> bytes:
        piece = self._file.read(_PIECE)
        self.position += len(piece)
        return piece

    def _inflated(self, piece: bytes) -> Iterator[bytes]:
        """What gzip members hold, one after the other: logs that are rotated are often put together so."""
        inflating = zlib.decompressobj(_AUTOMATIC)
        while True:
            try:
                # Bounded: a small file may hold any amount of the same byte.
                found = inflating.decompress(piece, _PIECE)
            except zlib.error as error:
                raise BrokenStreamError("the gzip data are damaged") from error
            if found:
                yield found
            if inflating.eof:
                # Whoever writes to tapes and pages fills them up with zeros.
                piece = inflating.unused_data.lstrip(b"\0")
                while not piece and (read := self._next()):
                    piece = read.lstrip(b"\0")
                if not piece:
                    return
                inflating = zlib.decompressobj(_AUTOMATIC)
            elif not (piece := inflating.unconsumed_tail or self._next()):
                raise BrokenStreamError("the gzip data end in the middle")


def _broken(error: BrokenStreamError) -> Iterator[bytes]:
    raise error
    yield b""


class Lines:
    """The lines of a stream, without their ends, many at a time."""

    def __init__(self, stream: Pieces) -> None:
        self._stream = stream
        self.open = False
        """Whether the lines that came last are one that has no end: it may be whole, or cut off."""

    def __iter__(self) -> Iterator[list[bytes]]:
        """All lines in order.

        Raises:
            BrokenStreamError: As the stream; the lines before that, and what there is of the next, have come.
        """
        rest, overlong = b"", False
        broken: BrokenStreamError | None = None
        pieces = self._stream.pieces()
        while True:
            try:
                piece = next(pieces, b"")
            except BrokenStreamError as error:
                piece, broken = b"", error
            if not piece:
                break
            found = piece.split(b"\n")
            found[0] = rest + found[0]
            if overlong and len(found) > 1:
                found[0], overlong = OVERLONG, False
            rest = found.pop()
            if len(rest) > LONGEST or overlong:
                rest, overlong = b"", True
            if found:
                yield [OVERLONG if len(line) > LONGEST else line for line in found]
        if rest or overlong:
            self.open = True
            yield [OVERLONG if overlong else rest]
        if broken is not None:
            raise broken


class Piece(NamedTuple):
    """Whole lines of a stream, to be read apart from all others. `before` is how many lines stand before them.

    `broken` says of the last piece how the stream broke off, if it did.
    """

    before: int
    data: bytes
    broken: str | None = None

    def pieces(self) -> Iterator[bytes]:
        """The bytes.

        Raises:
            BrokenStreamError: The stream broke off here.
        """
        if self.data:
            yield self.data
        if self.broken is not None:
            raise BrokenStreamError(self.broken)


def whole_lines(stream: Pieces) -> Iterator[Piece]:
    """All of a stream, cut between lines. Of a line that is longer than a record can be there is enough to tell that it is."""
    before, rest, pieces = 0, b"", stream.pieces()
    broken = None
    while True:
        try:
            found = next(pieces, b"")
        except BrokenStreamError as error:
            found, broken = b"", str(error)
        if not found:
            break
        end = found.rfind(b"\n") + 1
        if not end:
            rest = (rest + found)[: LONGEST + 1]
            continue
        data = (rest + found[:end]) if rest else found[:end]
        rest = found[end:]
        yield Piece(before, data)
        before += data.count(b"\n")
    if rest or broken is not None:
        yield Piece(before, rest, broken)
