"""JSON from strangers."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.strict_json import MAX_DEPTH, parse_object

SCALARS = st.none() | st.booleans() | st.integers(-(2**52), 2**52) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), st.booleans())
def test_it_inverts_writing(value: dict[str, object], ascii_only: bool) -> None:  # noqa: FBT001  # drawn
    assert parse_object(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0dD8c1e+-. tnN', max_size=60).map(str.encode))
def test_it_is_total(text: bytes) -> None:
    try:
        parse_object(text)
    except ValueError:
        return


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b'{"a": 1, "a": 1}',
        b'{"a": {"b": 1, "\\u0062": 2}}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": -' + b"9" * 400 + b"}",
        b'{"a": 01}',
        b'{"a": +1}',
        b'{"a": .5}',
        b'{"a": 1.}',
        b'{"a": 0x1}',
        b"{'a': 1}",
        b"{a: 1}",
        b'{"a": 1,}',
        b'{"a": 1} x',
        b'{"a": 1}\0',
        b'{"a": "\t"}',
        b'{"a": "\\x"}',
        b'{"a": "\\ud800"}',
        b'{"a": ["\\udc00\\ud800"]}',
        b'{"\\udfff": 1}',
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"a": "\xc0\xaf"}',
        b'\xef\xbb\xbf{"a": 1}',
        b'{"a": 1 /* b */}',
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-32-le"),
    ],
)
def test_what_somebody_else_may_read_differently_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_object(text)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_it_nests_as_deep_as_envoy_allows_and_no_deeper(opening: str, closing: str) -> None:
    def nested(depth: int) -> bytes:
        inside = depth - 1
        return f'{{"a": {opening * inside}1{closing * inside}}}'.encode()

    assert parse_object(nested(MAX_DEPTH))
    with pytest.raises(ValueError, match="nested deeper than 100"):
        parse_object(nested(MAX_DEPTH + 1))


def test_brackets_in_strings_are_text() -> None:
    text = '["{' * 200
    assert parse_object(json.dumps({"a": text, "b": '\\"' * 200}).encode())["a"] == text


def test_many_objects_side_by_side_are_not_deep() -> None:
    assert parse_object(json.dumps({"a": [{}] * 500}).encode()) == {"a": [{}] * 500}


def test_numbers_are_what_a_double_holds() -> None:
    value = parse_object(b'{"a": 1.0, "b": 9007199254740993, "c": -0, "d": 1e2, "e": 0.5}')
    assert value == {"a": 1, "b": 9007199254740992.0, "c": 0, "d": 100, "e": 0.5}
    assert [type(number) for number in value.values()] == [int, float, int, int, float]
