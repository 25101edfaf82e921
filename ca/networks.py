"""Networks: whom an address is counted as."""

from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address, IPv6Network

__all__ = ["network_of"]

_HELD_BY_ONE = 64
"""Bits. Whoever has one address of IPv6 has all that begin with the same so many."""


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """`address` itself, but for IPv6 its /64: there, one machine has as many addresses as it likes.

    What is no address, such as a user of this machine, is what it is.
    """
    try:
        found = IPv6Address(address.partition("%")[0])
    except AddressValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((found, _HELD_BY_ONE), strict=False))
