"""Objects as YAML in one layout: keys in the order in which people read them, each level two columns further in.

What is written was read before, or is made of a policy. Of the first, single values stay as they were written, and a short list
stays in one line if it stood in one; so a file changes no more than it must.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from authz.span import Path
from parser import yaml_nodes, yaml_scalars
from parser.remarks import Remark, Side
from parser.yaml_nodes import Node, Scalar
from parser.yaml_spans import node_at

__all__ = ["WIDTH", "write_object"]

WIDTH = 100
"""Characters in a line, where it can be broken."""

_STEP = 2
# The keys of the three kinds, in the order in which siblings among them stand. Others follow, as they come.
_ORDER = {
    key: rank
    for rank, key in enumerate(
        (
            *("apiVersion", "group", "kind", "metadata", "name", "generateName", "namespace", "labels", "annotations"),
            *("spec", "selector", "targetRef", "targetRefs", "action", "provider", "rules"),
            *("from", "to", "when", "key", "values", "notValues"),
            *(
                "principals",
                "notPrincipals",
                "requestPrincipals",
                "notRequestPrincipals",
                "namespaces",
                "notNamespaces",
            ),
            *("serviceAccounts", "notServiceAccounts", "trustDomains", "notTrustDomains", "ipBlocks", "notIpBlocks"),
            *("remoteIpBlocks", "notRemoteIpBlocks"),
            *("hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"),
            *("mtls", "portLevelMtls", "jwtRules", "issuer", "audiences", "jwksUri", "jwks_uri", "jwks"),
            *("fromHeaders", "prefix", "fromParams", "fromCookies", "forwardOriginalToken", "outputPayloadToHeader"),
            *("outputClaimToHeaders", "header", "claim", "spaceDelimitedClaims", "timeout", "presence"),
        )
    )
}
# The keys below these are names that people gave, and stay in their order.
_NAMES = ("labels", "annotations", "matchLabels", "portLevelMtls", "status")
# Of what is made of a policy: the mappings that stand in one line if they fit.
_SHORT = (("matchLabels",), ("provider",), ("mtls",))

# What every reader of YAML takes for text without quotes: between brackets, and elsewhere.
_NUMERIC = r"[0-9]+(?:\.[0-9]+)?s|[0-9]+(?:\.[0-9]+){3}(?:/[0-9]+)?"
_PLAIN = re.compile(rf"[A-Za-z_/](?:[-A-Za-z0-9_./@*+%]|:(?=[^\s:]))*|{_NUMERIC}")
_PLAIN_IN_BLOCK = re.compile(rf"[A-Za-z_/](?:[-A-Za-z0-9_./@*+%\[\]]|:(?=[^\s:]))*|{_NUMERIC}")
_BLOCK_HEADER = re.compile(r"([|>]-?)[ \t]*(?:#.*)?")
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def write_object(node: yaml_nodes.Mapping, remarks: Iterable[Remark] = (), *, verbatim: bool) -> str:
    """The object as YAML, with `remarks` as comments beside what they are about.

    `verbatim` is whether it was read from YAML, so that its values can be written as they were. There must be neither
    anchors nor tags in it then.
    """
    writer = _Writer(node, remarks, verbatim=verbatim)
    return "".join(f"{line}\n" for line in writer.lines())


class _Writer:
    """Writes one object."""

    def __init__(self, root: yaml_nodes.Mapping, remarks: Iterable[Remark], *, verbatim: bool) -> None:
        self._root = root
        self._verbatim = verbatim
        self._remarks: dict[tuple[Side, Path], list[str]] = {}
        # What holds something that a comment is about does not go into one line with it.
        self._parted: set[Path] = set()
        for side, path, text in remarks:
            while (about := node_at(root, path)) is None or (side is Side.BESIDE and self._in_line(path)):
                path = path[:-1]  # noqa: PLW2901  # the next wider one
            # Beside an object or an item of a list there is no room: its line is that of its first key.
            roomless = isinstance(about, yaml_nodes.Mapping) and not (path and isinstance(path[-1], str))
            if side is Side.BESIDE and (roomless or (side, path) in self._remarks):
                side = Side.BEFORE  # noqa: PLW2901  # as near as can be
            self._remarks.setdefault((side, path), []).append(text)
            self._parted.update(path[:length] for length in range(len(path)))

    def _in_line(self, path: Path) -> bool:
        """Whether the value is one of several that will stand in one line, if they fit."""
        around = node_at(self._root, path[:-1]) if path and not self._verbatim else None
        if around is None or isinstance(around, Scalar) or not self._short(around, path[:-1]):
            return False
        values = around.entries.values() if isinstance(around, yaml_nodes.Mapping) else around.items
        return all(isinstance(value, Scalar) for value in values)

    def lines(self) -> Iterator[str]:
        """The lines of the text."""
        yield from self._comments(Side.BEFORE, (), "")
        yield from self._mapping(self._root, (), 0, "")
        yield from self._comments(Side.AFTER, (), "")

    # Mappings and lists -------------------------------------------------------------------------------------------------

    def _mapping(self, node: yaml_nodes.Mapping, path: Path, indent: int, lead: str) -> Iterator[str]:
        """The entries, the first of them behind `lead`."""
        for number, key in enumerate(_keys(node, path)):
            entry: Path = (*path, key)
            # Between the dash of an item and its first key there is no room: a comment goes before the dash.
            margin = lead or " " * indent
            yield from self._comments(Side.BEFORE, entry, " " * (indent - len(lead.lstrip())), first=not number)
            text = f"{margin}{self._key(node.keys[key])}:"
            yield from self._value(node.entries[key], entry, indent, text)
            yield from self._comments(Side.AFTER, entry, " " * indent)
            lead = ""

    def _list(self, node: yaml_nodes.Sequence, path: Path, indent: int) -> Iterator[str]:
        margin = " " * indent
        for number, item in enumerate(node.items):
            entry: Path = (*path, number)
            yield from self._comments(Side.BEFORE, entry, margin, first=not number)
            if isinstance(item, yaml_nodes.Mapping) and self._flow(item, entry, indent + _STEP) is None:
                yield from self._mapping(item, entry, indent + _STEP, f"{margin}- ")
            else:
                yield from self._value(item, entry, indent, f"{margin}-")
            yield from self._comments(Side.AFTER, entry, margin)

    def _value(self, node: Node, path: Path, indent: int, lead: str) -> Iterator[str]:
        """What stands behind a key or a dash."""
        beside = "".join(f"  {text}" for text in self._remarks.get((Side.BESIDE, path), ()))
        if isinstance(node, Scalar):
            first, *others = self._scalar(node, indent + _STEP)
            yield f"{lead} {first}".rstrip() + beside
            yield from others
            return
        flow = self._flow(node, path, len(lead) + 1)
        if flow is not None:
            yield f"{lead} {flow}{beside}"
            return
        yield f"{lead}{beside}"
        if isinstance(node, yaml_nodes.Mapping):
            yield from self._mapping(node, path, indent + _STEP, "")
        else:
            yield from self._list(node, path, indent + _STEP)

    def _comments(self, side: Side, path: Path, margin: str, *, first: bool = False) -> Iterator[str]:
        """The comments there, and empty lines, but no two of them, and none where something begins or ends."""
        texts = self._remarks.get((side, path), [])
        if side is Side.AFTER:
            texts = texts[: next((end for end in range(len(texts), 0, -1) if texts[end - 1]), 0)]
        before = "" if first or not path else "something"
        for text in texts:
            if text or before:
                yield margin + text if text else ""
            before = text

    # In one line --------------------------------------------------------------------------------------------------------

    def _flow(self, node: yaml_nodes.Mapping | yaml_nodes.Sequence, path: Path, column: int) -> str | None:
        """The mapping or list in one line, if it is to stand in one and can."""
        if isinstance(node, yaml_nodes.Mapping):
            brackets = "{}"
            parts = [self._with_key(node.keys[key], node.entries[key]) for key in _keys(node, path)]
        else:
            brackets = "[]"
            parts = list(map(self._inline, node.items))
        text = ", ".join(part for part in parts if part is not None)
        if not parts:
            return brackets
        fits = None not in parts and column + len(text) + len(brackets) <= WIDTH
        return (
            brackets[0] + text + brackets[1] if fits and path not in self._parted and self._short(node, path) else None
        )

    def _short(self, node: yaml_nodes.Mapping | yaml_nodes.Sequence, path: Path) -> bool:
        if self._verbatim:
            return node.source.text.startswith(("{", "["), node.start)
        return isinstance(node, yaml_nodes.Sequence) or path[-1:] in _SHORT or path[-2:-1] == ("portLevelMtls",)

    def _with_key(self, key: Scalar, value: Node) -> str | None:
        inline = self._inline(value)
        return None if inline is None else f"{self._key(key)}: {inline}"

    def _inline(self, node: Node) -> str | None:
        match node:
            case Scalar():
                first, *others = self._scalar(node, 0, plain=_PLAIN)
                return None if others else first or "null"
            case yaml_nodes.Mapping(entries=entries):
                return None if entries else "{}"
            case yaml_nodes.Sequence(items=items):
                return None if items else "[]"

    # Single values ------------------------------------------------------------------------------------------------------

    def _key(self, key: Scalar) -> str:
        raw = key.source.text[key.start : key.end]
        if self._verbatim and "\n" not in raw:
            return raw
        digits = key.text.isdigit() and yaml_scalars.json_key(key.text) == key.text
        return key.text if digits else _text(key.text, _PLAIN)

    def _scalar(self, node: Scalar, indent: int, *, plain: re.Pattern[str] = _PLAIN_IN_BLOCK) -> list[str]:
        """The lines of a single value: what stands behind its key, and more if it has several."""
        if self._verbatim:
            raw = node.source.text[node.start : node.end]
            if not raw.startswith(("|", ">")) and "\n" not in raw:
                return [raw]
            if (block := _moved(node, raw, indent)) is not None:
                return block
        elif node.plain:
            return [node.text]
        return _literal(node.text, indent) or [_text(node.text, plain)]


def _keys(node: yaml_nodes.Mapping, path: Path) -> Sequence[str]:
    """The keys of a mapping in the order in which they are written."""
    if path and path[-1] in _NAMES:
        return tuple(node.entries)
    return sorted(node.entries, key=lambda key: _ORDER.get(key, len(_ORDER)))


def _text(text: str, plain: re.Pattern[str]) -> str:
    if plain.fullmatch(text) and yaml_scalars.resolve(text) == text:
        return text
    return '"' + "".join(_ESCAPES.get(character) or _visible(character) for character in text) + '"'


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _moved(node: Scalar, raw: str, indent: int) -> list[str] | None:
    """The lines of a text that stands below its key, at another indentation; none where that may change it."""
    header, *lines = raw.splitlines()
    style = _BLOCK_HEADER.fullmatch(header)
    first = next((line for line in lines if line.strip()), None)
    # An end without a line break cannot be told from one with it, once others follow.
    if style is None or first is None or node.text.endswith("\n") is not (style[1][1:] == ""):
        return None
    own = len(first) - len(first.lstrip(" "))
    if any(not line.strip() and len(line) > own for line in lines):
        return None
    return [style[1], *(" " * indent + line[own:] if line.strip() else "" for line in lines)]


def _literal(text: str, indent: int) -> list[str] | None:
    """The lines of a text of several, as it is; none where only escapes can say it."""
    lines = text.removesuffix("\n").split("\n")
    shown = all(line.isprintable() for line in lines)
    if len(lines) < 2 or not shown or not lines[0].strip() or lines[0].startswith(" ") or not lines[-1].strip():
        return None
    margin = " " * indent
    return ["|" if text.endswith("\n") else "|-", *(margin + line if line else "" for line in lines)]
