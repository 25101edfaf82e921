"""A picture of a decision tree as indented text. It says in words whatever its colours say."""

from collections.abc import Sequence
from typing import Literal, TextIO

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from cli.picture import Kind, Mark, Twig

__all__ = ["print_twigs"]

_WIDTH = 10_000
"""More than any line has letters, for a line that is cut says less than it should."""
_STYLES = {
    Kind.ROOT: "bold",
    Kind.LOOK: "cyan",
    Kind.FACT: "",
    Kind.ALLOW: "green",
    Kind.DENY: "red",
    Kind.OTHER: "yellow",
    Kind.NODE: "dim",
    Kind.FOLD: "dim",
}
_SIGNS = {
    Mark.NONE: "",
    Mark.LEADS: "» ",
    Mark.TAKEN: "→ ",
    Mark.DEAD_END: "∅ ",
    Mark.FAILED: "✗ ",
    Mark.HELD: "✓ ",
    Mark.DECIDES: "● ",
    Mark.UNSEEN: "  ",
}


def print_twigs(twigs: Sequence[Twig], out: TextIO, *, colour: bool) -> None:
    """Print the pictures, one below the other; their lines stay as they are, however long."""
    colours: Literal["auto"] | None = "auto" if colour else None
    console = Console(file=out, width=_WIDTH, markup=False, emoji=False, highlight=False, color_system=colours)
    for position, twig in enumerate(twigs):
        if position:
            console.print()
        console.print(_tree(twig, None))


def _tree(twig: Twig, parent: Tree | None) -> Tree:
    words = Text(_SIGNS[twig.mark], "bold" if twig.mark in (Mark.LEADS, Mark.DECIDES) else "dim")
    style = "dim" if twig.mark is Mark.UNSEEN else _STYLES[twig.kind]
    words.append(twig.text, f"bold {style}" if twig.mark is Mark.DECIDES else style)
    if twig.mark is Mark.DECIDES:
        words.append("  decides", "bold")
    if twig.note:
        words.append(f"  {twig.note}", "dim")
    tree = Tree(words, guide_style="dim") if parent is None else parent.add(words)
    for each in twig.twigs:
        _tree(each, tree)
    return tree
