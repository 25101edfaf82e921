"""The arguments by which a verb takes manifests, and what it prints about them."""

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence

from authz.mesh_config import ISTIOD_SWITCHES
from mesh.directory import DirectoryStore, Loaded
from mesh.guards import DEFAULT_BUDGET
from parser.diagnostics import Diagnostic, render

__all__ = ["add_manifest_arguments", "print_diagnostics", "print_loaded", "print_skipped", "store_of"]


def add_manifest_arguments(parser: argparse.ArgumentParser) -> None:
    """PATH…, `--mesh` and `-v`."""
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="files and directories of Kubernetes YAML and of ward; - for standard input",
    )
    parser.add_argument(
        "--mesh", metavar="FILE", help="the mesh configuration (keys of Istio's MeshConfig); wins over the manifests'"
    )
    parser.add_argument(
        "--istiod-env",
        metavar="NAME=BOOL",
        type=_switch,
        action="append",
        default=[],
        help=f"a switch in istiod's environment: {' or '.join(ISTIOD_SWITCHES)} (may be repeated)",
    )
    parser.add_argument(
        "--budget",
        metavar="VALUES",
        type=_count,
        default=DEFAULT_BUDGET,
        help="how many values the policies before all workloads may have, each counted for every set of workloads that it "
        "applies to; more are refused (default: %(default)s)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show warnings, and what was skipped")


def store_of(arguments: argparse.Namespace, *, paths: Sequence[str] | None = None) -> DirectoryStore:
    """The store that the arguments name; one of other `paths` if they are given, and else as the arguments say."""
    paths = arguments.paths if paths is None else paths
    return DirectoryStore(tuple(paths), arguments.mesh, dict(arguments.istiod_env), budget=arguments.budget)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _switch(text: str) -> tuple[str, bool]:
    name, _, value = text.partition("=")
    field, on = ISTIOD_SWITCHES.get(name), {"true": True, "false": False}.get(value)
    if field is None or on is None:
        known = ", ".join(f"{each}=true" for each in ISTIOD_SWITCHES)
        raise argparse.ArgumentTypeError(
            f"{text!r} is no switch that a verdict depends on; known are {known}, and false"
        )
    return field, on


def print_diagnostics(diagnostics: Iterable[Diagnostic], sources: Mapping[str, str]) -> None:
    """Every problem with its place, on standard error."""
    for diagnostic in diagnostics:
        print(render(diagnostic, sources.get(diagnostic.span.file)), file=sys.stderr)


def print_loaded(loaded: Loaded, *, verbose: bool) -> None:
    """What there is to say about manifests without errors, on standard error: in full if `verbose`."""
    if verbose:
        print_diagnostics(loaded.warnings, loaded.sources)
        print_skipped(loaded.skipped)
    elif loaded.warnings:
        count = len(loaded.warnings)
        print(f"meshward: {count} warning{'' if count == 1 else 's'} in the manifests, -v shows them", file=sys.stderr)


def print_skipped(skipped: Mapping[str, int]) -> None:
    """How many documents of which kinds were not meshward's business, on standard error."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(skipped.items()))
    print(f"meshward: skipped {kinds or 'nothing'}", file=sys.stderr)
