"""A request as its client writes it, and what a proxy makes of it: Envoy's part of the way.

`tests/attacks/test_sent.py` holds it to Envoy.
"""

import re
from dataclasses import dataclass, replace
from enum import Enum

from authz.attributes import Attributes, Protocol
from authz.mesh_config import MeshConfig, PathNormalization
from authz.normalization import RefusedPathError, normalize_path
from authz.remote_address import remote_address
from authz.values import ascii_lower
from authz.workload import ProxyKind

__all__ = ["FORWARDED_FOR", "HttpVersion", "Refused", "Sent", "as_seen", "as_sent"]

Line = tuple[str, str]

FORWARDED_FOR = "x-forwarded-for"

_ABSOLUTE = re.compile(r"https?://(?:[^/?#@\\]*@)?([^/?#\\]+)(/.*)?", re.IGNORECASE)
# HTTP/1 knows these and no others; of HTTP/2 it takes any.
_METHODS = re.compile(
    "ACL|BIND|CHECKOUT|CONNECT|COPY|DELETE|GET|HEAD|LINK|LOCK|MERGE|MKACTIVITY|MKCALENDAR|MKCOL|MOVE|MSEARCH|NOTIFY|OPTIONS|"
    "PATCH|POST|PROPFIND|PROPPATCH|PURGE|PUT|REBIND|REPORT|SEARCH|SOURCE|SUBSCRIBE|TRACE|UNBIND|UNLINK|UNLOCK|UNSUBSCRIBE"
)
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_UNSENDABLE = re.compile(r"[\0\r\n]")


class HttpVersion(Enum):
    """In which version of HTTP a request is written."""

    HTTP_1 = "HTTP/1.1"
    HTTP_2 = "HTTP/2"


class Refused(Exception):  # noqa: N818  # not an error: it is what an attack should come to
    """The proxy does not let the request in, and asks nobody about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a client writes: over TCP nothing but the server name of its handshake. Bytes that are no UTF-8 are surrogates.

    `hosts` are its `Host` lines; over HTTP/2 the first is `:authority`.
    """

    protocol: Protocol = Protocol.HTTP
    version: HttpVersion = HttpVersion.HTTP_1
    method: str = "GET"
    target: str = "/items"
    hosts: tuple[str, ...] = ("api.shop",)
    headers: tuple[Line, ...] = ()
    sni: str | None = None

    def lines(self, name: str) -> tuple[str, ...]:
        """The values of the header `name`, which is in lower case."""
        return tuple(value for own, value in self.headers if ascii_lower(own) == name)

    def with_lines(self, name: str, *values: str) -> "Sent":
        """The same with these lines of the header `name`, behind all others."""
        others = tuple(line for line in self.headers if ascii_lower(line[0]) != name)
        return replace(self, headers=(*others, *((name, value) for value in values)))


def as_sent(facts: Attributes) -> Sent:
    """What a client may have written for a request to arrive with these facts, as far as they are its to write."""
    headers = tuple((name, value) for name, values in facts.headers.items() for value in values)
    if facts.remote_ip not in (None, facts.source_ip) and FORWARDED_FOR not in facts.headers:
        headers = (*headers, (FORWARDED_FOR, str(facts.remote_ip)))
    return Sent(
        protocol=facts.protocol,
        method=facts.method or "GET",
        target=facts.path or "/items",
        hosts=("api.shop",) if facts.host is None else (facts.host,),
        headers=headers,
        sni=facts.sni,
    )


def as_seen(sent: Sent, facts: Attributes, config: MeshConfig, proxy: ProxyKind) -> Attributes:
    """What the filters of a proxy see of `sent`, where everything that is not the client's to write is as in `facts`.

    Raises:
        Refused: They see nothing of it.
    """
    # tls_inspector lowers the server name for RBAC.
    sni = sent.sni and ascii_lower(sent.sni)
    if sent.protocol is Protocol.TCP:
        return replace(facts, protocol=sent.protocol, sni=sni)
    host, target = _host_and_target(sent)
    headers = _headers(sent)
    forwarded = headers.get(FORWARDED_FOR, ())
    # These lines Envoy joins before any filter sees them, and a gateway puts its own peer behind them.
    hops = [line for line in forwarded if line] + ([str(facts.source_ip)] if proxy is ProxyKind.GATEWAY else [])
    if hops:
        headers[FORWARDED_FOR] = (",".join(hops),)
    return replace(
        facts,
        protocol=sent.protocol,
        sni=sni,
        method=_method(sent),
        path=_path(target, config.path_normalization, sent.version),
        host=host,
        headers=headers,
        remote_ip=remote_address(forwarded, facts.source_ip, proxy, trusted_proxies=config.trusted_proxies),
    )


def _method(sent: Sent) -> str:
    known = _METHODS if sent.version is HttpVersion.HTTP_1 else _TOKEN
    if not known.fullmatch(sent.method):
        raise Refused(f"no method {sent.method!r}")
    return sent.method


def _host_and_target(sent: Sent) -> tuple[str, str]:
    if not sent.hosts:
        raise Refused("no host")
    if sent.version is HttpVersion.HTTP_2:
        if not sent.hosts[0] or re.search(r"[@/\\ ]", sent.hosts[0]):
            raise Refused("no authority")
        return sent.hosts[0], sent.target
    if (absolute := _ABSOLUTE.fullmatch(sent.target)) is not None:
        return absolute[1], absolute[2] or "/"
    return ",".join(host.strip(" \t") for host in sent.hosts), sent.target


def _path(target: str, option: PathNormalization, version: HttpVersion) -> str:
    if version is HttpVersion.HTTP_1 and not target.isascii():
        raise Refused("a byte outside ASCII in the path")
    try:
        return normalize_path(target, option)
    except RefusedPathError as error:
        raise Refused(str(error)) from error


def _headers(sent: Sent) -> dict[str, tuple[str, ...]]:
    http_1 = sent.version is HttpVersion.HTTP_1
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in sent.headers:
        lower = ascii_lower(name)
        if not _TOKEN.fullmatch(name) or _UNSENDABLE.search(value) or (not http_1 and lower != name):
            raise Refused(f"no header {name!r}")
        # Over HTTP/2 Envoy 1.40 keeps the spaces around a value.
        headers[lower] = (*headers.get(lower, ()), value.strip(" \t") if http_1 else value)
    return headers
