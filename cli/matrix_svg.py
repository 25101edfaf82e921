"""The matrix of who may call what as a picture: what a cell says stands in it, its colour says it again."""

from collections.abc import Iterator, Sequence

from cli.matrix import Field, Sheet
from cli.svg import LETTER, SMALL, drawing, said, style
from mesh.access.matrix import Answer

__all__ = ["svg_of_sheets"]

_MARGIN, _PADDING, _ROW, _GAP = 24, 10, 26, 3
_NOTE = 16

_SHAPES = """\
.title,.head{font-weight:700}
.cell rect{stroke-width:1.3}
.deny rect{stroke-dasharray:5 3}
.depends rect{stroke-dasharray:1.5 2.5;stroke-width:2}
"""
_COLOURS = """\
text{fill:INK}.note{fill:DIM}
.paper{fill:PAPER}.cell rect{fill:CARD;stroke:LINE}
.allow rect{stroke:ALLOW}.allow text{fill:ALLOW}
.deny rect{stroke:DENY}.deny text{fill:DENY}
.depends rect{stroke:OTHER}.depends text{fill:OTHER}
.never text{fill:DIM}
"""
_STYLE = style(_SHAPES, _COLOURS)
_SIGNS = {Answer.ALLOW: "✓", Answer.DENY: "✗", Answer.DEPENDS: "◐", Answer.NEVER: "∅"}


def svg_of_sheets(sheets: Sequence[Sheet]) -> str:
    """The matrices, one below the other."""
    parts: list[str] = []
    across, top = 0.0, float(_MARGIN)
    for sheet in sheets:
        width, bottom = _placed(sheet, top, parts)
        across, top = max(across, width), bottom + _MARGIN
    title = "Who may call what: " + ", ".join(sheet.title for sheet in sheets)
    return drawing(title, (across + _MARGIN, top), _STYLE, parts)


def _placed(sheet: Sheet, top: float, parts: list[str]) -> tuple[float, float]:
    """Draws one from `top` on, and says how far it reaches to the right and down."""
    left = _MARGIN + max(map(len, sheet.routes)) * LETTER + 2 * _PADDING
    widths = [
        2 * _PADDING + LETTER * max(len(column), *(len(_words(fields[place])) for fields in sheet.fields))
        for place, column in enumerate(sheet.columns)
    ]
    lefts = [left + sum(widths[:place]) + place * _GAP for place in range(len(widths))]
    parts.append(_text("title", _MARGIN, top + 14, sheet.title))
    top += _ROW
    parts += (
        f"<g><title>{said(callers)}</title>{_text('head', at + _PADDING, top + 17, column)}</g>"
        for at, column, callers in zip(lefts, sheet.columns, sheet.callers, strict=True)
    )
    top += _ROW
    for route, fields in zip(sheet.routes, sheet.fields, strict=True):
        parts.append(_text("route", _MARGIN, top + 17, route))
        for at, width, field in zip(lefts, widths, fields, strict=True):
            parts.append(_cell(field, at, top, width, sheet.notes))
        top += _ROW + _GAP
    top += _PADDING
    notes = list(_notes(sheet))
    parts += (_text("note", _MARGIN, top + _NOTE * (number + 1), note) for number, note in enumerate(notes))
    reach = max(
        lefts[-1] + widths[-1],
        _MARGIN + len(sheet.title) * LETTER,
        _MARGIN + SMALL * max(map(len, notes), default=0),
    )
    return reach, top + _NOTE * (len(notes) + 1)


def _notes(sheet: Sheet) -> Iterator[str]:
    for column, callers in zip(sheet.columns, sheet.callers, strict=True):
        if column != callers:
            yield f"{column}: {callers}"
    yield from (f"{number} {note}" for number, note in enumerate(sheet.notes, start=1))


def _cell(field: Field, left: float, top: float, width: float, notes: Sequence[str]) -> str:
    why = f": {notes[field.note - 1]}" if field.note else ""
    return (
        f'<g class="cell {field.answer.value}"><title>{said(field.answer.value + why)}</title>'
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{_ROW}" rx="4"/>'
        f'<text x="{left + _PADDING:.1f}" y="{top + 17:.1f}">{said(_words(field))}</text></g>'
    )


def _words(field: Field) -> str:
    return f"{_SIGNS[field.answer]} {field}"


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{said(text)}</text>'
