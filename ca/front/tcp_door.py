"""The door for clients from elsewhere: TCP with TLS, and the certificate that the client showed, if it did."""

import asyncio
import socket
from asyncio import AbstractServer, BaseTransport
from dataclasses import dataclass

from cryptography import x509

from ca.errors import ListenError
from ca.front.door import Taker
from ca.front.tls import ServerTls
from ca.networks import network_of

__all__ = ["TlsDoor", "TlsPeer"]

_BACKLOG = 1024
_HANDSHAKE = 10.0


@dataclass(frozen=True, slots=True)
class TlsPeer:
    """Who connected. TLS has shown that they hold the key of `certificate`, and that it led to a root when they came.

    Whether it still does, and what it names, is for whoever attests it. `address` is without the port.
    """

    address: str
    certificate: x509.Certificate | None


class TlsDoor:
    """A TCP port at `host`, with TLS by `tls`. A port of 0 is one that the system chooses.

    Raises:
        ListenError: nothing can listen there.
    """

    def __init__(self, host: str, port: int, tls: ServerTls) -> None:
        self._tls = tls
        shown = f"[{host}]" if ":" in host else host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise ListenError(f"{shown}:{port}", error.strerror or str(error)) from error
        self._socket.settimeout(0)
        self.address = f"{shown}:{self._socket.getsockname()[1]}"

    async def open(self, taker: Taker) -> AbstractServer:
        """As `Door.open`."""
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            taker, sock=self._socket, ssl=self._tls.context, ssl_handshake_timeout=_HANDSHAKE
        )

    def peer(self, transport: BaseTransport) -> TlsPeer:
        """As `Door.peer`."""
        der = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        certificate = None if der is None else x509.load_der_x509_certificate(der)
        # None where it has gone already.
        peername = transport.get_extra_info("peername") or ("",)
        return TlsPeer(str(peername[0]), certificate)

    def leave(self, peer: TlsPeer) -> None:
        """As `Door.leave`."""

    def group(self, peer: TlsPeer) -> str:
        """As `Door.group`."""
        return network_of(peer.address)

    def close(self) -> None:
        """As `Door.close`."""
        self._socket.close()
