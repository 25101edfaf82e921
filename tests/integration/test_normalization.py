"""Path normalization, held to a real Envoy in each of Istio's four options."""

import http.client
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from authz.mesh_config import PathNormalization
from authz.normalization import RefusedPathError, normalize_path
from demo import sidecar
from demo.envoy import Envoy
from tests.unit.authz.test_normalization import SEEN

OPTIONS: dict[PathNormalization, sidecar.Json] = {
    PathNormalization.NONE: {},
    PathNormalization.BASE: {"normalize_path": True},
    PathNormalization.MERGE_SLASHES: {"normalize_path": True, "merge_slashes": True},
    PathNormalization.DECODE_AND_MERGE_SLASHES: {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
    },
}
PIECES = [
    "/",
    "/",
    "/",
    "//",
    ".",
    "..",
    "a",
    "b",
    "0",
    "4",
    "A",
    "f",
    "%2e",
    "%2E",
    "%2f",
    "%5C",
    "\\",
    ";",
    ";x",
    "%00",
    "%41",
]
PIECES += [
    "%7e",
    "%zz",
    "%",
    "%2",
    "%25",
    "%30",
    "%34",
    "?",
    "#",
    '"',
    "{",
    "*",
    "%3b",
    "+",
    "=",
    "~",
    "%5f",
    "%C3",
    "|",
    "]",
]


def listener(option: PathNormalization) -> sidecar.Json:
    """A listener that answers with the path that its filters saw."""
    http_type = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    echo = {"header": {"key": "x-path", "value": "%REQ(:PATH)%"}}
    route = {"match": {"prefix": ""}, "direct_response": {"status": 200}, "response_headers_to_add": [echo]}
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": http_type,
        "stat_prefix": option.value,
        "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        **OPTIONS[option],
    }
    return {
        "name": option.value,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


@pytest.fixture(scope="module")
def envoy() -> Iterator[Envoy]:
    with tempfile.TemporaryDirectory(prefix="meshward-") as directory:
        bootstrap = sidecar.bootstrap("paths", listeners=[listener(option) for option in OPTIONS], clusters=[])
        with Envoy("paths", bootstrap, Path(directory) / "envoy") as envoy:
            yield envoy


class Connection:
    """Asks for one path after the other, as far as Envoy keeps the connection open."""

    def __init__(self, envoy: Envoy, option: PathNormalization) -> None:
        self._connection = http.client.HTTPConnection(*envoy.listener(option.value))

    def ask(self, path: str) -> str | int:
        """The path that the filters saw, or the status of the refusal."""
        self._connection.putrequest("GET", path, skip_accept_encoding=True)
        self._connection.endheaders()
        answer = self._connection.getresponse()
        answer.read()
        return answer.headers["x-path"] if answer.status == http.client.OK else answer.status

    def close(self) -> None:
        self._connection.close()


def normalized(path: str, option: PathNormalization) -> str | int:
    try:
        return normalize_path(path, option)
    except RefusedPathError:
        return 400


@pytest.mark.parametrize("option", PathNormalization, ids=lambda option: option.value)
def test_envoy_makes_the_same_of_every_path(envoy: Envoy, option: PathNormalization) -> None:
    random = Random(7)
    paths = [sent for sent, *_ in SEEN] + [
        "/" + "".join(random.choices(PIECES, k=random.randrange(1, 9))) for _ in range(2500)
    ]
    connection = Connection(envoy, option)
    differ = [
        (path, seen, normalized(path, option))
        for path in paths
        if (seen := connection.ask(path)) != normalized(path, option)
    ]
    connection.close()
    assert differ == []
