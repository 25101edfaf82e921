"""What two versions decide differently as a picture: the matrix of the newer one, in which the cells that changed are marked.

A mark is a sign, words and a thicker frame; its colour says it again.
"""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from cli.matrix import sheet_of
from cli.matrix_svg import MARGIN, NOTE, STYLE, line, placed
from cli.svg import SMALL, drawing
from mesh.access.overlay import Overlay
from mesh.comparing import MOST_REGIONS, Change
from mesh.differences import Differences, ToldRegion, changed_in
from mesh.snapshot import Snapshot

__all__ = ["svg_of_overlays"]

_COLUMNS = 120
"""So many small letters fit into a line, where no matrix is wider."""

_SIGNS = {Change.NEWLY_ALLOWED: "+", Change.NEWLY_DENIED: "−"}  # noqa: RUF001  # as wide as the plus
_LEGEND = (
    "+ newly allowed; − newly denied; ± some newly allowed, some newly denied; (was …) what the older version answers",  # noqa: RUF001
    "a cell without a sign is decided as before (proved)",
)


def svg_of_overlays(
    some: Sequence[Overlay], found: Differences, *, old: Snapshot, new: Snapshot, head: Sequence[str]
) -> str:
    """The matrices of what changed, one below the other, each with what changes besides; `head` says how much that is."""
    page = _Page()
    page.lines("title", head[:1])
    page.lines("note", [*head[1:], *(_LEGEND if some else ())])
    for overlay in some:
        page.gap()
        width, page.bottom = placed(sheet_of(overlay.matrix, new), page.bottom, page.parts)
        page.across = max(page.across, width)
        if besides := list(_besides(overlay, old, new)):
            page.lines("head", ["not shown by any of these cells:"])
            page.lines("note", besides)
    page.gap()
    if found.same:
        count = len(found.same)
        page.lines(
            "note", [f"not drawn: {count:,} workload{'' if count == 1 else 's'}, for which nothing changes (proved)"]
        )
    page.lines("note", ["it is assumed that", *(f"  - {each}" for each in found.assumptions)])
    return drawing(head[0], (page.across + MARGIN, page.bottom + MARGIN), STYLE, page.parts)


def _besides(overlay: Overlay, old: Snapshot, new: Snapshot) -> Iterator[str]:
    for changed in changed_in(overlay.outside, old, new):
        for region in changed.regions:
            yield f"{_SIGNS[region.change]} {region.change.value}: {region.headline}"
            yield f"  e.g. {_example(region)}"
        if not changed.complete:
            yield f"… and more: the first {MOST_REGIONS} regions of a change are told"


def _example(region: ToldRegion) -> str:
    shown = region.shown
    # It may be its port for which no cell shows it.
    where = "" if shown.port is None else f", port {shown.port}"
    return f"{shown.summary}{where}: was {shown.before}; now {shown.decided}"


class _Page:
    """The elements so far, and how far they reach."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.across = _COLUMNS * SMALL + MARGIN
        self.bottom = float(MARGIN)

    def lines(self, kind: str, texts: Sequence[str]) -> None:
        """Lines below what there is, broken where they are too long."""
        for text in texts:
            # Spaces at the start of a line are nothing in SVG.
            left = MARGIN + SMALL * (len(text) - len(text.lstrip()))
            for number, part in enumerate(wrap(text.lstrip(), _COLUMNS)):
                self.bottom += NOTE
                self.parts.append(line(kind, left + 2 * SMALL * (number > 0), self.bottom, part))

    def gap(self) -> None:
        """Room below what there is."""
        self.bottom += NOTE
