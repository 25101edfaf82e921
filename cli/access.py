"""What `meshward show` prints of who may call whom: the matrix, or the graph."""

import sys
from typing import TextIO

import orjson

from cli.command import UsageError
from cli.graph import document_of_graph, dot_of, mermaid_of, text_of_graph
from cli.graph_svg import svg_of_graph
from cli.matrix import document_of_matrix, markdown_of, print_sheets, sheet_of
from cli.matrix_svg import svg_of_sheets
from mesh.access.graph import graph
from mesh.access.matrix import matrices
from mesh.snapshot import Snapshot

__all__ = ["show_graph", "show_matrix"]

_NO_WORKLOADS = "there are neither workloads nor policies of whom to show it"


def show_matrix(snapshot: Snapshot, workload: str | None, *, output: str, colour: bool) -> None:
    """Print the matrices in one of the formats text, json, markdown and svg.

    Raises:
        UsageError: There is nothing of which to print one.
        UnknownWorkloadError: There is no workload of that name.
        TooLargeError: It would have more cells than anybody looks at.
    """
    made = list(matrices(snapshot, workload))
    if not made:
        raise UsageError(_NO_WORKLOADS)
    if output == "json":
        _json({"matrices": [document_of_matrix(each, snapshot) for each in made]})
        return
    sheets = [sheet_of(each, snapshot) for each in made]
    match output:
        case "markdown":
            _write(markdown_of(sheets))
        case "svg":
            _write(svg_of_sheets(sheets))
        case _:
            out: TextIO = sys.stdout
            print_sheets(sheets, out, colour=colour)


def show_graph(snapshot: Snapshot, workload: str | None, *, output: str) -> None:
    """Print the graph in one of the formats text, json, dot, svg and mermaid; of one workload if it is given.

    Raises:
        UsageError: There is nothing of which to print one.
        UnknownWorkloadError: There is no workload of that name.
        TooLargeError: As `show_matrix`.
    """
    made = list(matrices(snapshot, workload))
    if not made:
        raise UsageError(_NO_WORKLOADS)
    whole = graph(snapshot, made)
    if output == "json":
        _json(document_of_graph(whole))
        return
    how = {"dot": dot_of, "mermaid": mermaid_of, "svg": svg_of_graph}.get(output, text_of_graph)
    _write(how(whole))


def _json(document: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2))


def _write(text: str) -> None:
    sys.stdout.buffer.write(text.encode())
