"""Claims as headers: the text that `outputClaimToHeaders` sends on for a claim (semantics 4.7)."""

import json
from base64 import b64encode
from collections.abc import Mapping

__all__ = ["header_text"]

_UINT64 = 2**64


def header_text(claims: Mapping[str, object], path: str) -> str | None:
    """What a header says of the claim at `path`, `None` where it gets none.

    Each dot leads into an object, so that no claim with a dot in its own name is ever found. There is no header for a claim
    that is not there, null or empty.
    """
    value: object = claims
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return _text(value) or None


def _text(value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            # A whole number that 64 bits can hold, and otherwise C's six decimals.
            whole = 0 <= value < _UINT64 and value == int(value)
            return str(int(value)) if whole else f"{float(value):f}"
        case dict() | list():
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            return b64encode(text.encode()).decode("ascii")
        case _:
            return ""
