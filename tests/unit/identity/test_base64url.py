"""Base64url as Envoy reads it."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from identity.base64url import _lenient, decode

ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@given(st.binary(max_size=64), st.booleans())
def test_it_inverts_encoding_with_padding_and_without(data: bytes, padded: bool) -> None:  # noqa: FBT001  # drawn
    encoded = urlsafe_b64encode(data).decode()
    assert decode(encoded if padded else encoded.rstrip("=")) == data


@given(st.text(max_size=40))
def test_it_is_total(text: str) -> None:
    try:
        decode(text)
    except ValueError:
        return


def decoded(by: Callable[[str], bytes], text: str) -> bytes | None:
    try:
        return by(text)
    except ValueError:
        return None


@given(st.text(alphabet="AQgZz09-_+/= \n\u00e9", max_size=9) | st.text(max_size=9))
@example("ab=")
@example("AAAAA===")
@example("A")
@example("AB")
@example("\ud800")
def test_what_is_read_quickly_is_read_as_ever(text: str) -> None:
    assert decoded(decode, text) == decoded(_lenient, text)


@pytest.mark.parametrize("code", range(256))
def test_its_alphabet_is_closed(code: int) -> None:
    text = f"AAA{chr(code)}"
    if chr(code) in ALPHABET:
        assert len(decode(text)) == 3
    elif chr(code) in " \t\n\v\f\r=":
        assert len(decode(text)) == 2
    else:
        with pytest.raises(ValueError, match="does not have"):
            decode(text)


def test_the_other_alphabet_is_none() -> None:
    with pytest.raises(ValueError, match="character"):
        decode(b64encode(b"\xfb\xef\xff").decode())


@pytest.mark.parametrize("text", ["A", "AAAAA", "AA=", "AAA==", "AAAA=", "AA===", "=", "====", "A=AA", "AA=A"])
def test_a_length_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="does not have"):
        decode(text)


def test_spare_bits_are_ignored() -> None:
    assert decode("AB") == decode("AA") == b"\0"
