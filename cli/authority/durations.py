"""Durations as people write them: `90s`, `5m`, `1h`, `7d`."""

import re
from datetime import timedelta

__all__ = ["parse_duration", "print_duration"]

_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1), "s": timedelta(seconds=1)}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")


def parse_duration(text: str) -> timedelta:
    """Read a whole number and its unit.

    Raises:
        ValueError: it is none.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no duration: write a whole number and s, m, h or d, as in 90s or 24h")
    return int(found[1]) * _UNITS[found[2]]


def print_duration(duration: timedelta) -> str:
    """The same again, in the largest unit that says it in a whole number; parts of a second are dropped."""
    whole = timedelta(seconds=int(duration.total_seconds()))
    for name, unit in _UNITS.items():
        if whole >= unit and not whole % unit:
            return f"{whole // unit}{name}"
    return "0s"
