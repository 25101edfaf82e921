"""Reading typed values out of a tree of nodes: every reader says what is wrong in the words of YAML and carries on."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from parser import yaml_nodes, yaml_scalars
from parser.diagnostics import quoted
from parser.problems import Problems, nearest
from parser.yaml_nodes import Node, Scalar, Sequence, described

__all__ = ["Decoder", "is_null"]

_NO_ENTRIES: Mapping[str, Node] = {}
_FEW = 8
_DIGITS = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Decoder:
    """Reads nodes and tells `problems` what is not as it should be.

    A reader returns its type's empty value where the node is something else, and never raises. `name` is what messages
    call the value. Null is taken for absent, as Kubernetes does.
    """

    problems: Problems

    def entries(self, node: Node | None, name: str) -> Mapping[str, Node]:
        """The entries of a mapping that are not null, whatever their keys."""
        if isinstance(node, yaml_nodes.Mapping):
            return {key: value for key, value in node.entries.items() if not is_null(value)}
        if node is not None and not is_null(node):
            remedy = (
                "remove the `- `" if isinstance(node, Sequence) else f"write the fields of `{name}` below it, indented"
            )
            self.expected("a mapping", name, node, help=remedy)
        return _NO_ENTRIES

    def fields(
        self, node: Node | None, name: str, known: Collection[str], *, elsewhere: Mapping[str, str] | None = None
    ) -> Mapping[str, Node]:
        """As `entries`, where only the keys in `known` may be; `elsewhere` says of others where they belong."""
        entries = self.entries(node, name)
        if isinstance(node, yaml_nodes.Mapping):
            for key in [key for key in node.entries if key not in known]:
                if self.problems.full:
                    break
                self._unknown(key, node.keys[key], name, known, (elsewhere or {}).get(key))
        return entries

    def _unknown(self, key: str, written: Scalar, name: str, known: Collection[str], place: str | None) -> None:
        remedy: str | None
        if place is not None:
            remedy = f"it belongs in `{place}`"
        elif not self.problems.full and (near := nearest(key, known)) is not None:
            remedy = f"did you mean `{near}`?"
        else:
            remedy = "known here: " + ", ".join(f"`{each}`" for each in known) if len(known) <= _FEW else None
        self.problems.error("unknown-field", f"unknown field {quoted(key)} in `{name}`", written.span, help=remedy)

    def items(self, node: Node | None, name: str) -> tuple[Node, ...]:
        """The items of a list."""
        if isinstance(node, Sequence):
            # After so many problems nothing more is shown, so nothing more is read.
            return () if self.problems.full else node.items
        if node is not None and not is_null(node):
            if isinstance(node, yaml_nodes.Mapping):
                remedy = "begin each entry with `- `"
            else:
                remedy = f"write it as a list: [{_double_quoted(node.text)}]"
            self.expected("a list", name, node, help=remedy)
        return ()

    def text(self, node: Node | None, name: str) -> str:
        """A string."""
        if node is None:
            return ""
        if isinstance(node, Scalar):
            value = node.value
            if isinstance(value, str):
                return node.text
            remedy = "remove the key, or write a value" if value is None else f"quote it: {_double_quoted(node.text)}"
            self.expected("a string", name, node, help=remedy)
            return node.text
        self.expected("a string", name, node)
        return ""

    def texts(self, node: Node | None, name: str) -> tuple[str, ...]:
        """A list of strings. What is no string keeps its place in it, so that indices stay those of the document."""
        texts = []
        for item in self.items(node, name):
            if self.problems.full:
                break
            texts.append(self.text(item, name))
        return tuple(texts)

    def integer(self, node: Node, name: str) -> int | None:
        """A whole number."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        quoted_number = isinstance(value, str) and value.isascii() and value.isdigit()
        self.expected("a number", name, node, help="remove the quotes" if quoted_number else None)
        return None

    def number(self, node: Node, name: str) -> int | None:
        """A whole number, in quotes or not, as protobuf's JSON takes it."""
        if isinstance(node, Scalar) and isinstance(node.value, str) and _DIGITS.fullmatch(node.text):
            return int(node.text)
        return self.integer(node, name)

    def boolean(self, node: Node | None, name: str) -> bool:
        """True or false; false where there is none."""
        if node is None:
            return False
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, bool):
            return value
        quoted_word = isinstance(value, str) and isinstance(yaml_scalars.resolve(value), bool)
        remedy = "remove the quotes" if quoted_word else "write true or false"
        self.expected("true or false", name, node, help=remedy)
        return False

    def labels(self, node: Node | None, name: str) -> dict[str, str]:
        """A mapping from strings to strings."""
        return {key: self.text(value, name) for key, value in self.entries(node, name).items()}

    def choice(self, node: Node, name: str, choices: Iterable[str]) -> str | None:
        """One of `choices`."""
        choices = tuple(choices)
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, str) and value in choices:
            return value
        one_of = ", ".join(choices)
        if not isinstance(value, str):
            self.expected("a string", name, node, help=f"write one of {one_of}")
            return None
        near = nearest(value, choices)
        self.problems.error(
            "unknown-value",
            f"unknown value {quoted(value)} of `{name}`",
            node.span,
            help=f"did you mean `{near}`?" if near else f"write one of {one_of}",
        )
        return None

    def expected(self, what: str, name: str, node: Node, *, help: str | None = None) -> None:  # noqa: A002  # the word of Diagnostic
        """Say that `node` should be something else."""
        self.problems.error("wrong-type", f"expected {what} in `{name}`, got {described(node)}", node.span, help=help)

    def broken(self, node: Node | None) -> bool:
        """Whether an error is known at exactly this node: what follows from it need not be said as well."""
        return self.problems.errors > 0 and node is not None and self.problems.error_at(node.span)


def is_null(node: Node | None) -> bool:
    """Whether there is nothing: no node, or one that says null."""
    return node is None or (isinstance(node, Scalar) and node.plain and yaml_scalars.is_null(node.text))


def _double_quoted(text: str) -> str:
    cut = text if len(text) <= 40 else text[:39] + "…"
    return '"' + cut.replace("\\", "\\\\").replace('"', '\\"') + '"'
