"""What both sides are asked: policies of one workload, and the requests and connections that they decide."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from authz.mesh_config import PathNormalization
from authz.model import Policy
from authz.request_authentication import RequestAuthentication
from demo.sidecar import Json
from parser.resource_document import Resource, document_of

__all__ = ["CHANNELS", "Caller", "Case", "Connection", "Http", "HttpVersion", "Mesh", "Question", "Tcp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who a client certificate says that the caller is. `subject` is attributes and values in the order of the certificate."""

    uris: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    subject: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """How the caller comes: over mTLS as `caller`, or in plaintext.

    `peer` is a loopback address, the client's real one. `source`, `destination` and `port` are what the PROXY protocol says
    of the connection, so they may be anything; a `source` that is not given is the peer.
    """

    caller: Caller | None = None
    sni: str | None = None
    peer: str = "127.0.0.1"
    source: str | None = None
    destination: str = "10.1.2.3"
    port: int = 8080


class HttpVersion(Enum):
    """What the caller speaks."""

    HTTP_1 = "HTTP/1.1"
    HTTP_2 = "HTTP/2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """One request. Text stands for bytes, a character each; `metadata` is dynamic metadata by channel."""

    connection: Connection = field(default_factory=Connection)
    version: HttpVersion = HttpVersion.HTTP_1
    method: str = "GET"
    target: str = "/"
    host: str = "api.example.com"
    headers: tuple[tuple[str, str], ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcp:
    """One connection that is not HTTP; `metadata` is dynamic metadata by channel, which can only be text here."""

    connection: Connection = field(default_factory=Connection)
    metadata: Mapping[str, str] = field(default_factory=dict)


Question = Http | Tcp

CHANNELS: Mapping[str, tuple[str, str]] = {
    "mongo": ("envoy.filters.network.mongo", "db"),
    "bracketed": ("envoy.filters.a", "[x]"),
}
"""The places in dynamic metadata that a question can set: the filter it stands for, and the key there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """What the mesh configuration says: its own trust domain and then the aliases, and what becomes of paths.

    `trusted_proxies` is how many proxies are trusted before the workload's own, which is then a gateway; without it, a sidecar.
    """

    trust_domains: tuple[str, ...] = ("cluster.local",)
    normalization: PathNormalization = PathNormalization.BASE
    trusted_proxies: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Policies that apply to one workload, and what is asked of it."""

    policies: tuple[Policy, ...]
    questions: tuple[Question, ...]
    authentications: tuple[RequestAuthentication, ...] = ()

    def documents(self) -> list[Json]:
        """The policies of both kinds, as their users would write them."""
        resources: list[Resource] = [*self.policies, *self.authentications]
        return [dict(document_of(resource)) for resource in resources]
