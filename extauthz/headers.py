"""Header lines as Envoy hands them over, decoded when somebody looks."""

from collections.abc import Iterator, Mapping

__all__ = ["Headers"]


class Headers(Mapping[str, tuple[str, ...]]):
    """From lower-case names to lines. Bytes that are no UTF-8 stay what they are, each as a surrogate.

    A request has a dozen headers and a decision reads one or two of them.
    """

    __slots__ = ("_raw", "_read")

    def __init__(self, raw: Mapping[str, list[bytes]]) -> None:
        self._raw = raw
        self._read: dict[str, tuple[str, ...]] = {}

    def __getitem__(self, name: str) -> tuple[str, ...]:
        lines = self._read.get(name)
        if lines is None:
            lines = self._read[name] = tuple(line.decode("utf-8", "surrogateescape") for line in self._raw[name])
        return lines

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def __contains__(self, name: object) -> bool:
        return name in self._raw
