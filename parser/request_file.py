"""A request document in a file, with the place of what is wrong in it."""

from authz.span import Span
from parser.diagnostics import Diagnostic, PolicySyntaxError, Severity
from parser.request import RequestDocument, RequestError, UnknownFieldError, parse_request
from parser.yaml_nodes import Mapping, Node, parse_documents, to_data
from parser.yaml_spans import node_at

__all__ = ["parse_request_file"]


def parse_request_file(data: bytes, file: str) -> RequestDocument:
    """Read the one request document, YAML or JSON, in a file.

    Raises:
        PolicySyntaxError: It is no document, more than one, or not of a request.
    """
    nodes, diagnostics = parse_documents(data, file)
    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity is Severity.ERROR]
    if errors:
        raise PolicySyntaxError(errors)
    if len(nodes) != 1:
        span = nodes[1].span if nodes else Span(file, 1, 1, 1, 1)
        found = "more than one document" if nodes else "no document"
        help_ = "`--request` takes one request; `--requests` takes a file with one on each line, as JSON"
        raise PolicySyntaxError([Diagnostic("bad-request", f"{found} in this file", span, help=help_)])
    try:
        return parse_request(to_data(nodes[0]))
    except RequestError as error:
        span = _place(nodes[0], error)
        raise PolicySyntaxError([Diagnostic("bad-request", error.message, span, help=error.help)]) from error


def _place(root: Node, error: RequestError) -> Span:
    """The place of the value that the error is about, or of its key where that is what is wrong."""
    parent = node_at(root, error.path[:-1])
    if isinstance(error, UnknownFieldError) and isinstance(parent, Mapping):
        return parent.keys[error.name].span
    return (node_at(root, error.path) or root).span
