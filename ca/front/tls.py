"""TLS as a server: contexts that show what the authority has now, and take certificates of clients that have one."""

import os
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Self

from identity import Bundle, X509Svid

__all__ = ["ServerTls", "load_svid", "server_context"]


class ServerTls:
    """TLS whose handshakes use the SVID and the bundle of their moment: new ones are taken up without a restart.

    Connections that are open stay as they are. A client without a certificate is let in, and one whose certificate leads to no
    root of the bundle, or has expired, is not. No session is resumed, for a resumed one verifies nothing. `svid` and `bundle` are
    asked in every handshake, so they may do no more than look.
    """

    def __init__(
        self, svid: Callable[[], X509Svid], bundle: Callable[[], Bundle], *, protocols: Sequence[str] = ("h2",)
    ) -> None:
        self._svid = svid
        self._bundle = bundle
        self._protocols = tuple(protocols)
        self._used = (svid(), bundle())
        self._fresh = server_context(*self._used, protocols=protocols)
        self.context: ssl.SSLContext = _NewEachTime(self._begin)
        """What servers are given, once."""

    def _begin(self) -> ssl.SSLContext:
        context = _bare(self._protocols)
        # Called in every handshake, also where the client names no server.
        context.sni_callback = self._swap
        return context

    def _swap(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        wanted = (self._svid(), self._bundle())
        if wanted != self._used:
            # Making one takes milliseconds, most of a handshake.
            self._fresh, self._used = server_context(*wanted, protocols=self._protocols), wanted
        # Certificate, roots and protocols go with the context; what else it says was taken from the first, and is the same.
        connection.context = self._fresh


class _NewEachTime(ssl.SSLContext):
    """A context that gives each connection another one to begin with.

    By TLS 1.2 a session is resumed by its id as well, which no option turns off, and Python cannot keep OpenSSL from keeping them; it
    keeps them with the context that a connection began with. One that nobody else has holds nothing to resume, and its making
    takes half a millisecond.
    """

    _begin: Callable[[], ssl.SSLContext]

    def __new__(cls, begin: Callable[[], ssl.SSLContext]) -> Self:
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made._begin = begin  # its own
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        return made

    def wrap_bio(self, *given: Any, **more: Any) -> ssl.SSLObject:
        return self._begin().wrap_bio(*given, **more)

    def wrap_socket(self, *given: Any, **more: Any) -> ssl.SSLSocket:
        return self._begin().wrap_socket(*given, **more)


def server_context(svid: X509Svid, bundle: Bundle, *, protocols: Sequence[str] = ("h2",)) -> ssl.SSLContext:
    """A context that shows `svid` and verifies clients, if they have a certificate, with `bundle`. It stays as it is.

    Raises:
        ValueError: `svid` came without its private key, or `bundle` has no root.
    """
    if not bundle.x509_authorities:
        raise ValueError(f"the bundle of `{bundle.trust_domain}` has no root to verify clients with")
    context = _bare(protocols)
    context.load_verify_locations(cadata=bundle.to_pem().decode("ascii"))
    load_svid(context, svid)
    return context


def _bare(protocols: Sequence[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client that speaks none of these finds out by itself: OpenSSL goes on without.
    context.set_alpn_protocols(list(protocols))
    context.verify_mode = ssl.CERT_OPTIONAL
    # A resumed session skips the verification of what may have been tainted since (spec 3.2).
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    return context


def load_svid(context: ssl.SSLContext, svid: X509Svid) -> None:
    """Let `context` show `svid`. The private key never touches a disk.

    Raises:
        ValueError: `svid` came without it.
    """
    # Python reads keys from files only. This one is in memory, has no name, and is gone when it is closed.
    file = os.memfd_create("svid", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(file), "wb") as output:
            output.write(svid.private_key_to_unencrypted_pem() + svid.chain_to_pem())
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
