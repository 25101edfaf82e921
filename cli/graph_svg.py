"""The graph of who may call whom as a picture: a band for each namespace, and lines from left to right.

A line ends at the words that say what it allows, inside the box of the workload that is called; so no words lie on lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from cli.graph import open_to, words_of
from cli.svg import LETTER, SMALL, drawing, said, style
from mesh.access.graph import Edge, Graph, Node

__all__ = ["svg_of_graph"]

_MARGIN, _PADDING, _ACROSS, _BETWEEN = 24, 12, 90, 16
_TITLE, _ROW = 28, 18
_WIDEST = 72

_SHAPES = """\
path{fill:none;stroke-width:1.6}
.name,.band text{font-weight:700}
.band rect{stroke-dasharray:1 3}
.depends{stroke-dasharray:5 4}
.node rect{stroke-width:1.3}
.open rect{stroke-width:3}
.outside rect{stroke-dasharray:5 3}
"""
_COLOURS = """\
text{fill:INK}.note{fill:DIM}
.paper{fill:PAPER}.node rect{fill:CARD;stroke:LINE}
.band rect{fill:none;stroke:DIM}.band text{fill:DIM}
.open rect{stroke:OTHER}.open .warn{fill:OTHER}
path.allowed{stroke:ALLOW}path.depends{stroke:OTHER}
path.tip{stroke-dasharray:none}
"""
_STYLE = style(_SHAPES, _COLOURS)


@dataclass(frozen=True, slots=True)
class _Box:
    """A node in its place, with its lines of words; `coming` are the edges that end at the last of them."""

    node: Node
    open: tuple[str, ...]
    coming: tuple[Edge, ...]
    left: float
    top: float

    @property
    def rows(self) -> tuple[str, ...]:
        return (*self.open, *(_short(f"{edge.source}: {words_of(edge.what)}") for edge in self.coming))

    @property
    def width(self) -> float:
        return 2 * _PADDING + max(len(self.node.name) * LETTER, *(len(row) * SMALL for row in self.rows), 0)

    @property
    def height(self) -> float:
        return _TITLE + _ROW * len(self.rows)

    def entry(self, edge: Edge) -> float:
        """How far down a line ends."""
        return self.top + _TITLE + _ROW * (len(self.open) + self.coming.index(edge) + 0.5) - 4


def svg_of_graph(graph: Graph) -> str:
    """The picture."""
    boxes, bands, across, down = _placed(graph)
    parts = [
        *bands,
        *(line for edge in graph.edges for line in _line(boxes[edge.source], boxes[edge.target], edge)),
        *map(_drawn, boxes.values()),
    ]
    return drawing("Who may call whom", (across, down), _STYLE, parts)


def _placed(graph: Graph) -> tuple[dict[str, _Box], list[str], float, float]:
    ranks = _ranks(graph)
    made = {
        node.name: _Box(
            node,
            tuple(_short(f"{who}: {what}") for who, what in open_to(node)),
            tuple(edge for edge in graph.edges if edge.target == node.name),
            0,
            0,
        )
        for node in graph.nodes
    }
    widths: dict[int, float] = {}
    for name, box in made.items():
        widths[ranks[name]] = max(widths.get(ranks[name], 0), box.width)
    left = _MARGIN + _PADDING
    lefts = {rank: left + sum(widths[less] + _ACROSS for less in widths if less < rank) for rank in widths}
    across = max((lefts[rank] + widths[rank] for rank in widths), default=0) + _PADDING + _MARGIN
    boxes: dict[str, _Box] = {}
    bands: list[str] = []
    top = float(_MARGIN)
    for namespace, nodes in groupby(graph.nodes, key=lambda node: node.namespace):
        start, first = top, top + _TITLE
        bottoms: dict[int, float] = {}
        for node in nodes:
            box, rank = made[node.name], ranks[node.name]
            at = bottoms.get(rank, first)
            boxes[node.name] = _Box(box.node, box.open, box.coming, lefts[rank], at)
            bottoms[rank] = at + box.height + _BETWEEN
        top = max(bottoms.values())
        bands.append(_band(namespace or "outside the manifests", start, across - 2 * _MARGIN, top - start))
        top += _MARGIN
    return boxes, bands, across, max(top, 2 * _MARGIN)


def _ranks(graph: Graph) -> dict[str, int]:
    """How far to the right each node stands: behind whoever calls it, but for calls in a circle."""
    callers: dict[str, list[str]] = {node.name: [] for node in graph.nodes}
    for edge in graph.edges:
        callers[edge.target].append(edge.source)
    ranks: dict[str, int] = {}
    for start, its in callers.items():
        # Without recursion, for a chain of calls may be longer than a stack.
        way: list[tuple[str, Iterator[str]]] = [(start, iter(its))] if start not in ranks else []
        on_way = {start}
        while way:
            name, rest = way[-1]
            following = next((each for each in rest if each not in ranks and each not in on_way), None)
            if following is None:
                ranks[name] = 1 + max((ranks[each] for each in callers[name] if each in ranks), default=-1)
                on_way.discard(name)
                way.pop()
            else:
                way.append((following, iter(callers[following])))
                on_way.add(following)
    return ranks


def _band(name: str, top: float, width: float, height: float) -> str:
    return (
        f'<g class="band"><rect x="{_MARGIN}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" rx="8"/>'
        f'<text x="{_MARGIN + _PADDING}" y="{top + 18:.1f}">{said(name)}</text></g>'
    )


def _line(source: _Box, target: _Box, edge: Edge) -> Sequence[str]:
    x, y = source.left + source.width, source.top + _TITLE / 2
    end, down = target.left, target.entry(edge)
    bend = max(_ACROSS / 2, abs(end - x) / 3)
    kind = "allowed" if edge.what.allowed else "depends"
    title = said(f"{edge.source} to {edge.target}: {'; '.join((*edge.what.allowed, *edge.what.depends))}")
    way = f"M{x:.1f} {y:.1f}C{x + bend:.1f} {y:.1f} {end - bend:.1f} {down:.1f} {end:.1f} {down:.1f}"
    return (
        f'<path class="{kind}" d="{way}"><title>{title}</title></path>',
        f'<path class="{kind} tip" d="M{end - 7:.1f} {down - 4:.1f}L{end:.1f} {down:.1f}L{end - 7:.1f} {down + 4:.1f}"/>',
    )


def _drawn(box: _Box) -> str:
    left, top = box.left, box.top
    kind = "node outside" if box.node.namespace is None else "node open" if box.open else "node"
    rows = (
        f'<text class="{"note warn" if number < len(box.open) else "note"}" x="{left + _PADDING:.1f}" '
        f'y="{top + _TITLE + _ROW * (number + 0.5):.1f}">{said(row)}</text>'
        for number, row in enumerate(box.rows)
    )
    return (
        f'<g class="{kind}"><title>{said(box.node.name)}</title>'
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="5"/>'
        f'<text class="name" x="{left + _PADDING:.1f}" y="{top + 18:.1f}">{said(box.node.name)}</text>{"".join(rows)}</g>'
    )


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
