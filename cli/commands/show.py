"""`meshward show`: which policies stand before each workload, in words or as its decision tree, and who may call what."""

import argparse

from cli.arguments import add_manifest_arguments
from cli.command import Command, ExitCode

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_manifest_arguments(parser)
    parser.add_argument("--workload", metavar="NAMESPACE/NAME", help="only this one; default: every one there is")
    parser.add_argument("--all", action="store_true", help="say of the other policies, too, why they do not apply")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--who-can", metavar="NAMESPACE/NAME", help="which callers can reach this workload, over all requests, instead"
    )
    parser.add_argument("--method", help="with --who-can: by this method")
    parser.add_argument("--path", metavar="PATH", dest="asked_path", help="with --who-can: at this path")
    instead.add_argument("--tree", action="store_true", help="the decision tree that they are compiled to, instead")
    instead.add_argument("--matrix", action="store_true", help="which caller may ask for what, instead")
    instead.add_argument("--graph", action="store_true", help="which workload may call which, instead")
    parser.add_argument(
        "--request", metavar="FILE", help="with --tree: the way of this request through the tree of its workload"
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "json", "markdown", "svg", "dot", "mermaid"),
        default="text",
        help="default: %(default)s; svg of trees, matrices and graphs, dot and mermaid of trees and graphs, "
        "markdown of matrices",
    )


def _run(arguments: argparse.Namespace) -> ExitCode:
    from cli.presenting import show  # noqa: PLC0415  # no other verb pays for what this one needs

    return show(arguments)


COMMAND = Command(
    "show",
    "say which policies stand before each workload, and who may call what",
    _add_arguments,
    _run,
    description=(
        "Say in words which policies stand before each workload; or draw their decision tree, who may call what as a matrix, or "
        "who may call whom as a graph."
    ),
    epilog="example: meshward show policies/ --matrix --workload shop/api",
)
