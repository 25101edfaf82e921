"""JSON from strangers, read so that nobody else can read it differently (RFC 8259, RFC 7519 section 4)."""

import json
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

__all__ = ["MAX_DEPTH", "parse_object"]

MAX_DEPTH = 100
"""How deep objects and lists may nest, the outermost counted: Envoy's limit, too."""

# A string is taken whole, unfinished ones included, so that one pass is enough whatever it contains.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
# Beyond it, two different integers may be the same number to whoever reads them as Envoy does.
_EXACT = 2**53


def parse_object(text: bytes, *, integer: Callable[[str], float] | None = None) -> dict[str, object]:
    """The members of the object that `text` is.

    Numbers are what a double holds of them, as in Envoy, integers where they are whole and exact. `integer` reads those without
    point and exponent otherwise; `int` takes them as they are.

    Raises:
        ValueError: it is no JSON in UTF-8, or no object; it nests too deep, names a member twice, has a number beyond a
            double or a string that is no text.
    """
    try:
        # Decoded here: `json` would take UTF-16 and UTF-32 as well, and what looks one way may then be read another.
        decoded = text.decode()
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    _require_shallow(decoded)
    value = (_DECODER if integer is None else _decoder(integer)).decode(decoded)
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004  # what a stranger wrote is no mistake in a type
    if "\\u" in decoded:
        _require_text(value)
    return value


def _require_shallow(text: str) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for found in _BRACKETS.finditer(text):
        if found[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"nested deeper than {MAX_DEPTH}")
        elif found[0] in "]}":
            depth -= 1


def _members(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    # Which of the two counts is where parsers differ: one checks the first, another uses the last.
    if len(members) != len(pairs):
        raise ValueError("a member is named twice")
    return members


def _number(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number beyond a double")
    return int(number) if number.is_integer() and abs(number) < _EXACT else number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _decoder(integer: Callable[[str], float]) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=_members, parse_float=_number, parse_int=integer, parse_constant=_no_constant
    )


_DECODER = _decoder(_number)
"""Made once: making one takes as long as reading a token with it."""


def _require_text(value: object) -> None:
    """An escape can name half of a surrogate pair, which is no character and cannot be sent on."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError("half of a surrogate pair") from error
    elif isinstance(value, list):
        for item in value:
            _require_text(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            _require_text(name)
            _require_text(item)
