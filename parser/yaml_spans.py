"""Where the values of a document are, by the paths that lead to them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from authz.span import Path, Span
from parser import yaml_nodes
from parser.source import Source
from parser.yaml_nodes import Node, Sequence

__all__ = ["Spans", "node_at"]


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


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Spans(Mapping[Path, Span]):
    """The place of every value of a document, keys being paths from its root.

    Kept as positions, and worked out to lines and columns when they are asked for: few ever are, and a policy has dozens.
    Tuples of numbers and strings cost the garbage collector nothing; nodes would cost it a third of the loading.
    """

    source: Source
    positions: Mapping[Path, tuple[int, int]]

    @classmethod
    def of(cls, root: Node) -> "Spans":
        """The places of `root` and of all that is in it."""
        positions: dict[Path, tuple[int, int]] = {}
        _collect(root, (), positions)
        return cls(root.source, positions)

    def __getitem__(self, path: Path) -> Span:
        return self.source.span(*self.positions[path])

    def __iter__(self) -> Iterator[Path]:
        return iter(self.positions)

    def __len__(self) -> int:
        return len(self.positions)


def _collect(node: Node, path: Path, positions: dict[Path, tuple[int, int]]) -> None:
    positions[path] = (node.start, node.end)
    if isinstance(node, yaml_nodes.Mapping):
        for key, value in node.entries.items():
            _collect(value, (*path, key), positions)
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            _collect(item, (*path, index), positions)
