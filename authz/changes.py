"""Changes: what becomes of a request on its way through the stages, before it reaches the application."""

from collections.abc import Iterable, Mapping
from dataclasses import field, replace

from authz.attributes import Attributes
from authz.record import record

__all__ = ["NO_CHANGES", "Changes", "edit_query"]

_PSEUDO = frozenset({":path", ":method", ":authority", ":scheme"})


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
        if not self:
            return attributes
        headers = {**attributes.headers, **{n: lines for n, lines in self.headers.items() if n not in _PSEUDO}}
        return replace(
            attributes,
            headers={name: lines for name, lines in headers.items() if lines},
            path=self._pseudo(":path", attributes.path),
            method=self._pseudo(":method", attributes.method),
            host=self._pseudo(":authority", attributes.host),
            scheme=self._pseudo(":scheme", attributes.scheme),
        )

    def _pseudo(self, name: str, before: str | None) -> str | None:
        lines = self.headers.get(name)
        return lines[0] if lines else before


NO_CHANGES = Changes()


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
