"""MeshConfig: from wherever Istio's users keep it, as far as a verdict depends on it."""

from dataclasses import replace

from authz.mesh_config import MeshConfig, PathNormalization
from authz.span import Span
from parser.decode import Decoder
from parser.diagnostics import Diagnostic
from parser.envelope import kind_of
from parser.extension_providers import decode_extension_providers
from parser.misspelt import check_key
from parser.problems import Problems
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node, Scalar, documents

__all__ = ["decode_mesh_config", "mesh_config_in", "parse_mesh_config"]

_CONFIG_MAP = "istio"
_OURS = (
    "trustDomain",
    "trustDomainAliases",
    "rootNamespace",
    "pathNormalization",
    "extensionProviders",
    "defaultConfig",
)
_MAX_PROXIES = 2**32 - 1
# Keys that no other document has at its root: enough of them to know a plain mesh-config file by.
_TELLTALE = frozenset(
    {
        *_OURS,
        "accessLogFile",
        "defaultProviders",
        "discoverySelectors",
        "enableAutoMtls",
        "meshMTLS",
        "outboundTrafficPolicy",
    }
)


def parse_mesh_config(data: bytes, file: str) -> tuple[MeshConfig | None, list[Diagnostic]]:
    """The mesh configuration in a file: plain, as ConfigMap `istio`, or in an IstioOperator.

    None where there is none, or something is wrong with the file; then the diagnostics say what.
    """
    problems = Problems()
    nodes = list(documents(data, file, problems))
    # A plain file may hold nothing but keys that we do not know.
    found = [each for node in nodes if (each := mesh_config_in(node)) is not None] or [
        node for node in nodes if kind_of(node) == (None, None)
    ]
    configs = [decode_mesh_config(node, problems) for node in found]
    if len(configs) != 1 and problems.errors == 0:
        message = "more than one mesh configuration in this file" if configs else "no mesh configuration in this file"
        span = found[1].span if found else Span(file, 1, 1, 1, 1)
        problems.error(
            "bad-mesh-config", message, span, help="give a file with one: Istio's MeshConfig, or what holds it"
        )
    return (configs[0] if problems.errors == 0 else None), list(problems.diagnostics)


def mesh_config_in(document: Node) -> Node | None:
    """The value in `document` that holds a mesh configuration; none where it has none."""
    api_version, kind = kind_of(document)
    if kind == "ConfigMap" and api_version == "v1":
        name = _at(document, "metadata", "name")
        return _at(document, "data", "mesh") if isinstance(name, Scalar) and name.text == _CONFIG_MAP else None
    if kind == "IstioOperator":
        return _at(document, "spec", "meshConfig")
    if kind is not None or api_version is not None or not isinstance(document, MappingNode):
        return None
    return None if _TELLTALE.isdisjoint(document.entries) else document


def _at(node: Node | None, *path: str) -> Node | None:
    for step in path:
        node = node.entries.get(step) if isinstance(node, MappingNode) else None
    return node


def decode_mesh_config(node: Node, problems: Problems) -> MeshConfig | None:
    """The mesh configuration that `node` is, or that it holds as text; none where something is wrong with it.

    Keys that no verdict depends on are left alone.
    """
    before = problems.errors
    if isinstance(node, Scalar) and isinstance(node.value, str):
        config = _from_text(node, problems)
    else:
        config = _decode(node, Decoder(problems))
    return config if problems.errors == before else None


def _from_text(node: Scalar, problems: Problems) -> MeshConfig:
    """A configuration inside a string: its problems are moved to where the string stands."""
    inner = Problems()
    config = MeshConfig()
    found = list(documents(node.text.encode(), node.span.file, inner))
    if len(found) == 1:
        config = _decode(found[0], Decoder(inner))
    elif found:
        inner.error("bad-mesh-config", "more than one document in `mesh`", found[1].span, help="keep one of them")
    for diagnostic in inner.diagnostics:
        problems.add(replace(diagnostic, span=_outside(diagnostic.span, node)))
    providers = (
        replace(each, span=None if each.span is None else _outside(each.span, node))
        for each in config.extension_providers
    )
    return replace(config, extension_providers=tuple(providers))


def _outside(span: Span, node: Scalar) -> Span:
    """Where `span` in the text of `node` is in the document around it."""
    outer = node.span
    written = node.source.text[node.start : node.end].splitlines()
    lines = node.text.splitlines()
    # Only a literal block (`|`) keeps the lines as they are, each behind the indentation of the block.
    literal = bool(written) and written[0].startswith("|") and 0 < span.line <= len(lines) and span.line < len(written)
    if not literal or not written[span.line].endswith(lines[span.line - 1]):
        return outer
    indent = len(written[span.line]) - len(lines[span.line - 1])
    return Span(
        outer.file,
        outer.line + span.line,
        span.column + indent,
        outer.line + span.end_line,
        span.end_column + indent,
    )


def _decode(node: Node, decoder: Decoder) -> MeshConfig:
    entries = decoder.entries(node, "meshConfig")
    if isinstance(node, MappingNode):
        for key, written in node.keys.items():
            check_key(key, written, _OURS, "meshConfig", decoder)
    config = MeshConfig()
    if (trust_domain := entries.get("trustDomain")) is not None:
        config = replace(config, trust_domain=_name(trust_domain, "trustDomain", decoder))
    if (aliases := entries.get("trustDomainAliases")) is not None:
        names = (_name(alias, "trustDomainAliases", decoder) for alias in decoder.items(aliases, "trustDomainAliases"))
        config = replace(config, trust_domain_aliases=tuple(names))
    if (root := entries.get("rootNamespace")) is not None:
        config = replace(config, root_namespace=_name(root, "rootNamespace", decoder))
    normalization = decoder.entries(entries.get("pathNormalization"), "pathNormalization").get("normalization")
    if normalization is not None:
        # DEFAULT comes first, so that it is the last to be suggested.
        names_ = ("DEFAULT", *(option.value for option in PathNormalization))
        chosen = decoder.choice(normalization, "normalization", names_)
        if chosen is not None and chosen != "DEFAULT":  # which is what we default to, too
            config = replace(config, path_normalization=PathNormalization(chosen))
    return replace(
        config,
        extension_providers=decode_extension_providers(entries.get("extensionProviders"), decoder),
        trusted_proxies=_trusted_proxies(entries.get("defaultConfig"), decoder),
    )


def _trusted_proxies(node: Node | None, decoder: Decoder) -> int:
    """`gatewayTopology.numTrustedProxies` of the `defaultConfig`, which has many fields beside it."""
    for outer, field in (("defaultConfig", "gatewayTopology"), ("gatewayTopology", "numTrustedProxies")):
        entries = decoder.entries(node, outer)
        if isinstance(node, MappingNode):
            for key, written in node.keys.items():
                check_key(key, written, (field,), outer, decoder)
        node = entries.get(field)
    number = None if node is None else decoder.number(node, "numTrustedProxies")
    if node is not None and number is not None and not 0 <= number <= _MAX_PROXIES:
        message = f"{number} is not a number of proxies"
        decoder.problems.error("bad-number", message, node.span, help="write how many proxies stand before a gateway")
    return number or 0


def _name(node: Node, name: str, decoder: Decoder) -> str:
    text = decoder.text(node, name)
    if not text and not decoder.broken(node):
        remedy = "write a name, or remove it for the default"
        decoder.problems.error("empty-value", f"empty value in `{name}`", node.span, help=remedy)
    return text
