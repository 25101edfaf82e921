"""Fetching one document by HTTP from where a policy says it is, trusting neither the place nor what comes from there."""

import asyncio
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

import httpx

from authn.egress import Egress, RefusedAddressError
from authn.errors import AuthnError, excerpt
from authn.jwk import MAX_JWK_SET

__all__ = ["Document", "FetchError", "Fetcher", "Resolve", "resolve", "tls_context"]

Address = IPv4Address | IPv6Address

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Finds the addresses of a host and port, or raises `OSError`."""

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})(?!\d)", re.IGNORECASE)
_STALE_AT_ONCE = re.compile(r"(?:^|[,\s])no-(?:cache|store)(?![\w-])", re.IGNORECASE)
_MAX_PORT = 65535
# Seconds, so that a host with one address that is dead and one that is not can be reached at all.
_CONNECT = 2.0
_OK = 200
_REDIRECTS = range(300, 400)


class FetchError(AuthnError):
    """A document could not be fetched; `reason` says why, without credentials or query of the address."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Document(NamedTuple):
    """What was fetched, and for how many seconds it may be kept as its origin has it, `None` where that does not say."""

    body: bytes
    max_age: int | None


async def resolve(host: str, port: int) -> Sequence[Address]:
    """The addresses of `host` as the system finds them.

    Raises:
        OSError: it finds none.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("it is no name that a host can have") from error
    return tuple(dict.fromkeys(ip_address(socket_address[0]) for *_, socket_address in found))


def tls_context() -> ssl.SSLContext:
    """Trust in the authorities that come with httpx, and in those of the system."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


class Fetcher:
    """Fetches documents over HTTP and HTTPS from addresses that `egress` lets through.

    No redirects, no proxies, no encodings, no connection that is used twice, nothing longer than a JWK Set may be. How long
    it may take is for the caller to bound.
    """

    def __init__(
        self, egress: Egress, *, tls: ssl.SSLContext, resolve: Resolve = resolve, connect: float = _CONNECT
    ) -> None:
        self._egress = egress
        self._tls = tls
        self._resolve = resolve
        self._connect = connect

    async def fetch(self, url: str) -> Document:
        """The document at `url`.

        Raises:
            FetchError: there is none to be had.
        """
        parsed = _parsed(url)
        unreached = ""
        for address in await self._addresses(parsed):
            try:
                return await self._fetch_from(address, parsed)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                unreached = str(error)  # the host may have another address
            except httpx.HTTPError as error:
                raise FetchError(f"the answer cannot be read: {excerpt(str(error))}") from error
        raise FetchError(f"it cannot be connected to: {excerpt(unreached)}")

    async def _addresses(self, url: httpx.URL) -> Sequence[Address]:
        host = url.raw_host.decode("ascii")
        try:
            found = await self._resolve(host, url.port or (443 if url.scheme == "https" else 80))
        except OSError as error:
            raise FetchError(f"no address of {excerpt(host)} is known: {error.strerror or error}") from error
        permitted = []
        refused = None
        for address in found:
            try:
                self._egress.require(address)
            except RefusedAddressError as error:
                refused = error
            else:
                permitted.append(address)
        if not permitted:
            why = refused or "it has none"
            raise FetchError(f"no address of {excerpt(host)} may be connected to: {why}") from refused
        return permitted

    async def _fetch_from(self, address: Address, url: httpx.URL) -> Document:
        # To the address that was checked, and to no other that the name may have a moment later; the certificate must be
        # the name's all the same. Each time over a new connection: one to this address may be another name's. By the
        # transport and no client, which would log addresses with what is secret in them.
        extensions: dict[str, object] = {"timeout": {"connect": self._connect}}
        if not _is_address(url.host):
            extensions["sni_hostname"] = url.raw_host.decode("ascii")
        to = url.copy_with(host=str(address), userinfo=b"")
        request = httpx.Request("GET", to, headers=_headers(url), extensions=extensions)
        async with (
            httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False) as transport,
            aclosing(await transport.handle_async_request(request)) as response,
        ):
            _require_usable(response)
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_JWK_SET:
                    raise FetchError(f"more than {MAX_JWK_SET} bytes")
            return Document(bytes(body), _max_age(response.headers))


def _headers(url: httpx.URL) -> dict[str, str]:
    headers = {
        "host": url.netloc.decode("ascii"),
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "meshward",
        "connection": "close",
    }
    if url.userinfo:
        credentials = f"{url.username}:{url.password}".encode()
        headers["authorization"] = f"Basic {b64encode(credentials).decode('ascii')}"
    return headers


def _parsed(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise FetchError("the address cannot be read") from error
    if parsed.scheme not in {"http", "https"}:
        raise FetchError(f"the scheme is {excerpt(parsed.scheme)}, neither http nor https")
    if not parsed.host:
        raise FetchError("the address names no host")
    if parsed.port is not None and not 0 < parsed.port <= _MAX_PORT:
        raise FetchError(f"{parsed.port} is no port")
    return parsed


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _require_usable(response: httpx.Response) -> None:
    if response.status_code in _REDIRECTS:
        # Who answers for the address would choose another, past all checks of the policy's author.
        raise FetchError(f"status {response.status_code}: redirects are not followed")
    if response.status_code != _OK:
        raise FetchError(f"status {response.status_code}")
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        # A few bytes can become gigabytes.
        raise FetchError(f"the answer is encoded as {excerpt(encoding)}, which was not asked for")


def _max_age(headers: httpx.Headers) -> int | None:
    control = headers.get("cache-control", "")
    if _STALE_AT_ONCE.search(control):
        return 0
    found = _MAX_AGE.search(control)
    return int(found[1]) if found else None
