"""The table of all benchmarks: for each promise what was measured, read from the results that are kept.

A module beside this one is a benchmark if it has `measure` and `ROWS`; nobody registers. A row whose benchmark was never run is not
shown.
"""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import benchmarks
from benchmarks.row import Row

__all__ = ["HEAD", "RESULTS", "Measured", "found", "lines", "markdown", "measured_rows"]

RESULTS = Path(__file__).parent / "results"
HEAD = ("what", "target", "measured", "ratio", "")


@dataclass(frozen=True, slots=True)
class Measured:
    """A row with its figure, or without one where it could not be had."""

    row: Row
    figure: float | None

    @property
    def cells(self) -> tuple[str, ...]:
        """As the table has it."""
        row = self.row
        target = f"{row.better.value} {_number(row.target)} {row.unit}".rstrip()
        if self.figure is None:
            return (row.what, target, "not measured", "", "skipped")
        measured = f"{_number(self.figure)} {row.unit}".rstrip()
        return (
            row.what,
            target,
            measured,
            f"{_number(row.ratio(self.figure))}x",
            "met" if row.kept(self.figure) else "missed",
        )


def found() -> dict[str, ModuleType]:
    """The benchmarks, by name."""
    # Packages and the program itself are none; nor is what has no rows.
    names = (each.name for each in pkgutil.iter_modules(benchmarks.__path__) if not each.ispkg)
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in names if name != "__main__"}
    return {name: each for name, each in modules.items() if hasattr(each, "measure") and hasattr(each, "ROWS")}


def measured_rows() -> Iterator[Measured]:
    """All rows of which there is a result."""
    for name, module in found().items():
        kept = RESULTS / f"{name}.json"
        if kept.exists():
            result = json.loads(kept.read_text())["result"]
            for row in module.ROWS:
                yield Measured(row, row.measured(result))


def lines() -> Iterator[tuple[str, ...]]:
    """The cells of each row."""
    return (each.cells for each in measured_rows())


def markdown() -> str:
    """The table as `docs/performance.md` has it."""
    rows = [HEAD, tuple("---" for _ in HEAD), *lines()]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _number(value: float) -> str:
    """Three digits that matter, and thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
