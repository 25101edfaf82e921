"""Tokens as they come."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authn.errors import InvalidTokenError
from authn.status import MAX_TOKEN, JwtStatus
from authn.token import UnverifiedToken
from tests.unit.authn.tokens import base64url, private_key, token

PART = st.text(alphabet="AaZz09-_=.~ \t{}", max_size=12) | st.binary(max_size=30).map(base64url)
HEADERS = st.sampled_from([b'{"alg":"RS256"}', b'{"alg":"none"}', b'{"alg":["RS256"]}', b"[]", b"{", b"\xff"])
PAYLOADS = st.sampled_from([b"{}", b'{"exp":1e308}', b'{"aud":[[]]}', b'{"iss":{}}', b'{"nbf":-0}', b"null", b"{" * 99])


@given(st.text(max_size=80) | st.builds(lambda *parts: ".".join(parts), PART, PART, PART))
@example("\ud800.a.b")
@example("..")
@example("e30.e30.e30")
def test_parsing_is_total(text: str) -> None:
    try:
        UnverifiedToken.parse(text)
    except InvalidTokenError:
        return


@given(HEADERS, PAYLOADS, st.binary(max_size=8))
def test_parsing_is_total_behind_the_encoding(header: bytes, payload: bytes, signature: bytes) -> None:
    try:
        read = UnverifiedToken.parse(".".join(map(base64url, (header, payload, signature or b"s"))))
    except InvalidTokenError:
        return
    assert read.algorithm == "RS256"


def test_what_a_token_says_is_read() -> None:
    parts = token(
        private_key("RSA", "a"),
        {"iss": "i", "sub": "s", "aud": ["a", "b"], "exp": 9.9, "nbf": 7, "iat": 1, "jti": "j"},
        kid="k",
    )
    read = UnverifiedToken.parse(str(parts))
    assert (read.algorithm, read.key_id, read.issuer, read.audiences) == ("RS256", "k", "i", ("a", "b"))
    assert (read.not_before, read.expires) == (7, 9)
    assert read.payload == parts.payload
    assert read.signed.decode() == f"{parts.header}.{parts.payload}"
    assert len(read.signature) == 256


def test_a_token_as_long_as_allowed_is_read_and_a_longer_one_is_not_even_decoded() -> None:
    short = str(token(private_key("RSA", "a"), {"iss": "i"}))
    head, payload, signature = short.split(".")
    room = MAX_TOKEN - len(f"{head}..{signature}")
    payload = base64url(b'{"a":"' + b"x" * (room * 3 // 4 - 10) + b'"}')
    fits = f"{head}.{payload}.{signature}"
    UnverifiedToken.parse(fits)
    with pytest.raises(InvalidTokenError) as caught:
        UnverifiedToken.parse("~" * (MAX_TOKEN + 1))
    assert caught.value.status is JwtStatus.TOO_LONG
    with pytest.raises(InvalidTokenError) as caught:
        UnverifiedToken.parse("~" * MAX_TOKEN)
    assert caught.value.status is JwtStatus.BAD_FORMAT
