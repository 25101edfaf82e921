"""Durations as Go and protobuf's JSON write them: `5s`, `1.5s`, `500ms`, `1m30s`."""

import re

__all__ = ["NANOSECONDS", "parse_duration"]

NANOSECONDS = 1_000_000_000
"""In a second."""

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5
    "μs": 1_000,  # U+03BC
    "ms": 1_000_000,
    "s": NANOSECONDS,
    "m": 60 * NANOSECONDS,
    "h": 3600 * NANOSECONDS,
}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_LONGEST = 64
_INT64 = 2**63


def parse_duration(text: str) -> int | None:
    """The nanoseconds in `text`; none where it is no duration, or one longer than Go's 292 years."""
    # Numbers without bound take the square of their digits to read.
    if not text or len(text) > _LONGEST:
        return None
    sign, rest = (-1, text[1:]) if text[0] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total = position = 0
    while position < len(rest):
        part = _PART.match(rest, position)
        if part is None or not (part[1] or part[2]):
            return None
        unit, fraction = _UNITS[part[3]], part[2] or ""
        total += int(part[1] or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        position = part.end()
    return sign * total if rest and total < _INT64 else None
