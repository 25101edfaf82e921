"""Fixing: entries of lists taken out of a text or put into it. Everything else, comments among it, stays to the letter."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from authz.span import Path, Span
from parser import yaml_nodes, yaml_scalars
from parser.diagnostics import PolicySyntaxError
from parser.edits import Addition, Edit, Removal
from parser.problems import Problems
from parser.source import Source
from parser.ward_remarks import ward_comments
from parser.ward_text import is_ward
from parser.yaml_nodes import Node, parse_documents
from parser.yaml_remarks import yaml_comments
from parser.yaml_text import read_text

__all__ = ["fixed"]


class _Entry(NamedTuple):
    """An entry of a list, by its number and the places of all. `block` is whether each is behind a dash."""

    number: int
    places: Sequence[tuple[int, int]]
    block: bool


class _Change(NamedTuple):
    """What to put in the place of a part of the text."""

    start: int
    end: int
    text: str


def fixed(data: bytes, file: str, edits: Iterable[Edit]) -> bytes:
    """The file with those of `edits` made that can be, of which none touch: the same bytes where none can.

    What would lose a comment, is written in more than one line, or is repeated by an alias is left as it is, and so is the last
    entry of a list. Edits that came of another text than this one do not fit it, and are left out, too.

    Raises:
        PolicySyntaxError: The file cannot be read.
    """
    source = read_text(data, file)
    if not isinstance(source, Source):
        raise PolicySyntaxError((source,))
    ward = is_ward(file, data)
    entries = _entries(data, file, ward=ward)
    wanted = [(entries[edit.span], edit) for edit in dict.fromkeys(edits) if edit.span in entries]
    gone = Counter(entry.places[0] for entry, edit in wanted if isinstance(edit, Removal))
    changes: list[_Change] = []
    for entry, edit in wanted:
        if isinstance(edit, Removal) and gone[entry.places[0]] == len(entry.places):
            continue
        change = _change(source.text, entry, edit)
        if change is not None:
            changes.append(change)
    mark = data[: len(data) - len(source.text.encode())]
    text = _apply(source.text, changes)
    return mark + text.encode() if _comments(text, file, ward=ward) == _comments(source.text, file, ward=ward) else data


def _apply(text: str, changes: Iterable[_Change]) -> str:
    done: list[str] = []
    position = 0
    for start, end, new in sorted(changes, key=lambda change: change[:2]):
        if start >= position:
            done += (text[position:start], new)
            position = end
    return "".join((*done, text[position:]))


def _comments(text: str, file: str, *, ward: bool) -> Counter[str]:
    if ward:
        return Counter(comment.text for comment in ward_comments(text))
    roots = parse_documents(text.encode(), file)[0]
    return Counter(comment.text for comment in yaml_comments(text, roots) if comment.text)


# Where entries are --------------------------------------------------------------------------------------------------------


def _entries(data: bytes, file: str, *, ward: bool) -> dict[Span, _Entry]:
    """The entries of all lists of texts by their spans, but for those that are repeated."""
    found = list(_in_ward(data, file) if ward else _in_yaml(data, file))
    often = Counter(span for span, _ in found)
    return {span: entry for span, entry in found if often[span] == 1}


def _in_yaml(data: bytes, file: str) -> Iterator[tuple[Span, _Entry]]:
    for root in parse_documents(data, file)[0]:
        yield from _below(root)


def _below(node: Node) -> Iterator[tuple[Span, _Entry]]:
    match node:
        case yaml_nodes.Mapping(entries=entries):
            for value in entries.values():
                yield from _below(value)
        case yaml_nodes.Sequence(items=items):
            places = [(item.start, item.end) for item in items]
            block = not node.source.text.startswith("[", node.start)
            for number, item in enumerate(items):
                if isinstance(item, yaml_nodes.Scalar):
                    yield item.span, _Entry(number, places, block)
                else:
                    yield from _below(item)
        case _:
            pass


def _in_ward(data: bytes, file: str) -> Iterator[tuple[Span, _Entry]]:
    from parser.ward import said_in  # noqa: PLC0415  # its grammar is paid for by who uses it

    for said in said_in(data, file, Problems()):
        lists: dict[Path, list[tuple[int, int]]] = defaultdict(list)
        for path, place in said.spans.positions.items():
            if path and isinstance(path[-1], int):
                lists[path[:-1]].append(place)
        for path, (start, end) in said.spans.positions.items():
            if path and isinstance(path[-1], int):
                yield said.spans.source.span(start, end), _Entry(path[-1], lists[path[:-1]], block=False)


# What to write ------------------------------------------------------------------------------------------------------------


def _change(text: str, entry: _Entry, edit: Edit) -> _Change | None:
    start, end = entry.places[entry.number]
    if "\n" in text[start:end] or not text[start:end].strip():
        return None
    line, line_end = text.rfind("\n", 0, start) + 1, _line_end(text, end)
    match edit:
        case Addition(_, value) if entry.block:
            dash = _DASH.fullmatch(text[line:start])
            if dash is None:
                return None
            newline = "\r\n" if text.startswith("\r\n", line_end) else "\n"
            return _Change(line_end, line_end, f"{newline}{dash[0]}{_written(value, text[start])}")
        case Addition(_, value):
            return _Change(end, end, f", {_written(value, text[start])}")
        case Removal() if entry.block:
            return _without_line(text, (line, start, end, line_end))
        case Removal():
            return _without_item(text, entry)


_DASH = re.compile(r"[ \t]*-[ \t]+")
_PLAIN = re.compile(r"[A-Za-z/][-A-Za-z0-9_./]*")


def _line_end(text: str, position: int) -> int:
    found = _LINE_END.search(text, position)
    return len(text) if found is None else found.start()


_LINE_END = re.compile(r"\r?\n")


def _written(value: str, quote: str) -> str:
    """A value as it is written beside one that begins with `quote`."""
    if quote == "'" and "'" not in value and value.isprintable():
        return f"'{value}'"
    plain = _PLAIN.fullmatch(value) is not None and isinstance(yaml_scalars.resolve(value), str)
    if quote != '"' and plain:
        return value
    return json.dumps(value, ensure_ascii=False)


def _without_line(text: str, places: tuple[int, int, int, int]) -> _Change | None:
    line, start, end, line_end = places
    dash = _DASH.fullmatch(text[line:start])
    rest = text[end:line_end]
    if dash is None or rest.strip()[:1] not in ("", "#"):
        return None
    if rest.strip():
        # The comment stays, in a line of its own.
        return _Change(line + len(dash[0]) - len(dash[0].lstrip()), end + len(rest) - len(rest.lstrip()), "")
    after = _LINE_END.match(text, line_end)
    return _Change(line, line_end if after is None else after.end(), "")


def _without_item(text: str, entry: _Entry) -> _Change | None:
    number, places, _ = entry
    start, end = places[number]
    if number + 1 < len(places):
        following = places[number + 1][0]
        between = text[end:following]
        if between.strip() == ",":
            return _Change(start, end + between.index(",") + 1 if "\n" in between else following, "")
        return None
    before = places[number - 1][1]
    return _Change(before, end, "") if text[before:start].strip() == "," else None
