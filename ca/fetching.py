"""Fetching one document over HTTPS from where the settings say that it is, trusting nothing of what comes but the TLS."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path

import httpx
from cryptography import x509

from ca.errors import AuthorityError

__all__ = ["FetchError", "Fetcher", "TrustedFile", "Vouch", "require_https", "trusting"]

_logger = logging.getLogger("meshward.ca")

Address = IPv4Address | IPv6Address

Vouch = Callable[[x509.Certificate], None]
"""Looks at the certificate of who answers, which TLS has verified, and raises `FetchError` if it is another's."""

MAX_DOCUMENT = 1024 * 1024
_CONNECT = 2.0
"""Seconds, so that a host with one address that is dead and one that is not can be reached at all."""
_OK = 200
_REDIRECTS = range(300, 400)
_SHOWN = 200

# Where clouds give credentials to whoever asks from inside, and what is no host. Documents name addresses as well as settings do.
_NEVER = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",
        "fe80::/10",
        "168.63.129.16/32",
        "fd00:ec2::254/128",
        "224.0.0.0/4",
        "ff00::/8",
        "0.0.0.0/8",
        "::/128",
        "240.0.0.0/4",
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4 = 0xFFFFFFFF


class FetchError(AuthorityError):
    """A document could not be fetched: `reason`. `status` is what was answered, where that is why."""

    def __init__(self, reason: str, *, status: int | None = None) -> None:
        super().__init__(f"it cannot be fetched: {reason}")
        self.reason = reason
        self.status = status


def trusting(authorities: Path | None) -> ssl.SSLContext:
    """Trust in the authorities in a file alone, or in those of the system and of httpx.

    Raises:
        FetchError: the file holds none.
    """
    if authorities is None:
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=authorities)
    except (OSError, ssl.SSLError) as error:
        raise FetchError(f"{authorities} holds no authorities that could be trusted: {error}") from error
    return context


class TrustedFile:
    """Trust in the authorities in a file alone, as it is now: a cluster changes its authorities, and nobody starts us again.

    What cannot be read leaves the last good ones.

    Raises:
        FetchError: the file holds none to begin with.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: object = self._look()
        self._context = trusting(path)

    def now(self) -> ssl.SSLContext:
        """By the file of this moment. This reads it, where it has changed."""
        seen = self._look()
        if seen != self._seen:
            # What could not be read is not looked at again until it changes once more.
            self._seen = seen
            try:
                self._context = trusting(self._path)
            except FetchError as error:
                _logger.error("what was trusted before still is: %s", error)  # noqa: TRY400  # it is no fault of the code
        return self._context

    def _look(self) -> object:
        try:
            status = self._path.stat()
        except OSError as error:
            return str(error)
        return (status.st_mtime_ns, status.st_size, status.st_ino)


def require_https(url: str) -> httpx.URL:
    """Read an address that begins with `https://`.

    Raises:
        FetchError: it is none, or has what no such address needs: credentials, or a fragment.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise FetchError(f"{_excerpt(url)} is no address that can be read") from error
    if parsed.scheme != "https" or not parsed.host:
        raise FetchError(f"{_excerpt(url)} does not begin with https:// and a host")
    if parsed.userinfo or parsed.fragment:
        raise FetchError("the address has credentials or a fragment")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise FetchError(f"{parsed.port} is no port")
    return parsed


class Fetcher:
    """Fetches by `tls`, which may follow a file: no redirects, no proxies, no encodings, no connection that is used twice, nothing longer than `most` bytes.

    `within` is how many seconds it may take.
    """

    def __init__(self, tls: ssl.SSLContext | TrustedFile, *, most: int = MAX_DOCUMENT, within: float = 10.0) -> None:
        self._tls = tls
        self._most = most
        self._within = within

    async def fetch(self, url: str, *, headers: Mapping[str, str] | None = None, vouch: Vouch | None = None) -> bytes:
        """The document at `url`.

        Raises:
            FetchError: there is none to be had.
        """
        parsed = require_https(url)
        try:
            async with asyncio.timeout(self._within):
                return await self._fetch(parsed, headers or {}, vouch)
        except TimeoutError as error:
            raise FetchError(f"it took longer than {self._within:g} s") from error

    async def _fetch(self, url: httpx.URL, headers: Mapping[str, str], vouch: Vouch | None) -> bytes:
        tls = await asyncio.to_thread(self._tls.now) if isinstance(self._tls, TrustedFile) else self._tls
        unreached = "no address"
        for address in await _addresses(url):
            try:
                return await self._fetch_from(address, tls, url, headers, vouch)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                unreached = str(error)  # the host may have another address
            except httpx.HTTPError as error:
                raise FetchError(f"the answer cannot be read: {_excerpt(str(error))}") from error
        raise FetchError(f"{_excerpt(url.host)} cannot be connected to: {_excerpt(unreached)}")

    async def _fetch_from(
        self, address: Address, tls: ssl.SSLContext, url: httpx.URL, headers: Mapping[str, str], vouch: Vouch | None
    ) -> bytes:
        # To the address that was looked at, and to no other that the name may have a moment later; the certificate must be the
        # name's all the same. By the transport and no client, which would follow and log what it should not.
        extensions: dict[str, object] = {"timeout": {"connect": _CONNECT}}
        if not _is_address(url.host):
            extensions["sni_hostname"] = url.raw_host.decode("ascii")
        said = {
            "host": url.netloc.decode("ascii"),
            "accept": "application/json",
            "accept-encoding": "identity",
            "user-agent": "meshward",
            "connection": "close",
        }
        request = httpx.Request(
            "GET", url.copy_with(host=str(address)), headers={**said, **headers}, extensions=extensions
        )
        async with (
            httpx.AsyncHTTPTransport(verify=tls, trust_env=False) as transport,
            aclosing(await transport.handle_async_request(request)) as response,
        ):
            if vouch is not None:
                vouch(_leaf(response))
            _require_usable(response)
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > self._most:
                    raise FetchError(f"it has more than {self._most} bytes")
            return bytes(body)


async def _addresses(url: httpx.URL) -> Sequence[Address]:
    host = url.raw_host.decode("ascii")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, url.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchError(f"no address of {_excerpt(host)} is known") from error
    addresses = tuple(dict.fromkeys(ip_address(socket_address[0]) for *_, socket_address in found))
    permitted = tuple(each for each in addresses if not _is_never(each))
    if not permitted:
        raise FetchError(f"{_excerpt(host)} has no address at which anything is fetched")
    return permitted


def _is_never(address: Address) -> bool:
    return any(_meant(address) in network for network in _NEVER)


def _meant(address: Address) -> Address:
    """The IPv4 address that is reached through an IPv6 one, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & _IPV4) if address in _NAT64 else address


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _leaf(response: httpx.Response) -> x509.Certificate:
    stream = response.extensions.get("network_stream")
    connection = None if stream is None else stream.get_extra_info("ssl_object")
    der = None if connection is None else connection.getpeercert(binary_form=True)
    if der is None:
        raise FetchError("who answers has shown no certificate")
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion) as error:
        raise FetchError("the certificate of who answers cannot be read") from error


def _require_usable(response: httpx.Response) -> None:
    status = response.status_code
    if status in _REDIRECTS:
        # Who answers for the address would choose another, past whoever wrote the settings.
        raise FetchError(f"status {status}: redirects are not followed", status=status)
    if status != _OK:
        raise FetchError(f"status {status}", status=status)
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        # A few bytes can become gigabytes.
        raise FetchError(f"the answer is encoded as {_excerpt(encoding)}, which was not asked for")


def _excerpt(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}…"
