"""What of fetching needs no server."""

import asyncio
from ipaddress import IPv4Address, IPv6Address

import pytest

from authn.jwks_fetch import resolve, tls_context
from authn.jwks_source import Source
from authz.request_authentication import JwtRule


def test_a_name_is_looked_up_and_an_address_taken_as_it_is() -> None:
    assert set(asyncio.run(resolve("localhost", 80))) <= {IPv4Address("127.0.0.1"), IPv6Address("::1")}
    assert asyncio.run(resolve("192.0.2.7", 443)) == (IPv4Address("192.0.2.7"),)
    assert asyncio.run(resolve("2001:db8::7", 443)) == (IPv6Address("2001:db8::7"),)


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "0177.0.0.1", "2130706433"])
def test_an_address_in_an_odd_spelling_is_the_address_that_would_be_connected_to(host: str) -> None:
    assert asyncio.run(resolve(host, 80)) == (IPv4Address("127.0.0.1"),)


@pytest.mark.parametrize("host", ["a" * 70, "a..b"])
def test_a_name_that_cannot_be_is_not_found(host: str) -> None:
    with pytest.raises(OSError, match="no name that a host can have"):
        asyncio.run(resolve(host, 80))


def test_trust_is_in_authorities_and_names_are_checked() -> None:
    context = tls_context()
    assert context.check_hostname
    assert context.cert_store_stats()["x509_ca"] > 0


def test_rules_share_a_source_by_where_it_is() -> None:
    assert Source.of(JwtRule(issuer="i", jwks="{}")) is None
    assert Source.of(JwtRule(issuer="i", jwks_uri="https://k")) == Source.of(JwtRule(issuer="j", jwks_uri="https://k"))
    assert Source.of(JwtRule(issuer="https://i")) != Source.of(JwtRule(issuer="https://j"))
    assert str(Source.of(JwtRule(issuer="https://i"))) == "issuer `https://i`"
