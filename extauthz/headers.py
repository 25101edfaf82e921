"""Header lines as Envoy hands them over, decoded when somebody looks."""

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeVar

__all__ = ["Headers", "Raw", "raw_lines"]

T = TypeVar("T")


class Line(Protocol):
    """A HeaderValue of Envoy's."""

    value: str
    raw_value: bytes


Raw = Line | list[bytes]
"""The one line of a header as Envoy wrote it, or the values of its lines."""


def raw_lines(raw: Raw) -> list[bytes]:
    """The values of the lines."""
    return raw if isinstance(raw, list) else [raw.raw_value or raw.value.encode()]


class Headers(Mapping[str, tuple[str, ...]]):
    """From lower-case names to lines. Bytes that are no UTF-8 stay what they are, each as a surrogate.

    A request has a dozen headers and a decision reads one or two of them.
    """

    __slots__ = ("_raw", "_read")

    def __init__(self, raw: Mapping[str, Raw]) -> None:
        self._raw = raw
        self._read: dict[str, tuple[str, ...]] = {}

    def __getitem__(self, name: str) -> tuple[str, ...]:
        if (lines := self._lines(name)) is None:
            raise KeyError(name)
        return lines

    # Most of what policies ask for is not there, and the one that comes with `Mapping` learns that from an exception.
    def get(self, name: str, default: T | None = None) -> tuple[str, ...] | T | None:  # type: ignore[override]  # one form
        """The lines, `default` if there are none."""
        return default if (lines := self._lines(name)) is None else lines

    def _lines(self, name: str) -> tuple[str, ...] | None:
        lines = self._read.get(name)
        if lines is None and (raw := self._raw.get(name)) is not None:
            lines = self._read[name] = tuple([line.decode("utf-8", "surrogateescape") for line in raw_lines(raw)])
        return lines

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __contains__(self, name: object) -> bool:
        return name in self._raw
