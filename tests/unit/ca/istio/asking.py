"""A real gRPC server of the edge, and somebody who asks it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509

from ca.front import Front, GrpcServer, TlsPeer
from ca.front.door import Taker
from ca.istio.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from ca.istio.service import SERVICE, CertificateService

__all__ = ["ADDRESS", "Asker", "Heard", "heard", "serving"]

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
    """Asks, each time over a connection of its own. `leaf` is what the door says that TLS has verified."""

    def __init__(self, address: str, door: "OpenDoor") -> None:
        self.address = address
        self._door = door
        self.leaf: x509.Certificate | None = None

    async def ask(
        self,
        csr: bytes | str = b"",
        *,
        token: str | None = None,
        metadata: tuple[tuple[str, str], ...] = (),
        seconds: int = 0,
        **said: Any,
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
        self._door.leaf = self.leaf
        options = (("grpc.use_local_subchannel_pool", 1),)
        async with grpc.aio.insecure_channel(self.address, options=options) as channel:
            return await heard(channel, question, metadata)


async def heard(channel: grpc.aio.Channel, question: bytes, metadata: tuple[tuple[str, str], ...]) -> Heard:
    """What is answered."""
    try:
        answer = await channel.unary_unary(f"/{SERVICE}/CreateCertificate")(question, metadata=metadata, timeout=20)
    except grpc.aio.AioRpcError as error:
        return Heard(error.code().value[0], error.details() or "")
    return Heard(0, "", tuple(IstioCertificateResponse.FromString(answer).cert_chain))


class OpenDoor:
    """A `Door` without TLS, for tests whose clock is not the machine's: it says of each who comes what the test says."""

    def __init__(self, path: Path) -> None:
        self.address = f"unix:{path}"
        self._path = path
        self.leaf: x509.Certificate | None = None

    async def open(self, taker: Taker) -> asyncio.AbstractServer:
        return await asyncio.get_running_loop().create_unix_server(taker, self._path)

    def peer(self, transport: asyncio.BaseTransport) -> TlsPeer:
        del transport
        return TlsPeer(ADDRESS, self.leaf)

    def leave(self, peer: TlsPeer) -> None:
        pass

    def group(self, peer: TlsPeer) -> str:
        return peer.address

    def close(self) -> None:
        self._path.unlink(missing_ok=True)


@asynccontextmanager
async def serving(directory: Path, service: Callable[[Front[TlsPeer]], CertificateService]) -> AsyncIterator[Asker]:
    """Serve what `service` makes of a front."""
    door = OpenDoor(directory / "istio.sock")
    front = Front(door)
    async with GrpcServer(front, service(front).service(), grace=0.1) as server:
        yield Asker(server.address, door)
