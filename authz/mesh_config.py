"""MeshConfig: what the mesh says about itself as far as a verdict depends on it."""

from dataclasses import dataclass
from enum import Enum

__all__ = ["MeshConfig", "PathNormalization"]


class PathNormalization(Enum):
    """What the proxies do to a path before any filter sees it (MeshConfig `pathNormalization.normalization`)."""

    NONE = "NONE"
    BASE = "BASE"
    MERGE_SLASHES = "MERGE_SLASHES"
    DECODE_AND_MERGE_SLASHES = "DECODE_AND_MERGE_SLASHES"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshConfig:
    """The keys of Istio's MeshConfig that a verdict depends on, with Istio's defaults."""

    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    root_namespace: str = "istio-system"
    path_normalization: PathNormalization = PathNormalization.BASE

    @property
    def trust_domains(self) -> tuple[str, ...]:
        """The mesh's own trust domain, then its aliases."""
        return (self.trust_domain, *self.trust_domain_aliases)
