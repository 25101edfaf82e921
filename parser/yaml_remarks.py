"""The comments of a YAML document, and what they are about."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

from authz.span import Path
from parser import yaml_nodes
from parser.remarks import Anchor, Comment, Remark, attach
from parser.yaml_nodes import Node, Scalar

__all__ = ["yaml_comments", "yaml_remarks"]

# A comment, or an empty line. The reader takes more for the end of a line than others do.
_COMMENT = re.compile("(?<!\\S)#[^\r\n\x85\u2028\u2029]*|(?<=\n)[ \t]*(?=\r?\n)")
_BLOCK_HEADER = re.compile(r"[|>][-+0-9]*[ \t]+(?=#)")


def yaml_remarks(root: Node, start: int, end: int) -> tuple[Remark, ...]:
    """The comments between two positions around `root`, which must hold no alias, by the values that they are about."""
    comments = tuple(yaml_comments(root.source.text, (root,), start, end))
    anchors = _anchors(root, (), [comment.start for comment in comments])
    ordered = sorted(anchors, key=lambda anchor: (anchor.start, len(anchor.path)))
    return tuple(attach(comments, ordered, dashes=True))


def yaml_comments(text: str, roots: Iterable[Node], start: int = 0, end: int | None = None) -> Iterator[Comment]:
    """The comments and empty lines between two positions in `text`, of which `roots` are the documents there."""
    position, end = start, len(text) if end is None else end
    for begin, after in sorted({(each.start, each.end) for root in roots for each in _scalars(root)}):
        yield from _between(text, position, max(position, begin))
        header = _BLOCK_HEADER.match(text, begin, after)
        if header is not None:
            yield from _between(text, header.end(), text.index("\n", begin))
        position = max(position, after)
    yield from _between(text, position, end)


def _between(text: str, start: int, end: int) -> Iterator[Comment]:
    for found in _COMMENT.finditer(text, start, end):
        line = text.rfind("\n", 0, found.start()) + 1
        before = text[line : found.start()]
        # Behind the dash of an item, it is as good as before it.
        own_line = not before.strip(" \t-")
        column = len(before) - len(before.lstrip()) if before.strip() else len(before)
        yield Comment(found.start(), column, found[0].rstrip(), own_line)


def _scalars(node: Node) -> Iterator[Scalar]:
    match node:
        case Scalar():
            yield node
        case yaml_nodes.Mapping(entries=entries, keys=keys):
            yield from keys.values()
            for value in entries.values():
                yield from _scalars(value)
        case yaml_nodes.Sequence(items=items):
            for item in items:
                yield from _scalars(item)


def _anchors(node: Node, path: Path, comments: Sequence[int]) -> Iterator[Anchor]:
    """Every value that one of the `comments`, by their starts, can be about.

    What stands between brackets is none, unless a comment is there, too.
    """
    text = node.source.text
    commented = bisect_right(comments, node.start) < bisect_left(comments, node.end)
    if text.startswith(("{", "["), node.start) and not commented:
        return
    match node:
        case Scalar():
            pass
        case yaml_nodes.Mapping(entries=entries, keys=keys):
            for key, value in entries.items():
                start = keys[key].start
                yield Anchor(start, start - text.rfind("\n", 0, start) - 1, (*path, key))
                yield from _anchors(value, (*path, key), comments)
        case yaml_nodes.Sequence(items=items):
            # All of its dashes are where the first one is.
            column = node.start - text.rfind("\n", 0, node.start) - 1
            for index, item in enumerate(items):
                yield Anchor(item.start, column, (*path, index))
                yield from _anchors(item, (*path, index), comments)
