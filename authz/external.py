"""External authorizers: which of those that CUSTOM policies name may be asked for a workload (semantics 6.3)."""

from collections.abc import Mapping
from types import MappingProxyType

from authz.attributes import Protocol
from authz.extension_provider import ExtensionProvider, HttpProvider
from authz.mesh_config import MeshConfig

__all__ = ["Authorizers", "authorizers"]


class Authorizers:
    """Those of one workload. `asked` can be asked, by name; `silent` have no say on TCP, where no HTTP request is."""

    __slots__ = ("_several", "asked", "silent")

    def __init__(self, asked: Mapping[str, ExtensionProvider], *, several: tuple[str, ...] = ()) -> None:
        self._several = several
        self.asked = MappingProxyType(dict(asked))
        self.silent = frozenset(name for name, provider in asked.items() if isinstance(provider, HttpProvider))

    def passed(self, protocol: Protocol) -> frozenset[str]:
        """Those whose policies Istio leaves out for `protocol`, as if they had let everything through."""
        return self.silent if protocol is Protocol.TCP else frozenset()

    def why_not(self, name: str) -> str:
        """Why the authorizer of that name is not asked, in words for who is denied for want of it."""
        if self._several:
            return f"policies name several authorizers, {', '.join(f'`{each}`' for each in self._several)}, and none is asked"
        if not name:
            return "the policy names no authorizer"
        return f"the mesh configuration has no authorizer `{name}`"


def authorizers(named: frozenset[str], config: MeshConfig) -> Authorizers:
    """Of the providers of the mesh those that can be asked for a workload whose CUSTOM policies name `named`.

    One that is unknown cannot. Nor can any where the policies of a workload name several, unless the mesh asks one after the
    other: Istio then denies what the rules of all of them match.
    """
    if len(named) > 1 and not config.multiple_custom_providers:
        return Authorizers({}, several=tuple(sorted(named)))
    return Authorizers({provider.name: provider for provider in config.extension_providers if provider.name in named})
