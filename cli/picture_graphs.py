"""A picture of decision trees in the languages of Graphviz and Mermaid."""

from collections.abc import Callable, Iterator, Sequence

from cli.picture import Kind, Mark, Twig
from cli.quoting import entities, quoted

__all__ = ["dot_of_twigs", "mermaid_of_twigs"]

_ON_WAY = (Mark.LEADS, Mark.TAKEN, Mark.DEAD_END, Mark.FAILED, Mark.HELD, Mark.DECIDES)
_SHAPES = {Kind.ROOT: "oval", Kind.LOOK: "diamond", Kind.FACT: "ellipse", Kind.FOLD: "plaintext"}


def dot_of_twigs(twigs: Sequence[Twig]) -> str:
    """The trees in DOT; what a request had to do with is bold, and said in words."""
    return "\n".join(
        ("digraph tree {", '  rankdir="LR";', '  node [shape="box"];', *_lines(twigs, _dot_node, _dot_edge), "}\n")
    )


def _dot_node(number: int, twig: Twig) -> str:
    bold = ', style="bold"' if twig.mark in _ON_WAY else ""
    return f'  n{number} [label={quoted(*_words(twig))}, shape="{_SHAPES.get(twig.kind, "box")}"{bold}];'


def _dot_edge(parent: int, number: int) -> str:
    return f"  n{parent} -> n{number};"


def mermaid_of_twigs(twigs: Sequence[Twig]) -> str:
    """The trees as a flowchart of Mermaid."""
    return "\n".join(("flowchart LR", *_lines(twigs, _mermaid_node, _mermaid_edge), ""))


def _mermaid_node(number: int, twig: Twig) -> str:
    label = entities(*_words(twig))
    return f"  n{number}([{label}])" if twig.kind in (Kind.ROOT, Kind.FACT) else f"  n{number}[{label}]"


def _mermaid_edge(parent: int, number: int) -> str:
    return f"  n{parent} --> n{number}"


def _words(twig: Twig) -> list[str]:
    return [each for each in (twig.text, twig.note, twig.mark.value) if each]


def _lines(twigs: Sequence[Twig], node: Callable[[int, Twig], str], edge: Callable[[int, int], str]) -> Iterator[str]:
    waiting: list[tuple[Twig, int | None]] = [(twig, None) for twig in reversed(twigs)]
    number = 0
    while waiting:
        twig, parent = waiting.pop()
        yield node(number, twig)
        if parent is not None:
            yield edge(parent, number)
        waiting += [(each, number) for each in reversed(twig.twigs)]
        number += 1
