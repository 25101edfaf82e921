"""The server that Istio's agents and ztunnel connect to."""

from ca.front import Front, GrpcServer, TlsDoor, TlsPeer
from ca.front.tls import ServerTls
from ca.istio.impersonation import Impersonation
from ca.istio.service import CertificateService, TokenAttestor
from ca.office import Office

__all__ = ["istio_server"]


def istio_server(  # noqa: PLR0913  # what it is made of
    office: Office,
    host: str,
    port: int,
    tls: ServerTls,
    *,
    tokens: TokenAttestor | None = None,
    impersonation: Impersonation | None = None,
) -> GrpcServer[TlsPeer]:
    """A server at `host` and `port`: `async with` it, or `start` and `stop` it.

    `tls` shows the authority's own SVID, whose DNS names have the one that agents know it by, `istiod.istio-system.svc` unless they
    are told otherwise.

    Raises:
        ListenError: nothing can listen there.
    """
    front = Front(TlsDoor(host, port, tls))
    return GrpcServer(front, CertificateService(office, front, tokens=tokens, impersonation=impersonation).service())
