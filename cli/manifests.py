"""The manifests that a verb was given, and what it prints about them."""

import argparse
import sys
from collections.abc import Sequence

from cli.diagnostics import print_diagnostics, print_skipped
from mesh.directory import DirectoryStore, Loaded

__all__ = ["print_loaded", "store_of"]


def store_of(arguments: argparse.Namespace, *, paths: Sequence[str] | None = None) -> DirectoryStore:
    """The store that the arguments name; one of other `paths` if they are given, and else as the arguments say."""
    paths = arguments.paths if paths is None else paths
    return DirectoryStore(tuple(paths), arguments.mesh, dict(arguments.istiod_env), budget=arguments.budget)


def print_loaded(loaded: Loaded, *, verbose: bool) -> None:
    """What there is to say about manifests without errors, on standard error: in full if `verbose`."""
    if verbose:
        print_diagnostics(loaded.warnings, loaded.sources)
        print_skipped(loaded.skipped)
    elif loaded.warnings:
        count = len(loaded.warnings)
        print(f"meshward: {count} warning{'' if count == 1 else 's'} in the manifests, -v shows them", file=sys.stderr)
