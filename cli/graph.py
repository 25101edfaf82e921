"""The graph of who may call whom, as text, as data, and in the languages of Graphviz and Mermaid."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from cli.quoting import entities, quoted
from mesh.access.graph import Edge, Graph, Node, What
from parser.excerpt import visible

__all__ = ["document_of_graph", "dot_of", "mermaid_of", "open_to", "text_of_graph", "words_of"]

_SHOWN = 4
"""So many routes are named on a line, before the others are counted."""


def words_of(what: What) -> str:
    """What somebody may do, in a line; a question mark stands before what is under conditions."""
    words = [*map(visible, what.allowed), *(f"? {visible(name)}" for name in what.depends)]
    return "; ".join(words[:_SHOWN]) + (f"; {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")


def open_to(node: Node) -> Iterator[tuple[str, str]]:
    """To whom a workload is open besides those who have a line, and for what."""
    if node.plaintext:
        yield "open to plaintext", words_of(node.plaintext)
    if node.mesh and node.mesh != node.plaintext:
        yield "open to the mesh", words_of(node.mesh)


# As text ----------------------------------------------------------------------------------------------------------------


def text_of_graph(graph: Graph) -> str:
    """For each workload who may call it, and for what."""
    coming: dict[str, list[Edge]] = {}
    for edge in graph.edges:
        coming.setdefault(edge.target, []).append(edge)
    return "".join(
        f"{line}\n"
        for node in graph.nodes
        if node.namespace is not None
        for line in _lines(node, coming.get(node.name, ()))
    )


def _lines(node: Node, coming: Iterable[Edge]) -> Iterator[str]:
    rows = [*open_to(node), *((f"from {visible(edge.source)}", words_of(edge.what)) for edge in coming)]
    yield visible(node.name)
    width = max((len(who) for who, _ in rows), default=0)
    yield from (f"  {who.ljust(width)}  {what}" for who, what in rows)
    if not rows:
        yield "  open to nobody"


# As data ----------------------------------------------------------------------------------------------------------------


def document_of_graph(graph: Graph) -> dict[str, Any]:
    """The graph as plain data."""
    return {
        "nodes": [
            {
                "name": node.name,
                "namespace": node.namespace,
                "open_to_mesh": _what(node.mesh),
                "open_to_plaintext": _what(node.plaintext),
            }
            for node in graph.nodes
        ],
        "edges": [{"source": edge.source, "target": edge.target, **_what(edge.what)} for edge in graph.edges],
    }


def _what(what: What) -> dict[str, list[str]]:
    return {"allowed": list(what.allowed), "depends": list(what.depends)}


# For Graphviz -----------------------------------------------------------------------------------------------------------


def dot_of(graph: Graph) -> str:
    """The graph in DOT: a cluster for each namespace, dashed where it depends, doubly framed where anyone may call."""
    return "\n".join(("digraph mesh {", '  rankdir="LR";', '  node [shape="box"];', *_dot(graph), "}\n"))


def _dot(graph: Graph) -> Iterator[str]:
    for namespace, nodes in _clusters(graph):
        if namespace is None:
            yield from (f'  {quoted(node.name)} [shape="plaintext"];' for node in nodes)
            continue
        yield f"  subgraph {quoted(f'cluster_{namespace}')} {{"
        yield f"    label={quoted(namespace)};"
        for node in nodes:
            label = [visible(node.name), *(f"{who}: {what}" for who, what in open_to(node))]
            frames = f', peripheries="{2 if len(label) > 1 else 1}"'
            yield f"    {quoted(node.name)} [label={quoted(*label)}{frames}];"
        yield "  }"
    for edge in graph.edges:
        dashed = "" if edge.what.allowed else ', style="dashed"'
        what = quoted(*words_of(edge.what).split("; "))
        yield f"  {quoted(edge.source)} -> {quoted(edge.target)} [label={what}{dashed}];"


def _clusters(graph: Graph) -> Iterator[tuple[str | None, list[Node]]]:
    for namespace, nodes in groupby(graph.nodes, key=lambda node: node.namespace):
        yield namespace, list(nodes)


# For Mermaid ------------------------------------------------------------------------------------------------------------


def mermaid_of(graph: Graph) -> str:
    """The graph as a flowchart of Mermaid, for pages that draw it themselves."""
    return "\n".join(("flowchart LR", *_mermaid(graph), ""))


def _mermaid(graph: Graph) -> Iterator[str]:
    ids = {node.name: f"n{number}" for number, node in enumerate(graph.nodes)}
    for number, (namespace, nodes) in enumerate(_clusters(graph)):
        if namespace is not None:
            yield f"  subgraph s{number}[{entities(namespace)}]"
        for node in nodes:
            label = entities(visible(node.name), *(f"{who}: {what}" for who, what in open_to(node)))
            shape = f"([{label}])" if namespace is None else f"[[{label}]]" if any(open_to(node)) else f"[{label}]"
            yield f"    {ids[node.name]}{shape}"
        if namespace is not None:
            yield "  end"
    for edge in graph.edges:
        line = "-->" if edge.what.allowed else "-.->"
        yield f"  {ids[edge.source]} {line}|{entities(*words_of(edge.what).split('; '))}| {ids[edge.target]}"
