"""`meshward show`: which policies stand before each workload, in words."""

import argparse
import os
import sys
from typing import Any

import orjson

from cli.command import Command, ExitCode, UsageError
from cli.manifests import add_manifest_arguments, print_loaded, store_of
from cli.showing import document_of_policy, document_of_view, text_of_view, views
from mesh.files import STDIN, display_name
from parser.resource_document import Resource
from parser.ward_printer import print_ward

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_manifest_arguments(parser)
    parser.add_argument("--workload", metavar="NAMESPACE/NAME", help="only this one; default: every one there is")
    parser.add_argument("--all", action="store_true", help="say of the other policies, too, why they do not apply")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: %(default)s")


def _run(arguments: argparse.Namespace) -> ExitCode:
    if [arguments.mesh, *arguments.paths].count(STDIN) > 1:
        raise UsageError("standard input can be only one of the manifests and the mesh configuration")
    loaded = store_of(arguments).load()
    print_loaded(loaded, verbose=arguments.verbose)
    snapshot = loaded.snapshot
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


def _print(text: str) -> None:
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        from cli.colour import print_coloured  # noqa: PLC0415  # paid for by who sees it

        print_coloured(text, sys.stdout)
    else:
        sys.stdout.buffer.write(text.encode())


COMMAND = Command("show", "say in words which policies stand before each workload", _add_arguments, _run)
