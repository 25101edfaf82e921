"""YAML text to a tree of nodes that know their places.

The tree is built from the events of a YAML parser, without its constructors: no tag makes an object, an alias costs what it
expands to, and depth is bounded, so no document can hurt whoever reads it. The parser is libyaml, which PyYAML brings along.
There is no second one to fall back to: PyYAML's own reads tabs and escapes differently, and a policy has one meaning.
"""

import re
from collections.abc import Iterator
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]  # the stub does not re-export it
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from authz.span import Span
from parser import yaml_scalars
from parser.diagnostics import Diagnostic, quoted
from parser.excerpt import visible
from parser.problems import Problems, nearest
from parser.source import Source
from parser.yaml_errors import RENDER_FIRST, TEMPLATE, explain
from parser.yaml_text import Chunk, chunks, first_forbidden, is_blank, read_text

__all__ = [
    "MAX_DEPTH",
    "MAX_DOCUMENTS",
    "MAX_EXPANDED",
    "MAX_NODES",
    "Mapping",
    "Node",
    "Scalar",
    "Sequence",
    "Value",
    "described",
    "documents",
    "parse_documents",
    "to_data",
]

MAX_DEPTH = 64
"""Mappings and lists inside each other. Kubernetes' deepest schemas stay below 30, and readers of the tree may recurse."""

MAX_NODES = 2_000_000
"""Values in one file: what a file of the greatest size holds at eight characters each, some 500 MB of memory at worst."""

MAX_EXPANDED = 100_000
"""Values in one document that aliases repeat. Manifests repeat a handful; ten lines of aliases can repeat a billion."""

MAX_DOCUMENTS = 50_000
"""Documents in one file: each costs its own parser."""


T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def _node(cls: type[T], /) -> type[T]:
    """Make `cls` read-only to the type checkers only, as `authz.record` does: there are dozens of nodes in each policy.

    Frozen at run time they would cost a fifth of the reading. They compare by identity and do not print what is in them,
    for depth and aliases would make either costly.
    """
    return dataclass(slots=True, eq=False, repr=False)(cls)


@_node
class Scalar:
    """A single value. `text` is what was written, without quotes and escapes; `plain` is whether it had no quotes."""

    text: str
    plain: bool
    source: Source
    start: int
    end: int

    @property
    def span(self) -> Span:
        """Its place."""
        return self.source.span(self.start, self.end)

    @property
    def value(self) -> yaml_scalars.Plain:
        """What it stands for: without quotes, `8080` is a number and `on` is true."""
        return yaml_scalars.resolve(self.text) if self.plain else self.text


@_node
class Sequence:
    """A list."""

    items: "tuple[Node, ...]"
    source: Source
    start: int
    end: int

    @property
    def span(self) -> Span:
        """Its place, from the first item to the last."""
        return self.source.span(self.start, self.end)


@_node
class Mapping:
    """A mapping. `keys` holds the keys of `entries` as they were written, with their places."""

    entries: "AbstractMapping[str, Node]"
    keys: AbstractMapping[str, Scalar]
    source: Source
    start: int
    end: int

    @property
    def span(self) -> Span:
        """Its place, from the first key to the last value."""
        return self.source.span(self.start, self.end)


Node = Mapping | Sequence | Scalar
Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]


def parse_documents(data: bytes, file: str) -> tuple[list[Node], list[Diagnostic]]:
    """Every document in `data` that can be read, and all that is wrong with the others.

    Documents without content are left out. A document that holds the same key twice is there, with the first of the two.
    """
    problems = Problems()
    nodes = list(documents(data, file, problems))
    return nodes, list(problems.diagnostics)


def documents(data: bytes, file: str, problems: Problems) -> Iterator[Node]:
    """As `parse_documents`, one document at a time, so that only one of them need be in memory."""
    source = read_text(data, file)
    if isinstance(source, Diagnostic):
        problems.add(source)
        return
    reader = _Reader(source, problems)
    forbidden = first_forbidden(source.text, 0, len(source.text)) is not None
    for count, chunk in enumerate(chunks(source.text)):
        if count == MAX_DOCUMENTS:
            span = source.span(chunk.start, chunk.start)
            problems.error(
                "too-many-documents", f"more than {MAX_DOCUMENTS:,} documents in one file", span, help=_SPLIT
            )
            return
        if is_blank(source.text, chunk):
            continue
        if forbidden and reader.refuses_characters(chunk):
            continue
        try:
            yield from reader.read(chunk)
        except _RefusedError as refused:
            problems.add(refused.diagnostic)
            if isinstance(refused, _FileRefusedError):
                return
        if problems.full:
            return


