"""The arguments by which a verb takes manifests and requests. They are read without what reads manifests and decides."""

import argparse
from datetime import UTC, datetime

from authz.mesh_config import ISTIOD_SWITCHES
from mesh.budget import DEFAULT_BUDGET

__all__ = ["REQUEST_HELP", "add_jobs_argument", "add_manifest_arguments", "add_offline_arguments", "count"]

REQUEST_HELP = "a request document, YAML or JSON; - for standard input"
"""What `--request` takes."""


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
        type=count,
        default=DEFAULT_BUDGET,
        help="how many values the policies before all workloads may have, each counted for every set of workloads that it "
        "applies to; more are refused (default: %(default)s)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show warnings, and what was skipped")


def count(text: str) -> int:
    """A number from 1 on, as the type of an argument."""
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


def add_offline_arguments(parser: argparse.ArgumentParser) -> None:
    """`--normalize`, `--allowed-by`, `--jwks` and `--at`."""
    parser.add_argument(
        "--normalize",
        action="store_true",
        help="take requests as clients send them: the mesh's pathNormalization comes first, and trusted x-forwarded-for",
    )
    parser.add_argument(
        "--allowed-by",
        metavar="PROVIDER",
        action="append",
        default=[],
        help="take it that this external authorizer lets every request through; the others refuse (may be repeated)",
    )
    parser.add_argument(
        "--jwks",
        metavar="URI=FILE",
        type=_source,
        action="append",
        default=[],
        help="a JWK Set for the tokens of this jwksUri or issuer, instead of fetching it (may be repeated)",
    )
    parser.add_argument(
        "--at", metavar="TIME", type=_time, help="decide as if it were then, e.g. 2026-01-31T12:00:00Z (default: now)"
    )


def _source(text: str) -> tuple[str, str]:
    # An issuer may hold an equals sign, and a file seldom does.
    name, equals, file = text.rpartition("=")
    if not (equals and name and file):
        raise argparse.ArgumentTypeError(f"{text!r} is no URI=FILE")
    return name, file


def _time(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time like 2026-01-31T12:00:00Z") from error
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def add_jobs_argument(parser: argparse.ArgumentParser) -> None:
    """`--jobs`, none where it is not given."""
    parser.add_argument("--jobs", metavar="N", type=count, help="how many processes (default: as many as pay)")
