"""Two Envoys with mutual TLS between them, everything for it from an authority's SDS, and requests that shake hands anew each time."""

import asyncio
import http.client
import os
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from ca.front import GrpcServer, UnixPeer
from ca.inventory import InventoryFilter
from ca.lifetimes import Settings
from ca.phases import SlotKind
from ca.sds import sds_server
from ca.streams import Streams
from demo.envoy import Envoy
from demo.process import wait_until
from demo.wire import Endpoint
from identity import SpiffeId
from tests.unit.ca.offices import API, TD, WEB, RunningClock, office

T = TypeVar("T")

_SVID_LIFE = timedelta(hours=1)
_PATIENCE = 60.0


class Authority:
    """An office with SDS, in a thread of its own. Leaves are made anew every `leaf_every`; roots when they are rolled."""

    def __init__(self, directory: Path, *, leaf_every: timedelta) -> None:
        self.socket = directory / "sds.sock"
        self._renew_after = leaf_every / _SVID_LIFE
        self._stack = ExitStack()
        # New roots sign as soon as all who have a stream have taken them.
        self._made = self._stack.enter_context(
            office(directory, settings=Settings(notice=timedelta(0)), clock=RunningClock())
        )
        for name in (WEB, API):
            self._made.entry(name, f"unix:uid:{os.geteuid()}")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._stop = asyncio.Event()
        self._server: GrpcServer[UnixPeer] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._run())
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shut()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._stack.close()

    def open(self) -> None:
        """Serve, with nothing remembered of what was served before."""
        self._do(self._open())

    def shut(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._do(self._server.stop())
            self._server = None

    def roll_root(self) -> None:
        """Have another root sign, as soon as all Envoys can verify by it."""
        before = self.roots
        self._made.hurry(SlotKind.ROOT)
        wait_until(lambda: self.roots > before or None, "another root signed", seconds=_PATIENCE)

    @property
    def roots(self) -> int:
        """How many have signed so far."""
        version = self._made.office.store.authorities.load(TD)
        assert version is not None
        return sum(slot.kind is SlotKind.ROOT and slot.activated is not None for slot in version.authorities.slots)

    def leaves(self, spiffe_id: SpiffeId) -> int:
        """How many that name has had."""
        wanted, at = InventoryFilter(spiffe_id=spiffe_id), self._made.office.clock()
        return len(self._made.office.store.inventory.list(wanted, size=1000, at=at).rows)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    async def _run(self) -> None:
        self._tasks = [
            asyncio.create_task(each.run(self._stop))
            for each in (self._made.office.watcher, self._made.office.supervisor)
        ]

    async def _open(self) -> None:
        streams = Streams(self._made.office, renew_after=self._renew_after)
        self._server = sds_server(streams, f"unix:{self.socket}")
        await self._server.start()

    async def _end(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)


@dataclass(slots=True)
class Traffic:
    """What became of the requests, each of which takes a connection of its own between the Envoys."""

    endpoint: Endpoint
    answers: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def count(self) -> int:
        return self.answers.total()

    @contextmanager
    def flowing(self, clients: int) -> Iterator[None]:
        """While that many ask, one request after the other."""
        stop = threading.Event()
        threads = [threading.Thread(target=self._ask, args=(stop,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _ask(self, stop: threading.Event) -> None:
        connection = http.client.HTTPConnection(*self.endpoint, timeout=15)
        while not stop.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                said = f"{answer.status}"
                body = answer.read()
                if answer.status != http.client.OK:
                    said += f" {body.decode(errors='replace')}"
            except (OSError, http.client.HTTPException) as error:
                said = repr(error)
                connection.close()
            with self._lock:
                self.answers[said] += 1
        connection.close()


@dataclass(frozen=True, slots=True)
class Mesh:
    """A client's Envoy and a server's."""

    client: Envoy
    server: Envoy

    @property
    def endpoint(self) -> Endpoint:
        """Where requests go in."""
        return self.client.listener("out")

    def total(self, envoy: Envoy, ending: str) -> int:
        """The sum of the counters of an Envoy's whose names end so."""
        lines = (line.rpartition(": ") for line in envoy.ask_admin("/stats").splitlines())
        return sum(int(value) for name, _, value in lines if name.endswith(ending) and value.isdecimal())


@contextmanager
def mesh_of_two(sds: Path, directory: Path, *, api_type: str) -> Iterator[Mesh]:
    """Start both, the server first."""
    # Paths of Unix sockets are short.
    with Envoy("server", _server(sds, api_type), directory / "s") as server:
        inbound = server.listener("in")
        with Envoy("client", _client(sds, api_type, inbound), directory / "c") as client:
            yield Mesh(client, server)


def _server(sds: Path, api_type: str) -> dict[str, object]:
    context = _typed(
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        require_client_certificate=True,
        # A resumed session verifies nothing, and would prove nothing.
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
        common_tls_context=_tls(api_type, str(API), roots="ROOTCA", peer=WEB),
    )
    listener = _listener("in", {"direct_response": {"status": 200}})
    (filter_chain,) = listener["filter_chains"]
    filter_chain["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": context}
    return _bootstrap("server", [listener], [_sds_cluster(sds)])


def _client(sds: Path, api_type: str, inbound: Endpoint) -> dict[str, object]:
    context = _typed(
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        max_session_keys=0,
        # By the SPIFFE validator, as with SPIRE.
        common_tls_context=_tls(api_type, "default", roots="ALL", peer=API),
    )
    peer = _cluster("peer", {"socket_address": {"address": inbound.host, "port_value": inbound.port}}) | {
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
        # A handshake for each request.
        **_http({"http_protocol_options": {}}, common_http_protocol_options={"max_requests_per_connection": 1}),
    }
    return _bootstrap("client", [_listener("out", {"route": {"cluster": "peer"}})], [_sds_cluster(sds), peer])


def _tls(api_type: str, certificate: str, *, roots: str, peer: SpiffeId) -> dict[str, object]:
    source = {
        "resource_api_version": "V3",
        "initial_fetch_timeout": "10s",
        "api_config_source": {
            "api_type": api_type,
            "transport_api_version": "V3",
            "grpc_services": [{"envoy_grpc": {"cluster_name": "sds"}}],
        },
    }
    matcher = {"san_type": "URI", "matcher": {"exact": str(peer)}}
    return {
        "tls_certificate_sds_secret_configs": [{"name": certificate, "sds_config": source}],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": [matcher]},
            "validation_context_sds_secret_config": {"name": roots, "sds_config": source},
        },
    }


def _bootstrap(name: str, listeners: list[Any], clusters: list[Any]) -> dict[str, object]:
    return {
        "node": {"id": name, "cluster": "test"},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


def _sds_cluster(sds: Path) -> dict[str, object]:
    return _cluster("sds", {"pipe": {"path": str(sds)}}) | _http({"http2_protocol_options": {}})


def _cluster(name: str, address: dict[str, object]) -> dict[str, object]:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "10s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def _http(config: dict[str, object], **more: object) -> dict[str, object]:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {"typed_extension_protocol_options": {options: _typed(options, explicit_http_config=config, **more)}}


def _listener(name: str, action: dict[str, object]) -> dict[str, Any]:
    router = _typed("envoy.extensions.filters.http.router.v3.Router")
    routes = [{"match": {"prefix": "/"}, **action}]
    manager = _typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        http_filters=[{"name": "envoy.filters.http.router", "typed_config": router}],
        route_config={"name": name, "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
    )
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _typed(kind: str, **fields: object) -> dict[str, object]:
    return {"@type": f"type.googleapis.com/{kind}", **fields}
