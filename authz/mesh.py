"""What the mesh says about itself as far as policies depend on it: the mesh configuration, workloads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from authz.span import Span

__all__ = ["MeshConfig", "PathNormalization", "Workload"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A destination: what policies select, and what a request is found to be for.

    `addresses` are IP addresses in their canonical text, `ports` the container ports; both may be empty where the manifests
    do not say.
    """

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    service_account: str = "default"
    addresses: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    span: Span | None = field(default=None, compare=False, repr=False)

    @property
    def id(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"
