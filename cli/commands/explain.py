"""`meshward explain`: why a request is decided as it is."""

import argparse
import os
import sys

from cli.arguments import REQUEST_HELP, add_manifest_arguments, add_offline_arguments
from cli.command import Command, ExitCode, UsageError

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_manifest_arguments(parser)
    parser.add_argument("--request", metavar="FILE", required=True, help=REQUEST_HELP)
    add_offline_arguments(parser)
    parser.add_argument(
        "--all", action="store_true", help="leave nothing out: every rule, and every policy that does not apply"
    )
    parser.add_argument("-o", "--output", choices=("text", "json", "html"), default="text", help="default: %(default)s")


def _run(arguments: argparse.Namespace) -> ExitCode:
    # No other verb pays for what this one needs.
    import orjson  # noqa: PLC0415

    from cli.explaining import document_of_explained, text_of_explained  # noqa: PLC0415
    from cli.manifests import print_loaded, store_of  # noqa: PLC0415
    from cli.requests import offline_of, read_request  # noqa: PLC0415
    from mesh.explaining import explain_as_sent, explain_document  # noqa: PLC0415
    from mesh.files import STDIN  # noqa: PLC0415

    if [arguments.request, arguments.mesh, *arguments.paths].count(STDIN) > 1:
        raise UsageError("standard input can be only one of the manifests, the mesh configuration and the request")
    loaded = store_of(arguments).load()
    print_loaded(loaded, verbose=arguments.verbose)
    snapshot = loaded.snapshot
    offline = offline_of(arguments, snapshot)
    document = read_request(arguments.request)
    if document is None:
        return ExitCode.INVALID
    explained = (explain_as_sent if arguments.normalize else explain_document)(snapshot, document, offline)
    match arguments.output:
        case "json":
            data = document_of_explained(explained, revision=snapshot.revision)
            sys.stdout.buffer.write(orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2))
        case "html":
            from cli.reports.explanation_html import html_of_explanation  # noqa: PLC0415

            data = document_of_explained(explained, revision=snapshot.revision)
            sys.stdout.buffer.write(html_of_explanation(data).encode())
        case _:
            _print(text_of_explained(explained, every=arguments.all))
    sys.stdout.flush()
    return ExitCode.OK


def _print(text: str) -> None:
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        from cli.colour import print_explanation  # noqa: PLC0415  # paid for by who sees it

        print_explanation(text, sys.stdout)
    else:
        sys.stdout.buffer.write(text.encode())


COMMAND = Command(
    "explain",
    "say why a request is decided as it is",
    _add_arguments,
    _run,
    description=(
        "Say why a request is decided as it is: first the answer in four lines, then every step, every rule and every clause, "
        "with what was wanted and what was there."
    ),
    epilog="example: meshward explain policies/ --request request.yaml",
)
