"""Changes: what becomes of a request on its way through the stages, before it reaches the application."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from typing import Any, TypeVar

from authz.attributes import Attributes
from authz.record import record

__all__ = ["NO_CHANGES", "Changes", "edit_query"]

T = TypeVar("T")

_PSEUDO = {":path": "path", ":method": "method", ":authority": "host", ":scheme": "scheme"}


@record
class Changes:
    """What is different about a request that goes on.

    `headers` gives, by lower-case name, all the lines that a header has from now on; none removes it, whatever the client
    sent under that name. `:path` and the other pseudo-headers are among them where they change.
    """

    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.headers)

    def then(self, later: "Changes") -> "Changes":
        """These, and after them `later`, which has the last word on a header."""
        return Changes(headers={**self.headers, **later.headers}) if later else self

    def applied_to(self, attributes: Attributes) -> Attributes:
        """The facts as the next stage sees them."""
        return replace(attributes, **self.facts(attributes)) if self else attributes

    def facts(self, attributes: Attributes) -> dict[str, Any]:
        """What is different of `attributes`, by the names of its fields."""
        facts: dict[str, Any] = {"headers": _Changed(attributes.headers, self.headers)} if self else {}
        for name, lines in self.headers.items():
            if lines and name in _PSEUDO:
                facts[_PSEUDO[name]] = lines[0]
        return facts


NO_CHANGES = Changes()


class _Changed(Mapping[str, tuple[str, ...]]):
    """The header lines of `before` with those of `later` in their place.

    A request has a dozen headers and a decision reads one or two of them: the others are not even copied.
    """

    __slots__ = ("_before", "_later")

    def __init__(self, before: Mapping[str, tuple[str, ...]], later: Mapping[str, tuple[str, ...]]) -> None:
        self._before = before
        self._later = later

    def __getitem__(self, name: str) -> tuple[str, ...]:
        if (lines := self._lines(name)) is None:
            raise KeyError(name)
        return lines

    # Most of what policies ask for is not there, and the one that comes with `Mapping` learns that from an exception.
    def get(self, name: str, default: T | None = None) -> tuple[str, ...] | T | None:  # type: ignore[override]  # one form
        """The lines, `default` if there are none."""
        return default if (lines := self._lines(name)) is None else lines

    def _lines(self, name: str) -> tuple[str, ...] | None:
        lines = self._later.get(name)
        return self._before.get(name) if lines is None or name in _PSEUDO else lines or None

    def __iter__(self) -> Iterator[str]:
        for name in self._before:
            if name not in self._later or name in _PSEUDO or self._later[name]:
                yield name
        for name, lines in self._later.items():
            if lines and name not in self._before and name not in _PSEUDO:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


def edit_query(path: str, *, removed: Iterable[str] = (), changed: Mapping[str, str] | None = None) -> str:
    """`path` without the query parameters `removed`, and with the values of those `changed`.

    As Envoy 1.40 was seen to do it: names are compared as written, nothing is decoded or encoded, and what is left is sorted
    by name, each with its `=`.
    """
    before, _, query = path.partition("?")
    gone = {*removed, *(changed or {})}
    pairs = [each.partition("=")[::2] for each in query.split("&")] if query else []
    kept = sorted(
        [pair for pair in pairs if pair[0] not in gone] + list((changed or {}).items()), key=lambda pair: pair[0]
    )
    return f"{before}?{'&'.join(f'{name}={value}' for name, value in kept)}" if kept else before
