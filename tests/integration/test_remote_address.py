"""Which address of `x-forwarded-for` counts, held to a real Envoy in the two ways in which Istio sets it up."""

import http.client
import tempfile
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest

from authz.remote_address import remote_address
from authz.workload import ProxyKind
from demo import sidecar
from demo.envoy import Envoy
from extauthz.wire import at_gateway, to_asked
from tests import questions

PEER = "127.0.0.1"
# A proxy, and how many proxies a gateway trusts.
PLACES = [(ProxyKind.SIDECAR, 0), (ProxyKind.GATEWAY, 0), (ProxyKind.GATEWAY, 1), (ProxyKind.GATEWAY, 2)]
ENTRIES = [
    *(
        "198.51.100.7",
        "203.0.113.9",
        "10.0.0.1",
        "2001:db8::1",
        "::ffff:10.1.2.3",
        "fe80::1",
        "192.0.2.1:80",
        "unknown",
    ),
    *(
        "",
        " ",
        "_hidden",
        "198.51.100.300",
        "0198.51.100.7",
        "[2001:db8::1]",
        "1.2.3",
        "::1",
        "127.0.0.1",
        "2001:DB8::a",
    ),
    *("198.51.100.7 ", " 203.0.113.9", "\t10.0.0.2\t", "203.0.113.9;x"),
]


def name_of(place: tuple[ProxyKind, int]) -> str:
    return f"{place[0].value}-{place[1]}"


def listener(place: tuple[ProxyKind, int]) -> sidecar.Json:
    """A listener that answers with the address that its filters take for the client's."""
    proxy, hops = place
    kind = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    echo = [
        {"header": {"key": "x-remote", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}},
        {"header": {"key": "x-seen", "value": "%REQ(X-FORWARDED-FOR)%"}, "keep_empty_value": True},
    ]
    route = {"match": {"prefix": ""}, "direct_response": {"status": 200}, "response_headers_to_add": echo}
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": f"type.googleapis.com/{kind}",
        "stat_prefix": name_of(place),
        "use_remote_address": proxy is ProxyKind.GATEWAY,
        "xff_num_trusted_hops": hops,
        "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    return {
        "name": name_of(place),
        "address": {"socket_address": {"address": PEER, "port_value": 0}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


@pytest.fixture(scope="module")
def envoy() -> Iterator[Envoy]:
    with tempfile.TemporaryDirectory(prefix="meshward-") as directory:
        bootstrap = sidecar.bootstrap("addresses", listeners=[listener(place) for place in PLACES], clusters=[])
        with Envoy("addresses", bootstrap, Path(directory) / "envoy") as envoy:
            yield envoy


def lines(random: Random) -> tuple[str, ...]:
    """No header, one or two, each with up to four entries."""
    return tuple(
        ",".join(random.choices(ENTRIES, k=random.randrange(1, 5))) for _ in range(random.choice((0, 1, 1, 1, 2)))
    )


@pytest.mark.parametrize("place", PLACES, ids=name_of)
def test_envoy_takes_the_same_address(envoy: Envoy, place: tuple[ProxyKind, int]) -> None:
    proxy, hops = place
    random = Random(11)
    connection = http.client.HTTPConnection(*envoy.listener(name_of(place)))
    differ, not_the_peer = [], 0
    for _ in range(1500):
        sent = lines(random)
        connection.putrequest("GET", "/", skip_accept_encoding=True)
        for line in sent:
            connection.putheader("x-forwarded-for", line)
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        seen = ip_address(answer.headers["x-remote"])
        not_the_peer += seen != ip_address(PEER)
        # What arrives is what `check --normalize` is given; what the filters see is what a server is asked about.
        arrived = remote_address(sent, ip_address(PEER), proxy, trusted_proxies=hops)
        asked = to_asked(
            questions.http(
                source_ip=PEER, headers=[("x-forwarded-for", line) for line in [answer.headers["x-seen"] or ""] if line]
            )
        )
        if proxy is ProxyKind.GATEWAY:
            asked = at_gateway(asked, trusted_proxies=hops)
        if not seen == arrived == asked.attributes.remote_ip:
            differ.append((sent, answer.headers["x-seen"], seen, arrived, asked.attributes.remote_ip))
    connection.close()
    assert differ == []
    assert (not_the_peer > 200) == (place != (ProxyKind.GATEWAY, 0))
