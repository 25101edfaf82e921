"""Reading what a file of policy tests or of invariants says of the mesh."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from authz.mesh_config import ISTIOD_SWITCHES, MeshConfig, PathNormalization
from authz.mesh_given import MeshGiven
from authz.peer_authentication import MtlsMode
from parser.decode import Decoder
from parser.diagnostics import quoted
from parser.mesh_config import decode_mesh_config
from parser.yaml_nodes import Mapping as MappingNode
from parser.yaml_nodes import Node

__all__ = ["decode_mesh_given"]

_MESH_CONFIG: Mapping[str, str] = {
    "trustDomain": "trust_domain",
    "trustDomainAliases": "trust_domain_aliases",
    "rootNamespace": "root_namespace",
    "extensionProviders": "extension_providers",
    "defaultConfig": "trusted_proxies",
}
_MESH = (*_MESH_CONFIG, "pathNormalization", "istiodEnv", "target", "mtls")
_TARGETS = ("istio-1.29", "istio-1.30", "istio-1.31", "istio-1.32")


def decode_mesh_given(node: Node | None, decoder: Decoder) -> MeshGiven:
    """Read what stands under `mesh`; nothing is given where there is no such mapping."""
    fields = decoder.fields(node, "mesh", _MESH)
    if not isinstance(node, MappingNode):
        return MeshGiven()
    ours = {key: value for key, value in node.entries.items() if key in _MESH_CONFIG}
    keys = {key: node.keys[key] for key in ours}
    config = decode_mesh_config(MappingNode(ours, keys, node.source, node.start, node.end), decoder.problems)
    config = config or MeshConfig()
    given = {_MESH_CONFIG[key] for key in ours if key in fields}
    if (normalization := fields.get("pathNormalization")) is not None:
        if isinstance(normalization, MappingNode):
            inner = decoder.fields(normalization, "pathNormalization", ("normalization",))
            normalization = inner.get("normalization", normalization)
        chosen = decoder.choice(normalization, "pathNormalization", [each.value for each in PathNormalization])
        if chosen is not None:
            config = replace(config, path_normalization=PathNormalization(chosen))
            given.add("path_normalization")
    for name, value in decoder.fields(fields.get("istiodEnv"), "istiodEnv", tuple(ISTIOD_SWITCHES)).items():
        if name in ISTIOD_SWITCHES:
            switched: dict[str, Any] = {ISTIOD_SWITCHES[name]: decoder.boolean(value, name)}
            config = replace(config, **switched)
            given.add(ISTIOD_SWITCHES[name])
    if (target := fields.get("target")) is not None:
        version = decoder.text(target, "target")
        if version not in _TARGETS and not decoder.broken(target):
            message = f"nothing here decides as {quoted(version)} does"
            decoder.problems.error("unknown-release", message, target.span, help=f"write one of {', '.join(_TARGETS)}")
    mtls = fields.get("mtls")
    modes = [mode.value for mode in MtlsMode if mode is not MtlsMode.UNSET]
    mode = None if mtls is None else decoder.choice(mtls, "mtls", modes)
    return MeshGiven(
        config=config,
        fields=frozenset(given),
        mtls=None if mode is None else MtlsMode(mode),
        mtls_span=None if mtls is None else mtls.span,
    )
