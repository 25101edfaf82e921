"""ExtensionProvider: an external authorizer that CUSTOM policies name, as the mesh configuration declares it (semantics 6.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from authz.span import Span

__all__ = ["BodyCheck", "ExtensionProvider", "GrpcProvider", "HttpProvider"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyCheck:
    """How much of the request's body the authorizer gets to see, in bytes."""

    max_request_bytes: int
    allow_partial_message: bool = False
    pack_as_bytes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Provider:
    """What both kinds have. `service` is `[namespace/]hostname`; `timeout` is in seconds, Istio's default ten minutes."""

    name: str
    service: str
    port: int
    timeout: float = 600.0
    fail_open: bool = False
    status_on_error: int = 403
    body: BodyCheck | None = None
    span: Span | None = field(default=None, compare=False, repr=False)

    @property
    def host(self) -> str:
        """The host name of the service."""
        return self.service.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcProvider(_Provider):
    """`envoyExtAuthzGrpc`: asked by Envoy's own protocol, on HTTP and on TCP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProvider(_Provider):
    """`envoyExtAuthzHttp`: asked by an HTTP request that looks like the one to decide; it is not asked on TCP.

    The lists of headers hold exact names, `prefix*` and `*suffix`, whatever the case. An empty `headers_to_downstream_on_deny`
    stands for all headers.
    """

    path_prefix: str = ""
    include_request_headers: tuple[str, ...] = ()
    include_additional_headers: Mapping[str, str] = field(default_factory=dict)
    headers_to_upstream_on_allow: tuple[str, ...] = ()
    headers_to_downstream_on_allow: tuple[str, ...] = ()
    headers_to_downstream_on_deny: tuple[str, ...] = ()


ExtensionProvider = GrpcProvider | HttpProvider
