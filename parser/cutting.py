"""Cutting: entries of YAML lists taken out of a text with all their lines, and what is written in them."""

from collections.abc import Iterable

from authz.span import Path, Span
from parser.edits import Removal
from parser.fixing import fixed
from parser.problems import Problems
from parser.yaml_nodes import Node, documents
from parser.yaml_spans import node_at

__all__ = ["CannotCutError", "cut"]


class CannotCutError(Exception):
    """An entry that stands in a line with other things, so that it cannot be cut out of the text; `span` is its place."""

    def __init__(self, span: Span) -> None:
        super().__init__(f"{span}: this entry shares its lines with others, and is to be taken out by hand")
        self.span = span


def cut(data: bytes, file: str, entries: Iterable[tuple[Span, Path]]) -> bytes:
    """The file without these entries, each by the place of its document and its path in it. Comments in their lines go with them.

    Raises:
        CannotCutError: One cannot be cut out.
    """
    roots = {root.span: root for root in documents(data, file, Problems())}
    removals: list[Removal] = []
    lines: set[int] = set()
    text = data.decode("utf-8-sig").splitlines(keepends=True)
    for document, path in entries:
        node = node_at(roots[document], path) if document in roots else None
        if node is None:
            raise CannotCutError(document)
        span = node.span
        if span.line == span.end_line and not isinstance(path[-2], int) and _in_brackets(roots[document], path):
            removals.append(Removal(span))
        elif text[span.line - 1][: span.column - 1].strip() == "-" and span.column > 1:
            lines.update(range(span.line, _last_line(node) + 1))
        else:
            raise CannotCutError(span)
    after = fixed(data, file, removals) if removals else data
    if removals and after == data:
        raise CannotCutError(removals[0].span)
    kept = after.decode("utf-8-sig").splitlines(keepends=True)
    return "".join(line for number, line in enumerate(kept, start=1) if number not in lines).encode()


def _in_brackets(root: Node, path: Path) -> bool:
    around = node_at(root, path[:-1])
    return around is not None and around.source.text.startswith("[", around.start)


def _last_line(node: Node) -> int:
    """The line in which a node ends; what ends with a line break ends in the line before."""
    span = node.span
    return span.end_line - 1 if span.end_column == 1 and span.end_line > span.line else span.end_line
