"""MeshConfig: what the mesh says about itself as far as a verdict depends on it."""

from dataclasses import dataclass
from enum import Enum

from authz.extension_provider import ExtensionProvider

__all__ = ["ISTIOD_SWITCHES", "MeshConfig", "PathNormalization"]


class PathNormalization(Enum):
    """What the proxies do to a path before any filter sees it (MeshConfig `pathNormalization.normalization`)."""

    NONE = "NONE"
    BASE = "BASE"
    MERGE_SLASHES = "MERGE_SLASHES"
    DECODE_AND_MERGE_SLASHES = "DECODE_AND_MERGE_SLASHES"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshConfig:
    """The keys of Istio's MeshConfig that a verdict depends on, with Istio's defaults.

    `trusted_proxies` is `defaultConfig.gatewayTopology.numTrustedProxies`: how many proxies in front of a gateway are believed.
    The last two are no keys of it but switches in istiod's environment, `ISTIOD_SWITCHES`.
    """

    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    root_namespace: str = "istio-system"
    path_normalization: PathNormalization = PathNormalization.BASE
    extension_providers: tuple[ExtensionProvider, ...] = ()
    trusted_proxies: int = 0
    multiple_custom_providers: bool = False
    selectors_on_gateways: bool = True

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """The mesh's own trust domain, then its aliases."""
        return (self.trust_domain, *self.trust_domain_aliases)


ISTIOD_SWITCHES = {
    "PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS": "multiple_custom_providers",
    "ENABLE_SELECTOR_BASED_K8S_GATEWAY_POLICY": "selectors_on_gateways",
}
"""Variables in istiod's environment that a verdict depends on, and the fields of MeshConfig that they are here."""
