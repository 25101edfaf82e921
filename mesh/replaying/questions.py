"""CheckRequests, as they were asked: on JSON lines, or each behind its length as protobuf writes several in one file.

What a question says is read by whoever knows Envoy's messages, a layer above this one.
"""

from collections.abc import Iterator
from typing import Protocol

from mesh.replaying.reading import NoRecordError, Reading
from mesh.replaying.record import Record
from mesh.replaying.stream import LONGEST, BrokenStreamError, Stream

__all__ = ["QuestionReader", "read_question_lines", "read_questions"]

_LONGEST_LENGTH = 5
"""Bytes of the largest number that a length may be."""


class QuestionReader(Protocol):
    """Reads one CheckRequest."""

    def from_bytes(self, question: bytes) -> Record:
        """The record of a question in protobuf.

        Raises:
            NoRecordError: It is none.
        """
        ...

    def from_json(self, line: bytes) -> Record:
        """The record of a question in JSON.

        Raises:
            NoRecordError: It is none.
        """
        ...


def read_question_lines(stream: Stream, reading: Reading, reader: QuestionReader) -> Iterator[Record]:
    """The records of questions on JSON lines."""
    for lines in reading.batches(stream):
        for line in lines:
            reading.line += 1
            if not line or line.isspace() or reading.decoded(line) is None:
                continue
            try:
                yield reader.from_json(line)
            except NoRecordError as error:
                reading.skip(error)


def read_questions(stream: Stream, reading: Reading, reader: QuestionReader) -> Iterator[Record]:
    """The records of questions each behind its length. A length that is none ends it: nobody knows where the next begins."""
    frames = _Frames(stream)
    try:
        for question in frames:
            reading.line += 1
            try:
                yield reader.from_bytes(question)
            except NoRecordError as error:
                reading.skip(error)
    except BrokenStreamError as error:
        reading.cut_off(f"{error}, at byte {frames.at} of the data, after record {reading.line}")


class _Frames:
    """The messages of a stream; `at` is where the next begins."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.at = 0

    def __iter__(self) -> Iterator[bytes]:
        held = b""
        for piece in self._stream.pieces():
            held += piece
            position = 0
            while (framed := _frame(held, position)) is not None:
                start, end = framed
                yield held[start:end]
                self.at += end - position
                position = end
            held = held[position:]
        if held:
            raise BrokenStreamError("the file ends in the middle of a record")


def _frame(held: bytes, position: int) -> tuple[int, int] | None:
    """Where the next message begins and ends; none where it is not there as a whole.

    Raises:
        BrokenStreamError: There is no length.
    """
    length = 0
    for count, byte in enumerate(held[position : position + _LONGEST_LENGTH]):
        length |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            if length > LONGEST:
                break
            start = position + count + 1
            return (start, start + length) if start + length <= len(held) else None
    else:
        if len(held) - position < _LONGEST_LENGTH:
            return None
    raise BrokenStreamError("here is no length of a record")
