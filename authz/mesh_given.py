"""What a file of policy tests or of invariants says of the mesh, over what the manifests say."""

from dataclasses import dataclass, field, replace

from authz.mesh_config import MeshConfig
from authz.peer_authentication import MtlsMode
from authz.span import Span

__all__ = ["MeshGiven"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshGiven:
    """What a file says of the mesh. `fields` names those of `config` that are given, over the manifests' own.

    `mtls` is the mode of the whole mesh, given at `mtls_span`.
    """

    config: MeshConfig = field(default_factory=MeshConfig)
    fields: frozenset[str] = frozenset()
    mtls: MtlsMode | None = None
    mtls_span: Span | None = None

    def over(self, config: MeshConfig) -> MeshConfig:
        """`config`, but with what is given here."""
        given = {name: getattr(self.config, name) for name in self.fields}
        return replace(config, **given)
