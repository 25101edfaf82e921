"""Presenting: the run of `meshward show`, from its arguments to its exit code."""

import argparse
import os
import sys
import time
from typing import Any

import orjson

from cli.command import ExitCode, UsageError
from cli.manifests import print_loaded, store_of
from cli.requests import read_request
from cli.showing import document_of_policy, document_of_view, text_of_view
from mesh.files import STDIN, display_name
from mesh.snapshot import Snapshot
from mesh.view import views
from parser.resource_document import Resource
from parser.ward_printer import print_ward

__all__ = ["show"]

# What each of them can be printed as, besides text and json.
_OUTPUTS = {
    "words": (),
    "who_can": (),
    "tree": ("svg", "dot", "mermaid"),
    "matrix": ("markdown", "svg"),
    "graph": ("svg", "dot", "mermaid"),
}


def show(arguments: argparse.Namespace) -> ExitCode:
    """Show what the arguments ask for.

    Raises:
        PolicyStoreError: There are no good policies.
        UnknownWorkloadError: There is no workload of the name that is asked about.
        UsageError: What is asked for cannot be, or there is nothing to show.
    """
    _refuse_what_cannot_be(arguments)
    loaded = store_of(arguments).load()
    print_loaded(loaded, verbose=arguments.verbose)
    snapshot = loaded.snapshot
    if arguments.who_can is not None:
        from cli.who_can import print_who_can  # noqa: PLC0415  # no other answer pays for what this one needs

        print_who_can(
            snapshot,
            arguments.who_can,
            method=arguments.method,
            path=arguments.asked_path,
            output=arguments.output,
        )
        return ExitCode.OK
    if arguments.tree:
        return _tree(arguments, snapshot)
    if arguments.matrix or arguments.graph:
        return _access(arguments, snapshot)
    if arguments.workload is not None or len(snapshot.registry):
        wanted = snapshot.registry if arguments.workload is None else snapshot.registry.named(arguments.workload)
        seen = [view for workload in wanted for view in views(snapshot, workload)]
        document: dict[str, Any] = {"workloads": list(map(document_of_view, seen))}
        texts = [text_of_view(view, others=arguments.all) for view in seen]
    else:
        policies: list[Resource] = [
            *snapshot.policies,
            *snapshot.request_authentications,
            *snapshot.peer_authentications,
        ]
        if not policies:
            raise UsageError(f"no policies and no workloads in {', '.join(map(display_name, arguments.paths))}")
        document = {"policies": list(map(document_of_policy, policies))}
        texts = list(map(print_ward, policies))
    if arguments.output == "json":
        sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2))
    else:
        _print("\n".join(texts))
    sys.stdout.flush()
    return ExitCode.OK


def _refuse_what_cannot_be(arguments: argparse.Namespace) -> None:
    if [arguments.mesh, arguments.request, *arguments.paths].count(STDIN) > 1:
        raise UsageError("standard input can be only one of the manifests, the mesh configuration and the request")
    shown = next((each for each in _OUTPUTS if getattr(arguments, each, None)), "words")
    if arguments.request is not None and shown != "tree":
        raise UsageError("only through a tree a request has a way", help="add --tree")
    if arguments.output not in ("text", "json", *_OUTPUTS[shown]):
        able = " or ".join(_option(each) for each, outputs in _OUTPUTS.items() if arguments.output in outputs)
        known = ", ".join(("text", "json", *_OUTPUTS[shown]))
        given = "policies in words" if shown == "words" else _option(shown)
        raise UsageError(f"{given} cannot be printed as {arguments.output}", help=f"as {known}; or add {able}")
    if arguments.all and shown != "words":
        raise UsageError("--all is for policies in words", help=f"leave out --all or {_option(shown)}")
    if shown != "who_can" and (arguments.method is not None or arguments.asked_path is not None):
        raise UsageError("a method and a path are asked about with --who-can", help="add --who-can NAMESPACE/NAME")
    if shown == "who_can" and arguments.workload is not None:
        raise UsageError("--who-can says itself what is shown", help="leave out --workload")
    if arguments.request is not None and arguments.workload is not None:
        raise UsageError("a request says itself which workload it is for", help="leave out --workload")


def _option(shown: str) -> str:
    return f"--{shown.replace('_', '-')}"


def _tree(arguments: argparse.Namespace, snapshot: Snapshot) -> ExitCode:
    # What draws is paid for by who wants a drawing.
    from cli.drawing import tree_of_request, trees  # noqa: PLC0415
    from cli.picture import document_of_twig  # noqa: PLC0415
    from cli.picture_graphs import dot_of_twigs, mermaid_of_twigs  # noqa: PLC0415
    from cli.picture_svg import svg_of  # noqa: PLC0415
    from cli.picture_text import print_twigs  # noqa: PLC0415

    if arguments.request is None:
        wanted = snapshot.registry if arguments.workload is None else snapshot.registry.named(arguments.workload)
        twigs = [twig for workload in wanted for twig in trees(snapshot, workload)]
        if not twigs:
            raise UsageError(f"no workloads in {', '.join(map(display_name, arguments.paths))}")
    else:
        document = read_request(arguments.request)
        if document is None:
            return ExitCode.INVALID
        twigs = [tree_of_request(snapshot, document, at=time.time())]
    match arguments.output:
        case "svg":
            sys.stdout.buffer.write(svg_of(twigs).encode())
        case "dot":
            sys.stdout.buffer.write(dot_of_twigs(twigs).encode())
        case "mermaid":
            sys.stdout.buffer.write(mermaid_of_twigs(twigs).encode())
        case "json":
            trees_document = {"trees": list(map(document_of_twig, twigs))}
            sys.stdout.buffer.write(
                orjson.dumps(trees_document, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2)
            )
        case _:
            print_twigs(twigs, sys.stdout, colour=_in_colour())
    sys.stdout.flush()
    return ExitCode.OK


def _access(arguments: argparse.Namespace, snapshot: Snapshot) -> ExitCode:
    from cli.access import show_graph, show_matrix  # noqa: PLC0415  # the solver takes a while to load

    if arguments.matrix:
        show_matrix(snapshot, arguments.workload, output=arguments.output, colour=_in_colour())
    else:
        show_graph(snapshot, arguments.workload, output=arguments.output)
    sys.stdout.flush()
    return ExitCode.OK


def _in_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _print(text: str) -> None:
    if _in_colour():
        from cli.colour import print_coloured  # noqa: PLC0415  # paid for by who sees it

        print_coloured(text, sys.stdout)
    else:
        sys.stdout.buffer.write(text.encode())
