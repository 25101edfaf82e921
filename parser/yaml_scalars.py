"""What a plain scalar is by its look, as Kubernetes' YAML reader sees it: YAML 1.1, without its base-60 numbers and dates."""

import math
import re

__all__ = ["Plain", "is_null", "json_key", "resolve"]

Plain = None | bool | int | float | str

_NULLS = ("", "~", "null", "Null", "NULL")
_WORDS: dict[str, Plain] = {
    **dict.fromkeys(_NULLS),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_MAY_BE_NUMBER = frozenset("+-.0123456789")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[oO]?(?P<oct>[0-7]+)|0[bB](?P<bin>[01]+)|(?P<dec>0|[1-9][0-9]*))"
)
_BASES = {"hex": 16, "oct": 8, "bin": 2, "dec": 10}
_INT64 = range(-(2**63), 2**63)
# Longer ones are no numbers that anybody wrote for a policy, and turning digits into a number takes their square in time.
_LONGEST_NUMBER = 400


def is_null(text: str) -> bool:
    """Whether an unquoted scalar stands for nothing."""
    return text in _NULLS


def resolve(text: str) -> Plain:
    """The value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _MAY_BE_NUMBER and len(text) <= _LONGEST_NUMBER:
        number = _number(text)
        return text if number is None else number
    return text


def _number(text: str) -> int | float | None:
    if text[0] != ".":
        text = text.replace("_", "")
        if (integer := _integer(text)) is not None:
            return integer
    if not _FLOAT.fullmatch(text):
        return None
    number = float(text)
    # One that is too large for a float stays the text that it is.
    return None if math.isinf(number) else number


def _integer(text: str) -> int | None:
    found = _INTEGER.fullmatch(text)
    if found is None or found.lastgroup is None:
        return None
    number = int(found["sign"] + found[found.lastgroup], _BASES[found.lastgroup])
    # Beyond 64 bits a decimal is read as a float.
    fits = number in _INT64 or (0 <= number < 2**64 and not found["sign"])
    return number if fits or found.lastgroup != "dec" else None


def json_key(text: str) -> str | None:
    """What an unquoted mapping key becomes in JSON, where keys are strings; none for null, which cannot be one."""
    if text not in _WORDS and text[0] not in _MAY_BE_NUMBER:
        return text  # as nearly all are
    match resolve(text):
        case None:
            return None
        case bool() as flag:
            return "true" if flag else "false"
        case int() as integer:
            return str(integer)
        case float() as number:
            return f"{number:g}"
        case str() as same:
            return same
