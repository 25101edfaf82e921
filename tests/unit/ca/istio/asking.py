"""A real gRPC server of the edge, and somebody who asks it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from cryptography import x509

from ca.istio.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from ca.istio.service import OPTIONS, SERVICE, CertificateService, Peer, handlers

__all__ = ["Asker", "Heard", "serving"]

ADDRESS = "10.0.0.7"


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back."""

    code: int
    text: str
    chain: tuple[str, ...] = ()

    @property
    def certificates(self) -> list[x509.Certificate]:
        return [x509.load_pem_x509_certificate(each.encode()) for each in self.chain[:-1]]

    @property
    def roots(self) -> list[x509.Certificate]:
        return x509.load_pem_x509_certificates(self.chain[-1].encode())


class Asker:
    """Asks over one connection; `leaf` is what the front would say that TLS has verified."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._call = channel.unary_unary(f"/{SERVICE}/CreateCertificate")
        self.leaf: x509.Certificate | None = None
        self.peers: Callable[[str], Peer | None] = lambda _: Peer(ADDRESS, self.leaf)

    def find_peer(self, peer: str) -> Peer | None:
        return self.peers(peer)

    async def ask(
        self,
        csr: bytes | str = b"",
        *,
        token: str | None = None,
        metadata: tuple[tuple[str, str], ...] = (),
        seconds: int = 0,
        **said: object,
    ) -> Heard:
        """Ask as an agent does."""
        request = IstioCertificateRequest(
            csr=csr.decode() if isinstance(csr, bytes) else csr, validity_duration=seconds
        )
        if said:
            request.metadata.update(said)
        shown = () if token is None else (("authorization", f"Bearer {token}"),)
        return await self.send(request.SerializeToString(), metadata=(*shown, *metadata))

    async def send(self, question: bytes, *, metadata: tuple[tuple[str, str], ...] = ()) -> Heard:
        """Send bytes, whatever they are."""
        try:
            answer = await self._call(question, metadata=metadata, timeout=20)
        except grpc.aio.AioRpcError as error:
            return Heard(error.code().value[0], error.details() or "")
        return Heard(0, "", tuple(IstioCertificateResponse.FromString(answer).cert_chain))


@asynccontextmanager
async def serving(
    directory: Path, service: Callable[[Callable[[str], Peer | None]], CertificateService]
) -> AsyncIterator[Asker]:
    """Serve what `service` makes of a way to find peers."""
    server = grpc.aio.server(options=OPTIONS)
    async with grpc.aio.insecure_channel(f"unix:{directory}/istio.sock") as channel:
        asker = Asker(channel)
        server.add_generic_rpc_handlers((handlers(service(asker.find_peer)),))
        server.add_insecure_port(f"unix:{directory}/istio.sock")
        await server.start()
        try:
            yield asker
        finally:
            await server.stop(None)
