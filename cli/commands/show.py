"""`meshward show`: which policies stand before each workload, in words or as its decision tree."""

import argparse
import os
import sys
import time
from typing import Any

import orjson

from cli.command import Command, ExitCode, UsageError
from cli.drawing import tree_of_request, trees
from cli.manifests import add_manifest_arguments, print_loaded, store_of
from cli.picture import document_of_twig
from cli.picture_svg import svg_of
from cli.picture_text import print_twigs
from cli.requests import read_request
from cli.showing import document_of_policy, document_of_view, text_of_view
from mesh.files import STDIN, display_name
from mesh.snapshot import Snapshot
from mesh.view import views
from parser.resource_document import Resource
from parser.ward_printer import print_ward

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_manifest_arguments(parser)
    parser.add_argument("--workload", metavar="NAMESPACE/NAME", help="only this one; default: every one there is")
    parser.add_argument("--all", action="store_true", help="say of the other policies, too, why they do not apply")
    parser.add_argument(
        "--who-can", metavar="NAMESPACE/NAME", help="which callers can reach this workload, over all requests, instead"
    )
    parser.add_argument("--method", help="with --who-can: by this method")
    parser.add_argument("--path", metavar="PATH", dest="asked_path", help="with --who-can: at this path")
    parser.add_argument("--tree", action="store_true", help="the decision tree that they are compiled to, instead")
    parser.add_argument(
        "--request", metavar="FILE", help="with --tree: the way of this request through the tree of its workload"
    )
    parser.add_argument(
        "-o", "--output", choices=("text", "json", "svg"), default="text", help="default: %(default)s; svg with --tree"
    )


def _run(arguments: argparse.Namespace) -> ExitCode:
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
    if arguments.workload is not None or len(snapshot.registry):
        wanted = snapshot.registry if arguments.workload is None else snapshot.registry.named(arguments.workload)
        shown = [view for workload in wanted for view in views(snapshot, workload)]
        document: dict[str, Any] = {"workloads": list(map(document_of_view, shown))}
        texts = [text_of_view(view, others=arguments.all) for view in shown]
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
    if not arguments.tree and (arguments.request is not None or arguments.output == "svg"):
        raise UsageError("only a tree is drawn, and only through a tree a request has a way", help="add --tree")
    if arguments.who_can is None and (arguments.method is not None or arguments.asked_path is not None):
        raise UsageError("a method and a path are asked about with --who-can", help="add --who-can NAMESPACE/NAME")
    if arguments.who_can is not None and (arguments.tree or arguments.workload is not None):
        raise UsageError("--who-can says itself what is shown", help="leave out --tree and --workload")
    if arguments.request is not None and arguments.workload is not None:
        raise UsageError("a request says itself which workload it is for", help="leave out --workload")


def _tree(arguments: argparse.Namespace, snapshot: Snapshot) -> ExitCode:
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
        case "json":
            trees_document = {"trees": list(map(document_of_twig, twigs))}
            sys.stdout.buffer.write(
                orjson.dumps(trees_document, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2)
            )
        case _:
            print_twigs(twigs, sys.stdout, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    sys.stdout.flush()
    return ExitCode.OK


def _print(text: str) -> None:
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        from cli.colour import print_coloured  # noqa: PLC0415  # paid for by who sees it

        print_coloured(text, sys.stdout)
    else:
        sys.stdout.buffer.write(text.encode())


COMMAND = Command("show", "say in words which policies stand before each workload", _add_arguments, _run)