def to_data(node: Node) -> Value:
    """`node` as plain data, aliases expanded."""
    match node:
        case Scalar():
            return node.value
        case Sequence(items=items):
            return [to_data(item) for item in items]
        case Mapping(entries=entries):
            return {key: to_data(value) for key, value in entries.items()}


_SPLIT = "split the file"
_TAG = "tag:yaml.org,2002:"
_STRING_TAGS = frozenset({"!", _TAG + "str"})
_VALUE_TAGS: AbstractMapping[str, tuple[type, ...]] = {
    _TAG + "null": (type(None),),
    _TAG + "bool": (bool,),
    _TAG + "int": (int,),
    _TAG + "float": (int, float),
}


class _RefusedError(Exception):
    """The document cannot be read."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class _FileRefusedError(_RefusedError):
    """The document cannot be read, and neither can what follows it."""


# A mapping or list that is not at its end yet, and what is needed to carry on with the one around it: the children of that
# one, where it started itself, its anchor, the nodes counted before its first, the height of the other, whether it is in flow
# style. A bare tuple, for there is one for each mapping and list.
_Open = tuple["list[Node]", int, str | None, int, int, bool]


@dataclass(frozen=True, slots=True)
class _Anchored:
    """A node that aliases can repeat, with the number of nodes in it and how deep they are."""

    node: Node
    size: int
    height: int


class _Reader:
    """Reads the documents of one file."""

    def __init__(self, source: Source, problems: Problems) -> None:
        self._source = source
        self._problems = problems
        self._nodes = 0

    def refuses_characters(self, chunk: Chunk) -> bool:
        """Whether the document holds a character that YAML does not allow; then a problem says which."""
        position = first_forbidden(self._source.text, *chunk)
        if position is None:
            return False
        character = self._source.text[position]
        match character:
            case "\0":
                message, remedy = "NUL character", "remove it; if the file is UTF-16, save it as UTF-8"
            case "\ufeff":
                message = "byte order mark in the middle of the text"
                remedy = "remove it; it hides where a file that began with one was appended to another"
            case _:
                message, remedy = (
                    f"control character U+{ord(character):04X}",
                    "remove it, or write it escaped in double quotes",
                )
        self._problems.error("control-character", message, self._source.span(position, position + 1), help=remedy)
        return True

    def read(self, chunk: Chunk) -> list[Node]:
        """The documents in `chunk`: one, unless a line ends in it that only YAML takes for one.

        Raises:
            _RefusedError: It cannot be read to its end.
        """
        read = []
        parser = CParser(self._source.text[chunk.start : chunk.end])
        try:
            event = parser.get_event()
            while type(event) is not StreamEndEvent:
                if type(event) is DocumentStartEvent:
                    read.append(self._document(parser, chunk))
                event = parser.get_event()
        except (yaml.YAMLError, UnicodeError) as error:  # a tag's percent escapes may decode to no text at all
            raise _RefusedError(explain(error, self._source, chunk)) from error
        return read

    def _document(self, parser: CParser, chunk: Chunk) -> Node:  # noqa: C901, PLR0912, PLR0915  # the hot loop of loading, where a call an event would cost a third more
        """The next document, from the events that follow its start."""
        source, offset = self._source, chunk.start
        get_event = parser.get_event
        nodes, expanded = self._nodes, 0
        anchors: dict[str, _Anchored | None] = {}
        open_nodes: list[_Open] = []
        children: list[Node] = []
        height = 0  # of the tallest child so far
        end = 0  # of the last value so far
        node: Node
        while True:
            event: Any = get_event()  # the stubs take every mark for optional, and know no event by its type
            kind = type(event)
            if kind is ScalarEvent:
                start, end = event.start_mark.index + offset, event.end_mark.index + offset
                style = event.style
                if style and style in "|>":
                    end = _without_trailing_space(source.text, start, end)
                if event.tag is None:
                    node = Scalar(event.value, not style, source, start, end)
                else:
                    node = self._tagged(event.value, event.tag, start, end)
                nodes += 1
                children.append(node)
                if event.anchor is not None:
                    anchors[event.anchor] = _Anchored(node, 1, 0)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                start = event.start_mark.index + offset
                if len(open_nodes) >= MAX_DEPTH:
                    raise _RefusedError(self._too_deep(start))
                if event.tag is not None:
                    self._check_collection_tag(event.tag, "map" if kind is MappingStartEvent else "seq", start)
                if event.anchor is not None:
                    anchors[event.anchor] = None
                nodes += 1
                open_nodes.append((children, start, event.anchor, nodes + expanded, height, event.flow_style))
                children, height = [], 0
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                around, start, anchor, nodes_before, height_around, flow = open_nodes.pop()
                # A block ends where its last value does; the parser would say: where the next token begins.
                if flow or not children:
                    end = event.end_mark.index + offset
                if kind is SequenceEndEvent:
                    node = Sequence(tuple(children), source, start, end)
                else:
                    node = self._mapping(children, start, end)
                height += 1
                if anchor is not None:
                    anchors[anchor] = _Anchored(node, nodes + expanded - nodes_before + 1, height)
                height = max(height_around, height)
                children = around
                children.append(node)
            elif kind is AliasEvent:
                start, end = event.start_mark.index + offset, event.end_mark.index + offset
                anchored = self._anchored(event.anchor, anchors, start, end)
                expanded += anchored.size
                if expanded > MAX_EXPANDED:
                    raise _RefusedError(self._alias_bomb(start, end))
                if len(open_nodes) + anchored.height > MAX_DEPTH:
                    raise _RefusedError(self._too_deep(start))
                height = max(height, anchored.height)
                children.append(anchored.node)
            else:  # the end of the document
                self._nodes = nodes
                return children[0]
            if nodes > MAX_NODES:
                raise _FileRefusedError(self._too_many_nodes(event.start_mark.index + offset))

    def _mapping(self, children: list[Node], start: int, end: int) -> Mapping:
        """A mapping from its keys and values in turn."""
        keys: dict[str, Scalar] = {}
        entries: dict[str, Node] = {}
        merged: dict[str, Scalar] = {}  # the keys that a `<<` brought
        merge_key: Scalar | None = None
        values = iter(children)
        for key, value in zip(values, values, strict=True):
            if not isinstance(key, Scalar):
                self._complex_key(key)
                continue
            name = key.text
            if key.plain:
                if name == "<<":
                    if merge_key is not None:
                        self._duplicate("<<", key, merge_key)
                        continue
                    merge_key = key
                    merged = self._merge(value, key, keys, entries)
                    continue
                json_key = yaml_scalars.json_key(name)
                if json_key is None:
                    self._problems.error("null-key", "null cannot be a key", key.span, help="write a key, or quote it")
                    continue
                name = json_key
            if name in keys:
                self._duplicate(name, key, keys[name])
                continue
            keys[name] = key
            entries[name] = value
        if merged:
            keys = merged | keys
        return Mapping(entries, keys, self._source, start, end)

    def _merge(
        self, value: Node, merge_key: Scalar, keys: dict[str, Scalar], entries: dict[str, Node]
    ) -> dict[str, Scalar]:
        """Put the entries of `value` under `entries` and return their keys.

        Keys written after `<<` win over merged ones everywhere. Of a key before it Kubernetes' reader keeps the merged
        value, and the others the written one, so that is refused.
        """
        merged: dict[str, Scalar] = {}
        parts = value.items if isinstance(value, Sequence) else (value,)
        for part in reversed(parts):  # of several, the first wins
            if not isinstance(part, Mapping):
                self._problems.error(
                    "bad-merge",
                    "`<<` takes a mapping or a list of mappings",
                    merge_key.span,
                    help="give it an alias: `<<: *name`",
                )
                return merged
            for name, node in part.entries.items():
                if name in keys:
                    self._problems.error(
                        "ambiguous-merge",
                        f"`<<` brings the key {quoted(name)}, which stands before it, and readers differ on which of the two counts",
                        merge_key.span,
                        help="put `<<` first in its mapping: then the keys after it count",
                    )
                    continue
                entries[name] = node
                merged[name] = part.keys[name]
        return merged

    def _duplicate(self, name: str, key: Scalar, first: Scalar) -> None:
        # Two manifests run together, as `cat *.yaml` does, is what makes this one come twice.
        run_together = name == "apiVersion" and key.span.column == 1
        self._problems.error(
            "duplicate-key",
            f"key {quoted(name)} is here twice; the first is in line {first.span.line}",
            key.span,
            help="write `---` in a line of its own between two manifests"
            if run_together
            else "remove one of them, or make one list or mapping of both",
        )

    def _complex_key(self, key: Node) -> None:
        text = self._source.text
        if text.startswith("{", key.start) and text.startswith("{", key.start - 1):
            raise _RefusedError(
                Diagnostic("template", TEMPLATE, self._source.span(key.start - 1, key.end + 1), help=RENDER_FIRST)
            )
        self._problems.error(
            "complex-key",
            f"expected a string as key, got {described(key)}",
            key.span,
            help="quote it, if it is meant as text",
        )

    def _tagged(self, text: str, tag: str, start: int, end: int) -> Scalar:
        if tag in _STRING_TAGS:
            return Scalar(text, False, self._source, start, end)  # noqa: FBT003  # in the order of the fields, as everywhere here
        types = _VALUE_TAGS.get(tag)
        if types is None:
            raise _RefusedError(self._foreign_tag(tag, start))
        node = Scalar(text, True, self._source, start, end)  # noqa: FBT003  # as above
        if type(node.value) not in types:
            raise _RefusedError(
                Diagnostic(
                    "bad-tag",
                    f"{quoted(text)} is not what its tag {quoted(_short(tag))} says",
                    self._source.span(start, end),
                    help="remove the tag",
                )
            )
        return node

    def _check_collection_tag(self, tag: str, own: str, start: int) -> None:
        if tag not in ("!", _TAG + own):
            raise _RefusedError(self._foreign_tag(tag, start))

    def _foreign_tag(self, tag: str, start: int) -> Diagnostic:
        found = _WRITTEN_TAG.search(self._source.text, start)
        span = self._source.span(*(found.span() if found is not None else (start, start)))
        return Diagnostic(
            "foreign-tag", f"tag {quoted(_short(tag))} is not read", span, help="remove it; manifests need no tags"
        )

    def _anchored(self, name: str, anchors: dict[str, _Anchored | None], start: int, end: int) -> _Anchored:
        anchored = anchors.get(name)
        if anchored is not None:
            return anchored
        span = self._source.span(start, end)
        if name in anchors:
            message, remedy = (
                f"alias {quoted('*' + name)} stands inside what it repeats",
                "an alias can repeat only what is complete",
            )
            raise _RefusedError(Diagnostic("recursive-alias", message, span, help=remedy))
        near = nearest(name, anchors)
        remedy = (
            f"did you mean `*{near}`?"
            if near
            else "anchors (`&name`) count within their document, for what follows them"
        )
        raise _RefusedError(
            Diagnostic("unknown-alias", f"no anchor {quoted('&' + name)} before this", span, help=remedy)
        )

    def _alias_bomb(self, start: int, end: int) -> Diagnostic:
        return Diagnostic(
            "alias-bomb",
            f"the aliases of this document repeat more than {MAX_EXPANDED:,} values",
            self._source.span(start, end),
            help="write out what is needed",
        )

    def _too_deep(self, start: int) -> Diagnostic:
        return Diagnostic(
            "too-deep",
            f"more than {MAX_DEPTH} mappings and lists inside each other",
            self._source.span(start, start + 1),
            help="no Kubernetes object is that deep; look for a bracket that is not closed",
        )

    def _too_many_nodes(self, start: int) -> Diagnostic:
        return Diagnostic(
            "too-many-values",
            f"more than {MAX_NODES:,} values in one file",
            self._source.span(start, start),
            help=_SPLIT,
        )


_WRITTEN_TAG = re.compile(r"!\S*")


_LONG = 80


def described(node: Node) -> str:
    """What `node` is, in the words of YAML."""
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar(value=None):
            return "null"
        case Scalar(value=bool(), text=text):
            return f"the boolean {text}"
        case Scalar(value=int() | float(), text=text):
            return f"the number {visible(text[:_LONG])}"
        case Scalar(text=text):
            return f"the string {quoted(text)}"


def _short(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag


def _without_trailing_space(text: str, start: int, end: int) -> int:
    """Where a block scalar ends to the eye: the parser counts the empty lines after it, too."""
    return start + len(text[start:end].rstrip())
