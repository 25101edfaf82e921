"""Text to model and back: YAML manifests with positions, validation, diagnostics."""

from parser.diagnostics import Diagnostic, PolicySyntaxError, Severity, render
from parser.manifests import Manifests, parse_manifests
from parser.mesh_config import parse_mesh_config

__all__ = [
    "Diagnostic",
    "Manifests",
    "PolicySyntaxError",
    "Severity",
    "parse_manifests",
    "parse_mesh_config",
    "render",
]
