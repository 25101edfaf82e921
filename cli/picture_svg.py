"""A picture of decision trees as SVG: from left to right, light or dark as its reader prefers.

It holds no script and fetches nothing. What is cut short in a box is said in full by its title.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cli.picture import Kind, Mark, Twig
from cli.svg import LETTER, SMALL, drawing, said, style

__all__ = ["svg_of"]

_PADDING, _MARGIN = 12, 24
_ACROSS, _BETWEEN = 44, 10
_LOW, _HIGH = 28, 46
_WIDEST = 84
"""So many letters of a text are shown."""

_SHAPES = """\
path{fill:none;stroke-width:1.3}
.root .words,.decides .words{font-weight:700}
.fact rect{rx:14px}
.fold rect{fill:none;stroke-dasharray:3 3}
.failed rect{stroke-dasharray:5 3}
path.leads{stroke-width:3}
g.leads rect{stroke-width:2}
g.decides rect{stroke-width:3}
"""
_COLOURS = """\
text{fill:INK}.note,.fold .words,.unseen .words{fill:DIM}
.paper{fill:PAPER}.box{fill:CARD}
path,.box{stroke:LINE}
.look rect{stroke:LOOK}.look .words{fill:LOOK}
.allow rect{stroke:ALLOW}.allow .words{fill:ALLOW}
.deny rect{stroke:DENY}.deny .words{fill:DENY}
.other rect{stroke:OTHER}.other .words{fill:OTHER}
.unseen rect{stroke:LINE;fill:PAPER}.unseen .words{fill:DIM}
path.taken,path.leads,g.leads rect{stroke:WAY}
"""
_STYLE = style(_SHAPES, _COLOURS)
_KINDS = {
    Kind.ROOT: "root",
    Kind.LOOK: "look",
    Kind.FACT: "fact",
    Kind.ALLOW: "allow",
    Kind.DENY: "deny",
    Kind.OTHER: "other",
    Kind.NODE: "node",
    Kind.FOLD: "fold",
}
_MARKS = {
    Mark.NONE: "",
    Mark.LEADS: " leads",
    Mark.TAKEN: " taken",
    Mark.DEAD_END: " taken",
    Mark.FAILED: " failed",
    Mark.HELD: " taken",
    Mark.DECIDES: " decides",
    Mark.UNSEEN: " unseen",
}
_WAYS = {Mark.LEADS: "leads", Mark.DECIDES: "leads", Mark.TAKEN: "taken", Mark.DEAD_END: "taken", Mark.FAILED: "taken"}
_SIGNS = {Mark.FAILED: "✗ ", Mark.DEAD_END: "∅ ", Mark.HELD: "✓ ", Mark.DECIDES: "● "}


@dataclass(frozen=True, slots=True)
class _Box:
    """A twig in its place: `middle` is half-way down."""

    twig: Twig
    depth: int
    middle: float
    boxes: tuple["_Box", ...]


def svg_of(twigs: Sequence[Twig]) -> str:
    """The pictures, one below the other."""
    roots: list[_Box] = []
    bottom = float(_MARGIN)
    for twig in twigs:
        box, bottom = _placed(twig, 0, bottom)
        roots.append(box)
        bottom += 2 * _MARGIN
    boxes = [box for root in roots for box in _all(root)]
    widths: dict[int, float] = {}
    for box in boxes:
        widths[box.depth] = max(widths.get(box.depth, 0), _width(box.twig))
    lefts = {depth: _MARGIN + sum(widths[above] + _ACROSS for above in range(depth)) for depth in widths}
    across = max((lefts[box.depth] + _width(box.twig) for box in boxes), default=0) + _MARGIN
    down = max(bottom - _MARGIN, 2 * _MARGIN)
    title = "Decision tree of " + ", ".join(twig.text for twig in twigs)
    # Lines first, those of the way last of them, so that nothing lies over it.
    lines = sorted((line for root in roots for line in _lines(root, lefts)), key=lambda line: 'class="' in line)
    parts = [*lines, *(_drawn(box, lefts[box.depth]) for box in boxes)]
    return drawing(title, (across, down), _STYLE, parts)


def _placed(twig: Twig, depth: int, top: float) -> tuple[_Box, float]:
    """The twig with all that hangs on it from `top` on, and where the next one may begin."""
    boxes: list[_Box] = []
    bottom = top
    for each in twig.twigs:
        box, bottom = _placed(each, depth + 1, bottom)
        boxes.append(box)
    own = top + _height(twig)
    middle = (boxes[0].middle + boxes[-1].middle) / 2 if boxes else top + _height(twig) / 2
    middle = max(middle, top + _height(twig) / 2)
    return _Box(twig, depth, middle, tuple(boxes)), max(bottom, own + _BETWEEN)


def _all(box: _Box) -> Iterator[_Box]:
    yield box
    for each in box.boxes:
        yield from _all(each)


def _lines(box: _Box, lefts: dict[int, float]) -> Iterator[str]:
    start = lefts[box.depth] + _width(box.twig)
    for each in box.boxes:
        end = lefts[each.depth]
        bend = end - _ACROSS / 2
        way = f' class="{_WAYS[each.twig.mark]}"' if each.twig.mark in _WAYS else ""
        yield (
            f'<path{way} d="M{start:.1f} {box.middle:.1f}H{end - _ACROSS:.1f}'
            f'C{bend:.1f} {box.middle:.1f} {bend:.1f} {each.middle:.1f} {end:.1f} {each.middle:.1f}"/>'
        )
        yield from _lines(each, lefts)


def _drawn(box: _Box, left: float) -> str:
    twig = box.twig
    top = box.middle - _height(twig) / 2
    full = ": ".join(filter(None, (twig.mark.value, twig.text, twig.note)))
    note = f'<text class="note" x="{left + _PADDING:.1f}" y="{top + 36:.1f}">{said(_short(twig.note))}</text>'
    return (
        f'<g class="{_KINDS[twig.kind]}{_MARKS[twig.mark]}"><title>{said(full)}</title>'
        f'<rect class="box" x="{left:.1f}" y="{top:.1f}" width="{_width(twig):.1f}" height="{_height(twig)}" rx="5"/>'
        f'<text class="words" x="{left + _PADDING:.1f}" y="{top + 18.5:.1f}">{said(_words(twig))}</text>'
        f"{note if twig.note else ''}</g>"
    )


def _words(twig: Twig) -> str:
    return _short(_SIGNS.get(twig.mark, "") + twig.text)


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _width(twig: Twig) -> float:
    return 2 * _PADDING + max(len(_words(twig)) * LETTER, len(_short(twig.note)) * SMALL)


def _height(twig: Twig) -> int:
    return _HIGH if twig.note else _LOW
