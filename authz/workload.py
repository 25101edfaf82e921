"""Workload: a destination, what policies select and what a request is found to be for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from authz.span import Span

__all__ = ["Workload"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A destination in the mesh.

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
