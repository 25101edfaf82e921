"""A picture of what two versions decide differently, as SVG: a row for each change, light or dark as its reader prefers.

What is newly allowed has a plus and a whole edge, what is newly denied a minus and a broken one, so that it is read without
colours, too. It holds no script and fetches nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap
from xml.sax.saxutils import escape

from mesh.comparing import Change
from mesh.differences import Differences
from parser.excerpt import visible

__all__ = ["svg_of_differences"]

_LETTER, _LINE, _MARGIN, _PADDING = 7.25, 18, 24, 10
_COLUMNS = 104
"""So many letters fit into a line."""

_WIDTH = round(_COLUMNS * _LETTER) + 2 * (_MARGIN + _PADDING) + 28
_SHAPES = """\
text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.title,.name,.sign{font-weight:700}
.sign{font-size:16px}
.box{stroke-width:1.5}
.denied .box{stroke-dasharray:5 3}
"""
_COLOURS = """\
text{{fill:{ink}}}.dim{{fill:{dim}}}.paper{{fill:{paper}}}.box{{fill:{card}}}
.allowed .box{{stroke:{allowed}}}.allowed .sign{{fill:{allowed}}}
.denied .box{{stroke:{denied}}}.denied .sign{{fill:{denied}}}
"""
_LIGHT = {
    "ink": "#1f2328",
    "dim": "#5f6873",
    "paper": "#fbfbf9",
    "card": "#ffffff",
    "allowed": "#0b5cad",
    "denied": "#b3261e",
}
_DARK = {
    "ink": "#e6e9ee",
    "dim": "#9aa4b1",
    "paper": "#14171c",
    "card": "#1d222a",
    "allowed": "#7cb7ff",
    "denied": "#ff8f87",
}
_STYLE = f"{_SHAPES}{_COLOURS.format(**_LIGHT)}@media(prefers-color-scheme:dark){{\n{_COLOURS.format(**_DARK)}}}"
_CLASSES = {Change.NEWLY_ALLOWED: ("allowed", "+"), Change.NEWLY_DENIED: ("denied", "−")}  # noqa: RUF001  # as wide as the plus


@dataclass(slots=True)
class _Page:
    """The elements so far, and how far down they reach."""

    elements: list[str]
    y: int = _MARGIN

    def text(self, words: str, *, style: str, x: int = _MARGIN) -> None:
        """A line of its own."""
        self.y += _LINE
        self.elements.append(f'<text class="{style}" x="{x}" y="{self.y - 5}">{_escaped(words)}</text>')

    def gap(self) -> None:
        """Room below what there is."""
        self.y += _PADDING


def svg_of_differences(found: Differences, *, summary: str) -> str:
    """The picture, under a title that says how much there is."""
    page = _Page([])
    for line in wrap(summary, _COLUMNS):
        page.text(line, style="title")
    for label, names in (("added", found.added), ("removed", found.removed)):
        for line in wrap(f"{label}: {', '.join(names)}", _COLUMNS) if names else ():
            page.text(line, style="dim")
    for each in found.config:
        page.text(f"mesh configuration: {each}", style="dim")
    for changed in found.changed:
        page.gap()
        for line in wrap(", ".join(changed.workloads), _COLUMNS):
            page.text(line, style="name")
        for region in changed.regions:
            style, sign = _CLASSES[region.change]
            _box(page, style, sign, list(_lines(region.headline, f"e.g. {region.shown.summary}")))
        if not changed.complete:
            page.text("… and more", style="dim")
    height = page.y + _MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" role="img">'
        f"<title>{_escaped(summary)}</title><style>{_STYLE}</style>"
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>'
    )
    return "\n".join([head, *page.elements, "</svg>"]) + "\n"


def _lines(words: str, example: str) -> Iterator[tuple[str, str]]:
    yield from ((line, "words") for line in wrap(words, _COLUMNS))
    yield from ((line, "dim") for line in wrap(example, _COLUMNS))


def _box(page: _Page, style: str, sign: str, lines: list[tuple[str, str]]) -> None:
    page.y += 4
    height = len(lines) * _LINE + _PADDING
    page.elements.append(f'<g class="{style}">')
    page.elements.append(
        f'<rect class="box" x="{_MARGIN}" y="{page.y}" width="{_WIDTH - 2 * _MARGIN}" height="{height}" rx="5"/>'
    )
    page.elements.append(f'<text class="sign" x="{_MARGIN + _PADDING}" y="{page.y + _LINE}">{sign}</text>')
    bottom = page.y + height
    page.y += _PADDING // 2
    for line, kind in lines:
        page.text(line, style=kind, x=_MARGIN + _PADDING + 20)
    page.elements.append("</g>")
    page.y = bottom


def _escaped(text: str) -> str:
    return escape(visible(text))
