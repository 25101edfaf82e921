"""Remote address: which address of `x-forwarded-for` a proxy takes for the client's (semantics 2.10)."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from authz.attributes import Address
from authz.workload import ProxyKind

__all__ = ["parse_address", "remote_address"]


def remote_address(
    forwarded_for: tuple[str, ...], peer: Address | None, proxy: ProxyKind, *, trusted_proxies: int
) -> Address | None:
    """The client's address, given the lines of the header as they arrive, and the peer of the connection.

    A gateway believes as many entries from the right as it has trusted proxies before it, and without any takes its peer. All
    others take the right-most entry, which a gateway before them wrote, and which any client inside the mesh can forge. What
    is missing or no address is the peer.
    """
    if not forwarded_for:
        return peer
    back = trusted_proxies if proxy is ProxyKind.GATEWAY else 1
    # Envoy joins the lines as they come in, and leaves out those with nothing in them.
    entries = ",".join(line for line in forwarded_for if line.strip(" \t")).split(",")
    if not 0 < back <= len(entries):
        return peer
    try:
        return parse_address(entries[-back].strip(" \t"))
    except ValueError:
        return peer


# The same peers ask again and again, and reading an address costs as much as deciding about it.
@lru_cache(maxsize=8192)
def parse_address(text: str) -> Address:
    """An IP address without its zone, which is the host's own business and which no policy can name.

    Raises:
        ValueError: It is none.
    """
    address = ip_address(text)
    return IPv6Address(int(address)) if isinstance(address, IPv6Address) and address.scope_id else address
