"""`meshward serve`: answers Envoy's ext_authz calls from a directory of manifests."""

import argparse
import signal
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network

from cli.arguments import add_manifest_arguments
from cli.command import Command, ExitCode, UsageError
from extauthz.token_mode import TokenMode
from mesh.files import STDIN

__all__ = ["COMMAND"]

_MOST_WORKERS = 256


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_manifest_arguments(parser)
    parser.add_argument(
        "--listen",
        metavar="ADDRESS",
        default="127.0.0.1:9191",
        help="host:port, or unix:/path (default: %(default)s); port 0 takes a free one",
    )
    parser.add_argument(
        "--workload",
        metavar="NAMESPACE/NAME",
        help="every request is for this workload, whatever Envoy says; for a server beside one sidecar",
    )
    parser.add_argument(
        "--decision-log", metavar="FILE", help="append one line of JSON for each decision; - for standard output"
    )
    parser.add_argument(
        "--shadow",
        metavar="PATH",
        action="append",
        default=[],
        help="decide every request by these policies, too, and count and log where they differ; they are never enforced, and "
        "reloaded as files change (may be repeated)",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=_count,
        default=1,
        help="processes that answer, one for each core to use: on one port, or each on a Unix socket (default: %(default)s)",
    )
    parser.add_argument(
        "--metrics",
        metavar="ADDRESS",
        help="host:port of an HTTP endpoint with /metrics for Prometheus, /healthz and /readyz; port 0 takes a free one",
    )
    parser.add_argument(
        "--jwt",
        choices=tuple(TokenMode),
        type=TokenMode,
        default=TokenMode.VERIFY,
        metavar="MODE",
        help="who verifies tokens: verify, this server (default), or trust-envoy, the jwt_authn filter before it",
    )
    parser.add_argument(
        "--jwks-allow",
        metavar="CIDR",
        type=_network,
        action="append",
        default=[],
        help="fetch keys also from these addresses, which are not public (may be repeated)",
    )
    parser.add_argument(
        "--jwks-ca", metavar="FILE", help="certificates to trust, besides the system's, when keys are fetched"
    )
    parser.add_argument(
        "--drain",
        metavar="SECONDS",
        type=_seconds,
        default=5.0,
        help="how long open requests may take after SIGTERM (default: %(default)s)",
    )


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST_WORKERS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {_MOST_WORKERS}")


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 <= (seconds := float(text)) < float("inf"):
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")


def _run(arguments: argparse.Namespace) -> ExitCode:
    if STDIN in (*arguments.paths, *arguments.shadow, arguments.mesh):
        raise UsageError("cannot serve standard input", help="give files or directories, which can be watched")
    # A server outlives whoever reads its log.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    from cli.serving import serve  # noqa: PLC0415  # no other verb pays for what this one needs

    return serve(arguments)


COMMAND = Command(
    "serve",
    "answer Envoy's ext_authz calls from a directory of manifests, reloading as files change",
    _add_arguments,
    _run,
    epilog="example: meshward serve policies/ --listen unix:/run/meshward/ext-authz.sock",
)
