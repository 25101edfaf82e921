"""Comparing two versions for the command line."""

import argparse
import sys

from authz.invariants import Assumed
from cli.command import ExitCode, UsageError
from cli.overlay_svg import svg_of_overlays
from cli.reports.differences import WRITERS, headlines
from mesh.access.overlay import overlays
from mesh.comparing import Change, compare
from mesh.differences import Differences, told_of
from mesh.revisions import RevisionError
from mesh.versions import load_version, named_versions

__all__ = ["run_diff"]


def run_diff(arguments: argparse.Namespace) -> ExitCode:
    """What `meshward diff` does."""
    try:
        versions = named_versions(arguments.old, arguments.new)
        old, new = (load_version(version, arguments.mesh).snapshot for version in versions)
    except RevisionError as error:
        raise UsageError(str(error), help=error.help) from error
    assumed = Assumed(
        strict_mtls="mtls-strict" in arguments.assume, istio_callers="istio-identities" in arguments.assume
    )
    comparison = compare(old, new, assumed=assumed)
    found = told_of(comparison, old, new)
    if arguments.output == "svg":
        # The only form that needs more than the regions, and takes as long again to make.
        some = overlays(old, new, comparison.changed, assumed=assumed)
        sys.stdout.buffer.write(svg_of_overlays(some, found, old=old, new=new, head=headlines(found)).encode())
    else:
        sys.stdout.buffer.write(WRITERS[arguments.output](found))
    sys.stdout.flush()
    return ExitCode.DIFFERENCE if _fails(found, arguments.fail_on) else ExitCode.OK


def _fails(found: Differences, fail_on: str | None) -> bool:
    match fail_on:
        case "new-access":
            return found.count(Change.NEWLY_ALLOWED) > 0
        case "any":
            return bool(found.changed or found.added or found.removed)
        case _:
            return False
