"""Problems: what is found wrong with one file while it is read."""

from collections.abc import Iterable
from difflib import get_close_matches

from authz.span import Span
from parser.diagnostics import Diagnostic, Severity

__all__ = ["MAX_PROBLEMS", "Problems", "nearest"]

MAX_PROBLEMS = 1000
"""Problems kept of one file. Nobody reads the thousandth, and a hostile file must not fill the memory with them."""

_LONGEST_WORD = 64


class Problems:
    """Collects diagnostics, up to `MAX_PROBLEMS` and a last one that says there were more."""

    def __init__(self) -> None:
        self._kept: list[Diagnostic] = []
        self._errors_at: set[Span] = set()
        self.errors = 0

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What was kept, in the order of finding."""
        return tuple(self._kept)

    @property
    def full(self) -> bool:
        """Whether more problems would not be kept."""
        return len(self._kept) > MAX_PROBLEMS

    def add(self, diagnostic: Diagnostic) -> None:
        """Keep `diagnostic` if there is room; it counts in any case."""
        if diagnostic.severity is Severity.ERROR:
            self.errors += 1
        if self.full:
            return
        if diagnostic.severity is Severity.ERROR:
            self._errors_at.add(diagnostic.span)
        self._kept.append(diagnostic)
        if len(self._kept) == MAX_PROBLEMS:
            self._kept.append(
                Diagnostic(
                    "too-many-problems",
                    f"more than {MAX_PROBLEMS} problems in this file; the rest is not shown",
                    diagnostic.span,
                    help="fix the first ones and run again",
                    severity=diagnostic.severity,
                )
            )

    def error(self, code: str, message: str, span: Span, *, help: str | None = None) -> None:  # noqa: A002  # the word of Diagnostic
        """Keep an error."""
        self.add(Diagnostic(code, message, span, help=help))

    def warning(self, code: str, message: str, span: Span, *, help: str | None = None) -> None:  # noqa: A002  # the word of Diagnostic
        """Keep a warning."""
        self.add(Diagnostic(code, message, span, help=help, severity=Severity.WARNING))

    def error_at(self, span: Span) -> bool:
        """Whether an error is known at exactly this place: what follows from it need not be said as well."""
        return span in self._errors_at


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The one of `known` that `word` was most likely meant to be.

    Upper and lower case count little, for they are what most people get wrong.
    """
    # Comparing costs the product of the lengths, and nobody misspells a word of a kilobyte.
    if len(word) > _LONGEST_WORD:
        return None
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower().replace("_", ""), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None
