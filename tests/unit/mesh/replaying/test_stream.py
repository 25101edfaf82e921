"""The bytes of a recording: any pieces, packed or not, and lines of any length; what is cut off has come until there."""

import gzip
import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.replaying import stream
from mesh.replaying.stream import OVERLONG, BrokenStreamError, Lines, Stream


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_PIECE", 7)
        patch.setattr(stream, "LONGEST", 20)
        yield


def lines_of(data: bytes) -> tuple[list[bytes], bool, str | None]:
    """The lines, whether the last one is open, and how the stream broke if it did."""
    lines = Lines(Stream(io.BytesIO(data)))
    found: list[bytes] = []
    try:
        for batch in lines:
            found += batch
    except BrokenStreamError as error:
        return found, lines.open, str(error)
    return found, lines.open, None


@given(
    st.lists(st.binary(max_size=15).map(lambda line: line.replace(b"\n", b".").replace(b"\x1f", b"."))), st.booleans()
)
def test_lines_are_those_that_were_written(written: list[bytes], ended: bool) -> None:  # noqa: FBT001
    data = b"\n".join(written) + (b"\n" if ended and written else b"")
    # An end without a line before it is an empty line; nothing at the end is none.
    expected = data.split(b"\n")
    is_open = expected[-1] != b""
    expected = expected if is_open else expected[:-1]
    assert lines_of(data) == (expected, is_open, None)
    assert lines_of(gzip.compress(data)) == (expected, is_open, None)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.booleans())
def test_what_is_too_long_for_a_record_is_one_line_that_is_none(lengths: list[int], packed: bool) -> None:  # noqa: FBT001
    data = b"".join(b"a" * length + b"\n" for length in lengths)
    found, is_open, broken = lines_of(gzip.compress(data) if packed else data)
    assert [line is OVERLONG for line in found] == [length > 20 for length in lengths]
    assert (is_open, broken) == (False, None)


def test_an_end_that_is_too_long_is_open() -> None:
    assert lines_of(b"a\n" + b"b" * 50) == ([b"a", OVERLONG], True, None)


@given(st.binary(max_size=80), st.data())
def test_gzip_that_ends_in_the_middle_gives_what_there_was(data: bytes, draw: st.DataObject) -> None:
    packed = gzip.compress(data.replace(b"\n", b".") + b"\nb\nc\n", mtime=0)
    cut = draw.draw(st.integers(3, len(packed) - 1))
    pieces: list[bytes] = []
    with pytest.raises(BrokenStreamError, match="the gzip data end in the middle"):
        pieces.extend(Stream(io.BytesIO(packed[:cut])).pieces())
    assert data.replace(b"\n", b".").startswith(b"".join(pieces)[: len(data)])
    assert all(pieces)


def test_damaged_gzip_is_noticed() -> None:
    packed = bytearray(gzip.compress(b"some lines\n" * 20))
    packed[-6] ^= 1  # the checksum
    found, _, broken = lines_of(bytes(packed))
    assert (found, broken) == ([b"some lines"] * 20, "the gzip data are damaged")
    found, _, broken = lines_of(gzip.compress(b"one\n") + b"rubbish")
    assert (found, broken) == ([b"one"], "the gzip data are damaged")


def test_members_follow_each_other_and_zeros_are_filled_in() -> None:
    packed = gzip.compress(b"one\ntw") + b"\0" * 30 + gzip.compress(b"o\n") + b"\0" * 99
    assert lines_of(packed) == ([b"one", b"two"], False, None)


def test_what_a_small_file_unpacks_to_is_not_held_at_once() -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = bomb.compress(b"\n" * 1_000_000) + bomb.flush()
    assert max(map(len, Stream(io.BytesIO(packed)).pieces())) <= 7


def test_the_beginning_may_be_looked_at_and_comes_again() -> None:
    beginning = Stream(io.BytesIO(b"0123456789"))
    assert (beginning.peek(), beginning.peek()) == (b"0123456",) * 2
    assert b"".join(beginning.pieces()) == b"0123456789"
    assert beginning.position == 10
    assert Stream(io.BytesIO(b"")).peek() == b""


def test_a_beginning_that_is_broken_breaks_when_it_is_read() -> None:
    broken = Stream(io.BytesIO(b"\x1f\x8bnonsense"))
    assert broken.peek() == b""
    with pytest.raises(BrokenStreamError):
        list(broken.pieces())
