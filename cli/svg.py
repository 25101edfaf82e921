"""What all our pictures have in common: colours that are light or dark as the reader prefers, and letters of one width."""

import re
from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape

from parser.excerpt import visible

__all__ = ["LETTER", "SMALL", "drawing", "said", "style"]

LETTER, SMALL = 7.25, 6.35
"""How wide a letter is, in the two sizes that there are; all letters of one are as wide."""

_FONT = """\
text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.note{font-size:10.5px}
"""
_LIGHT = {
    "PAPER": "#fbfbf9",
    "CARD": "#ffffff",
    "INK": "#1f2328",
    "DIM": "#5f6873",
    "LINE": "#c9ced6",
    "LOOK": "#0b5cad",
    "ALLOW": "#176f37",
    "DENY": "#b3261e",
    "OTHER": "#855300",
    "WAY": "#6d3fd1",
}
_DARK = {
    "PAPER": "#14171c",
    "CARD": "#1d222a",
    "INK": "#e6e9ee",
    "DIM": "#9aa4b1",
    "LINE": "#4a535f",
    "LOOK": "#7cb7ff",
    "ALLOW": "#6ccf8b",
    "DENY": "#ff8f87",
    "OTHER": "#e6b450",
    "WAY": "#b79cff",
}


def style(shapes: str, colours: str) -> str:
    """The style of a picture; words of capitals in `colours` are the names of colours."""
    # Written out, for not every viewer knows the variables of CSS.
    return (
        f"{_FONT}{shapes}{_coloured(colours, _LIGHT)}@media(prefers-color-scheme:dark){{\n{_coloured(colours, _DARK)}}}"
    )


def _coloured(colours: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\b[A-Z]{3,}\b", lambda found: values[found[0]], colours)


def drawing(title: str, size: tuple[float, float], its_style: str, parts: Iterable[str]) -> str:
    """A whole picture. It holds no script and fetches nothing."""
    across, down = size
    measures = f'viewBox="0 0 {across:.0f} {down:.0f}" width="{across:.0f}" height="{down:.0f}"'
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" {measures} role="img" aria-labelledby="title">',
            f'<title id="title">{said(title)}</title>',
            f"<style>{its_style}</style>",
            '<rect class="paper" width="100%" height="100%"/>',
            *parts,
            "</svg>\n",
        )
    )


def said(text: str) -> str:
    """Text as it stands in a picture: nothing in it is markup, and nothing is what XML forbids."""
    return escape(visible(text))
