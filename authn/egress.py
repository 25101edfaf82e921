"""Egress: the addresses that keys may be fetched from.

Where keys are comes from policies and from documents on the network, so that their authors could make this server knock at
doors that only it can reach (GHSA-fgw5-hp8f-xfhc). What is checked is the address that is then connected to, never a name.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from authn.errors import AuthnError

__all__ = ["Egress", "RefusedAddressError"]

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class RefusedAddressError(AuthnError):
    """Nothing is fetched from `address`, and `reason` says why."""

    def __init__(self, address: Address, reason: str) -> None:
        super().__init__(f"{address} is {reason}")
        self.address = address
        self.reason = reason


def _networks(**kinds: str) -> tuple[tuple[Network, str], ...]:
    return tuple((ip_network(text), kind.replace("_", " ")) for kind, texts in kinds.items() for text in texts.split())


# Lists of our own, for what `ipaddress` calls global differs between Python's releases.
_NEVER = _networks(
    link_local="169.254.0.0/16 fe80::/10",
    # Where clouds that do not use a link-local address give credentials to whoever asks from inside.
    cloud_metadata="168.63.129.16/32 fd00:ec2::254/128",
    multicast="224.0.0.0/4 ff00::/8",
    unspecified="0.0.0.0/8 ::/128",
    reserved="240.0.0.0/4",
    # They lead to some IPv4 address by way of strangers, and nobody serves keys there.
    a_tunnel="2001::/32 2002::/16 64:ff9b:1::/48",
)
_NOT_PUBLIC = _networks(
    loopback="127.0.0.0/8 ::1/128",
    private="10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7 fec0::/10",
    special="192.0.0.0/24 198.18.0.0/15 2001::/23",
    for_documentation="192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_IPV4 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Egress:
    """Public addresses, and the networks that are `allowed` beside them, such as the cluster's own.

    Nothing allows link-local addresses and their like, where clouds keep credentials.
    """

    allowed: tuple[Network, ...] = ()

    def require(self, address: Address) -> None:
        """See that keys may be fetched from `address`.

        Raises:
            RefusedAddressError: they may not.
        """
        meant = _meant(address)
        for network, kind in _NEVER:
            if meant in network:
                raise RefusedAddressError(address, f"{kind}, which nothing allows")
        if any(meant in network for network in self.allowed):
            return
        for network, kind in _NOT_PUBLIC:
            if meant in network:
                raise RefusedAddressError(address, f"{kind}, and in no network that is allowed")
        if isinstance(meant, IPv6Address) and meant not in _GLOBAL_UNICAST:
            raise RefusedAddressError(address, "unassigned, and in no network that is allowed")


def _meant(address: Address) -> Address:
    """The IPv4 address that is reached through an IPv6 one, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & _IPV4) if address in _NAT64 else address
