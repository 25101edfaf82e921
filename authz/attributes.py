"""Attributes: every fact of one request or connection that a policy can read."""

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from authz.record import record

__all__ = ["Address", "Attributes", "Issued", "ListItem", "Protocol", "Value"]

Address = IPv4Address | IPv6Address


class Protocol(Enum):
    """The kind of filter chain that asks: HTTP-only fields do not exist on TCP."""

    HTTP = "http"
    TCP = "tcp"


class Issued(NamedTuple):
    """Who a verified token speaks for: its `iss` and `sub` claims, both strings."""

    issuer: str
    subject: str


class ListItem(NamedTuple):
    """One element of a list in dynamic metadata, told apart from a plain string there."""

    text: str


Value = str | int | IPv4Address | IPv6Address | Issued | ListItem
"""What a matcher looks at. An attribute reads as a tuple of values; absent is the empty tuple."""


@record
class Attributes:
    """The facts of one request (`HTTP`) or connection (`TCP`). What is absent is `None` or empty, never guessed.

    Text is UTF-8; a byte that is none stands there as Python's surrogate escape for it, which no policy can name.

    `identities` are the names in the peer's certificate in the order Envoy tries them (URI SANs, DNS SANs, subject); empty
    for plaintext. `path` is `:path` with its query, as the proxy hands it to its filters. `headers` maps lower-case names
    to their values, one entry a header line, without pseudo-headers. `claims` is the payload of the verified token, its
    space-delimited claims split. `metadata` is dynamic metadata by filter name.
    """

    protocol: Protocol = Protocol.HTTP
    identities: tuple[str, ...] = ()
    source_ip: Address | None = None
    remote_ip: Address | None = None
    destination_ip: Address | None = None
    destination_port: int | None = None
    sni: str | None = None
    method: str | None = None
    path: str | None = None
    host: str | None = None
    scheme: str | None = None
    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    claims: Mapping[str, object] | None = None
    metadata: Mapping[str, Mapping[str, object]] | None = None
