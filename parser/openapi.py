"""OpenAPI documents, as far as tests must know them: the routes of an API."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from authz.span import Span
from parser.decode import Decoder
from parser.diagnostics import PolicySyntaxError
from parser.problems import Problems
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node, Scalar, documents

__all__ = ["Route", "parse_openapi"]

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_PARAMETER = re.compile(r"\{[^{}/]*\}")


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path, in which a name in braces stands for any one segment, or a part of it."""

    method: str
    template: str

    @property
    def parameters(self) -> int:
        """How many names in braces it has: of two that fit, the one with fewer is meant."""
        return len(_PARAMETER.findall(self.template))

    def expression(self) -> re.Pattern[str]:
        """What its paths match, all of them."""
        literals = map(re.escape, _PARAMETER.split(self.template))
        return re.compile("[^/]+".join(literals))


def parse_openapi(data: bytes, file: str) -> tuple[Route, ...]:
    """The routes of an OpenAPI document of version 2 or 3, YAML or JSON, each below the path of each of its servers.

    Raises:
        PolicySyntaxError: It is none.
    """
    problems = Problems()
    found = list(documents(data, file, problems))
    root = found[0] if found else None
    entries = root.entries if isinstance(root, MappingNode) else {}
    if not problems.errors and not {"openapi", "swagger"} & entries.keys():
        span = Span(file, 1, 1, 1, 1) if root is None else root.span
        problems.error(
            "bad-openapi", "this is no OpenAPI document", span, help="it has a field `openapi`, or `swagger`"
        )
    routes = tuple(dict.fromkeys(_routes(root, Decoder(problems)))) if isinstance(root, MappingNode) else ()
    if not problems.errors and not routes and root is not None:
        problems.error("bad-openapi", "there is no route in this document", root.span, help="it has some below `paths`")
    if problems.errors:
        raise PolicySyntaxError(problems.diagnostics)
    return routes


def _routes(root: MappingNode, decoder: Decoder) -> Iterator[Route]:
    entries = root.entries
    bases = list(_bases(entries.get("servers"), decoder)) or [_text(entries.get("basePath"))]
    for path, item in decoder.entries(entries.get("paths"), "paths").items():
        for method in decoder.entries(item, "paths"):
            if method in _METHODS:
                yield from (Route(method.upper(), base.rstrip("/") + path) for base in bases)


def _bases(node: Node | None, decoder: Decoder) -> Iterator[str]:
    """The paths of servers. One that is a variable may be anything, and is left out of account."""
    for item in decoder.items(node, "servers"):
        url = _text(decoder.entries(item, "servers").get("url"))
        yield urlsplit(_PARAMETER.sub("x", url)).path if _PARAMETER.search(url) is None else ""


def _text(node: Node | None) -> str:
    return node.text if isinstance(node, Scalar) else ""
