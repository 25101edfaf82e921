"""Where the values of a document are, by the paths that lead to them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from authz.span import Path, Span
from parser import yaml_nodes
from parser.yaml_nodes import Node, Sequence

__all__ = ["Spans", "node_at", "span_at"]


def node_at(node: Node, path: Path) -> Node | None:
    """The value that `path` leads to from `node`; none where it leads nowhere."""
    for step in path:
        match node, step:
            case yaml_nodes.Mapping(entries=entries), str() if step in entries:
                node = entries[step]
            case Sequence(items=items), int() if 0 <= step < len(items):
                node = items[step]
            case _:
                return None
    return node


def span_at(node: Node, path: Path) -> Span | None:
    """The place of the value that `path` leads to from `node`; none where it leads nowhere."""
    found = node_at(node, path)
    return None if found is None else found.span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Spans(Mapping[Path, Span]):
    """The place of every value of a document, keys being paths from its root.

    Places are worked out when they are asked for: few ever are, and a policy has dozens.
    """

    root: Node

    def __getitem__(self, path: Path) -> Span:
        found = span_at(self.root, path)
        if found is None:
            raise KeyError(path)
        return found

    def __iter__(self) -> Iterator[Path]:
        return _paths(self.root, ())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _paths(node: Node, path: Path) -> Iterator[Path]:
    yield path
    match node:
        case yaml_nodes.Mapping(entries=entries):
            for key, value in entries.items():
                yield from _paths(value, (*path, key))
        case Sequence(items=items):
            for index, item in enumerate(items):
                yield from _paths(item, (*path, index))
        case _:
            pass
