"""The matrix of who may call what as a picture: what a cell says stands in it, its colour says it again."""

from collections.abc import Iterator, Sequence

from cli.matrix import Field, Sheet
from cli.svg import LETTER, SMALL, drawing, said, style
from mesh.access.cells import Answer

__all__ = ["MARGIN", "NOTE", "STYLE", "line", "placed", "svg_of_sheets"]

MARGIN, NOTE = 24, 16
"""What is left around a picture, and how high a line of small letters is."""

_PADDING, _ROW, _GAP, _BAND = 10, 26, 3, 6

_SHAPES = """\
.title,.head{font-weight:700}
.cell rect{stroke-width:1.3}
.deny rect{stroke-dasharray:5 3}
.depends rect{stroke-dasharray:1.5 2.5;stroke-width:2}
.changed .frame{stroke-width:2.6}.changed text{font-weight:700}.cell .band{stroke:none}
"""
_COLOURS = """\
text{fill:INK}.note{fill:DIM}
.paper{fill:PAPER}.cell rect{fill:CARD;stroke:LINE}
.allow rect{stroke:ALLOW}.allow text{fill:ALLOW}
.deny rect{stroke:DENY}.deny text{fill:DENY}
.depends rect{stroke:OTHER}.depends text{fill:OTHER}
.never text{fill:DIM}
.cell.more .band{fill:ALLOW}.cell.less .band{fill:DENY}.cell.both .band{fill:OTHER}
"""
STYLE = style(_SHAPES, _COLOURS)
"""How a matrix looks, changed cells among it."""

_SIGNS = {Answer.ALLOW: "✓", Answer.DENY: "✗", Answer.DEPENDS: "◐", Answer.NEVER: "∅"}


def svg_of_sheets(sheets: Sequence[Sheet]) -> str:
    """The matrices, one below the other."""
    parts: list[str] = []
    across, top = 0.0, float(MARGIN)
    for sheet in sheets:
        width, bottom = placed(sheet, top, parts)
        across, top = max(across, width), bottom + MARGIN
    title = "Who may call what: " + ", ".join(sheet.title for sheet in sheets)
    return drawing(title, (across + MARGIN, top), STYLE, parts)


def placed(sheet: Sheet, top: float, parts: list[str]) -> tuple[float, float]:
    """Draw one from `top` on, and say how far it reaches to the right and down.

    A cell in which something changed has its sign before the answer, the answer that it was behind it, and a frame that is thicker.
    """
    left = MARGIN + max(map(len, sheet.routes)) * LETTER + 2 * _PADDING
    widths = [
        2 * _PADDING + LETTER * max(len(column), *(len(_words(fields[place])) for fields in sheet.fields))
        for place, column in enumerate(sheet.columns)
    ]
    lefts = [left + sum(widths[:place]) + place * _GAP for place in range(len(widths))]
    parts.append(line("title", MARGIN, top + 14, sheet.title))
    top += _ROW
    parts += (
        f"<g><title>{said(callers)}</title>{line('head', at + _PADDING, top + 17, column)}</g>"
        for at, column, callers in zip(lefts, sheet.columns, sheet.callers, strict=True)
    )
    top += _ROW
    for route, fields in zip(sheet.routes, sheet.fields, strict=True):
        parts.append(line("route", MARGIN, top + 17, route))
        for at, width, field in zip(lefts, widths, fields, strict=True):
            parts.append(_cell(field, at, top, width, sheet.notes))
        top += _ROW + _GAP
    top += _PADDING
    notes = list(_notes(sheet))
    parts += (line("note", MARGIN, top + NOTE * (number + 1), note) for number, note in enumerate(notes))
    reach = max(
        lefts[-1] + widths[-1],
        MARGIN + len(sheet.title) * LETTER,
        MARGIN + SMALL * max(map(len, notes), default=0),
    )
    return reach, top + NOTE * (len(notes) + 1)


def _notes(sheet: Sheet) -> Iterator[str]:
    for column, callers in zip(sheet.columns, sheet.callers, strict=True):
        if column != callers:
            yield f"{column}: {callers}"
    yield from (f"{number} {note}" for number, note in enumerate(sheet.notes, start=1))


def _cell(field: Field, left: float, top: float, width: float, notes: Sequence[str]) -> str:
    why = f": {notes[field.note - 1]}" if field.note else ""
    band, marked, was = "", "", ""
    if field.before is not None:
        _, kind, changed = _CHANGES[field.before.allowed is not None, field.before.denied is not None]
        marked, was = f" changed {kind}", f"{changed} (was {field.before.answer.value}); now "
        band = f'<rect class="band" x="{left:.1f}" y="{top:.1f}" width="{_BAND}" height="{_ROW}"/>'
    return (
        f'<g class="cell {field.answer.value}{marked}"><title>{said(was + field.answer.value + why)}</title>'
        f'<rect class="frame" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{_ROW}" rx="4"/>{band}'
        f'<text x="{left + _PADDING:.1f}" y="{top + 17:.1f}">{said(_words(field))}</text></g>'
    )


_CHANGES = {
    (True, False): ("+", "more", "newly allowed"),
    (False, True): ("−", "less", "newly denied"),  # noqa: RUF001  # as wide as the plus
    (True, True): ("±", "both", "some newly allowed, some newly denied"),
}
"""By whether something is newly allowed, and newly denied: the sign, the class, and the words."""


def _words(field: Field) -> str:
    words = f"{_SIGNS[field.answer]} {field}"
    if field.before is None:
        return words
    sign, _, _ = _CHANGES[field.before.allowed is not None, field.before.denied is not None]
    return f"{sign} {words} (was {field.before.answer.value})"


def line(kind: str, x: float, y: float, text: str) -> str:
    """Text in a line of its own."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{said(text)}</text>'
