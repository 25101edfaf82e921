"""The addresses that keys may be fetched from."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authn.egress import Egress, RefusedAddressError

EVERYTHING = Egress((ip_network("0.0.0.0/0"), ip_network("::/0")))

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "2606:4700::1111",
    "2a00::1",
    "64:ff9b::808:808",
]

NOT_PUBLIC = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "::1": "loopback",
    "::ffff:127.0.0.1": "loopback",
    "64:ff9b::7f00:1": "loopback",
    "10.0.0.1": "private",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.168.0.1": "private",
    "::ffff:10.0.0.1": "private",
    "64:ff9b::a00:1": "private",
    "100.64.0.1": "private",
    "100.100.100.200": "private",
    "fc00::1": "private",
    "fd00::1": "private",
    "fec0::1": "private",
    "192.0.0.192": "special",
    "198.18.0.1": "special",
    "2001:100::1": "special",
    "192.0.2.1": "for documentation",
    "198.51.100.1": "for documentation",
    "203.0.113.1": "for documentation",
    "2001:db8::1": "for documentation",
    "3fff::1": "for documentation",
    "::7f00:1": "unassigned",
    "100::1": "unassigned",
    "4000::1": "unassigned",
    "5f00::1": "unassigned",
}

NEVER = {
    "169.254.169.254": "link local",
    "169.254.0.1": "link local",
    "fe80::1": "link local",
    "fe80::1%eth0": "link local",
    "febf::1": "link local",
    "::ffff:169.254.169.254": "link local",
    "64:ff9b::a9fe:a9fe": "link local",
    "168.63.129.16": "cloud metadata",
    "::ffff:168.63.129.16": "cloud metadata",
    "fd00:ec2::254": "cloud metadata",
    "fd00:ec2::254%eth0": "cloud metadata",
    "224.0.0.1": "multicast",
    "239.255.255.255": "multicast",
    "ff02::1": "multicast",
    "0.0.0.0": "unspecified",  # noqa: S104  # not to bind
    "0.1.2.3": "unspecified",
    "::": "unspecified",
    "::ffff:0.0.0.0": "unspecified",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "2001::1": "a tunnel",
    "2002:a9fe:a9fe::1": "a tunnel",
    "64:ff9b:1::a9fe:a9fe": "a tunnel",
}


def refusal(egress: Egress, text: str) -> str:
    with pytest.raises(RefusedAddressError) as caught:
        egress.require(ip_address(text))
    return caught.value.reason


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_let_through(text: str) -> None:
    Egress().require(ip_address(text))


@pytest.mark.parametrize(("text", "kind"), NOT_PUBLIC.items())
def test_another_is_refused_unless_it_is_allowed(text: str, kind: str) -> None:
    assert refusal(Egress(), text) == f"{kind}, and in no network that is allowed"
    EVERYTHING.require(ip_address(text))


@pytest.mark.parametrize(("text", "kind"), NEVER.items())
def test_some_are_refused_whatever_is_allowed(text: str, kind: str) -> None:
    assert refusal(Egress(), text) == refusal(EVERYTHING, text) == f"{kind}, which nothing allows"


def test_what_is_allowed_is_that_and_no_more() -> None:
    egress = Egress((ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")))
    egress.require(ip_address("10.1.255.255"))
    egress.require(ip_address("::ffff:10.1.2.3"))
    egress.require(ip_address("fd00:1::5"))
    for text in ("10.2.0.0", "10.0.255.255", "127.0.0.1", "fd00:2::5"):
        assert "no network that is allowed" in refusal(egress, text)


def test_an_ipv4_network_is_not_allowed_by_its_numbers_in_ipv6() -> None:
    assert "private" in refusal(Egress((ip_network("::/0"),)), "::ffff:10.0.0.1")


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_an_ipv4_address_means_the_same_in_any_clothes(address: IPv4Address) -> None:
    def outcome(clothed: IPv4Address | IPv6Address) -> str | None:
        try:
            Egress().require(clothed)
        except RefusedAddressError as error:
            return error.reason
        return None

    mapped = IPv6Address(0xFFFF_0000_0000 + int(address))
    translated = IPv6Address(int(IPv6Address("64:ff9b::")) + int(address))
    assert outcome(mapped) == outcome(translated) == outcome(address)
    # What the standard library knows to be for one machine or network, however it changes, is never public here.
    if address.is_private or address.is_link_local or address.is_multicast or address.is_loopback:
        assert outcome(address) is not None
