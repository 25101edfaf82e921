"""Tokens as they come."""

import json
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authn.errors import InvalidTokenError
from authn.status import MAX_TOKEN, JwtStatus
from authn.token import UnverifiedToken, _plain_object
from identity.strict_json import parse_object
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


NUMBERS = st.integers() | st.floats() | st.sampled_from([10**15 - 1, 10**15, 2**53, 2**63, 2**64, -0.0, 1e22, 1e400])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def read_by(parse: Callable[[bytes], object], text: bytes) -> object:
    try:
        return repr(parse(text))
    except ValueError:
        return ValueError


@given(
    st.builds(
        partial(json.dumps, separators=(",", ":")), st.dictionaries(st.text(), JSON), ensure_ascii=st.booleans()
    ).map(str.encode)
    | st.binary()
    | st.text().map(str.encode)
)
@example(b'{"a":1,"a":1}')
@example(b'{"a":{"b":1,"b":2}}')
@example(b'{"a":1.0}')
@example(b'{"a":[1,1.0]}')
@example(b'{"a":10000000000000000}')
@example(b'{"a":-9007199254740993}')
@example(b'{"a":1e2}')
@example(b'{"a":1e+16}')
@example(b'{"a":0.1}')
@example(b'{"a":-0}')
@example(b'{"a":-0.0}')
@example(b'{"a":"\\ud800"}')
@example(b'{"a":"\\u00e9"}')
@example(b'{"a":NaN}')
@example(b'\xef\xbb\xbf{"a":1}')
@example(b'{"a":' + b"[" * 99 + b"]" * 99 + b"}")
@example(b'{"a":' + b"[" * 100 + b"]" * 100 + b"}")
@example(b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}")
@example(b"{}")
@example(b"[]")
def test_json_that_is_read_quickly_is_read_as_ever(text: bytes) -> None:
    quick = _plain_object(text)
    if quick is not None:
        assert repr(quick) == read_by(parse_object, text)


def test_the_claims_of_most_tokens_are_read_quickly() -> None:
    assert _plain_object(b'{"iss":"https://idp.example","exp":1700000000,"groups":["a","\xc3\xa9"],"v":"1.5"}')
