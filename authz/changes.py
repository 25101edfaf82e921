"""Changes: what becomes of a request on its way through the stages, before it reaches the application."""

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from urllib.parse import unquote_plus

from authz.attributes import Attributes
from authz.record import record

__all__ = ["NO_CHANGES", "Changes"]

_PSEUDO = frozenset({":path", ":method", ":authority", ":scheme"})


@record
class Changes:
    """What is different about a request that goes on.

    `headers` gives, by lower-case name, all the lines that a header has from now on; none removes it, whatever the client
    sent under that name. `removed_parameters` are query parameters by name.
    """

    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    removed_parameters: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.headers or self.removed_parameters)

    def then(self, later: "Changes") -> "Changes":
        """These, and after them `later`, which has the last word on a header."""
        if not later:
            return self
        return Changes(
            headers={**self.headers, **later.headers},
            removed_parameters=self.removed_parameters | later.removed_parameters,
        )

    def applied_to(self, attributes: Attributes) -> Attributes:
        """The facts as the next stage sees them."""
        if not self:
            return attributes
        headers = {**attributes.headers, **{n: lines for n, lines in self.headers.items() if n not in _PSEUDO}}
        changed = replace(
            attributes,
            headers={name: lines for name, lines in headers.items() if lines},
            path=self._pseudo(":path", attributes.path),
            method=self._pseudo(":method", attributes.method),
            host=self._pseudo(":authority", attributes.host),
            scheme=self._pseudo(":scheme", attributes.scheme),
        )
        if not self.removed_parameters or changed.path is None:
            return changed
        return replace(changed, path=_without(changed.path, self.removed_parameters))

    def _pseudo(self, name: str, before: str | None) -> str | None:
        lines = self.headers.get(name)
        return lines[0] if lines else before


NO_CHANGES = Changes()


def _without(path: str, parameters: Iterable[str]) -> str:
    before, mark, query = path.partition("?")
    if not mark:
        return path
    kept = [each for each in query.split("&") if unquote_plus(each.partition("=")[0]) not in parameters]
    return f"{before}?{'&'.join(kept)}" if kept else before
