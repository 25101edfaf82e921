"""What was found in manifests, on standard error."""

import sys
from collections.abc import Iterable, Mapping

from parser.diagnostics import Diagnostic, render

__all__ = ["print_diagnostics", "print_skipped"]


def print_diagnostics(diagnostics: Iterable[Diagnostic], sources: Mapping[str, str]) -> None:
    """Every problem with its place, on standard error."""
    for diagnostic in diagnostics:
        print(render(diagnostic, sources.get(diagnostic.span.file)), file=sys.stderr)


def print_skipped(skipped: Mapping[str, int]) -> None:
    """How many documents of which kinds were not meshward's business, on standard error."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(skipped.items()))
    print(f"meshward: skipped {kinds or 'nothing'}", file=sys.stderr)
