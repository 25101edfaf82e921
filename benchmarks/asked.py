"""Servers that are asked under load: ours and one that answers a constant, each a process of its own; and who asks them."""

import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import grpc
import uvloop
from envoy.service.auth.v3 import external_auth_pb2
from google.protobuf.message import Message

from authz.attributes import Attributes
from authz.decision import Verdict
from authz.mesh_config import MeshConfig
from authz.tree import compile_policies
from authz.workload import Workload
from benchmarks.rules import mixed_policies
from extauthz.decision_log import DecisionLog
from extauthz.server import Server
from extauthz.service import AuthorizationService
from extauthz.tokens import TrustingEnvoy
from mesh.heap import use_one_arena
from mesh.replacing import freeze
from mesh.snapshot import Snapshot

ROOT = Path(__file__).parents[1]
RULES = 10_000
CHECK = "/envoy.service.auth.v3.Authorization/Check"
H2LOAD = "h2load"
_PATHS = 500
_RATE = re.compile(r"finished in [0-9.]+m?s, ([0-9.]+) req/s")
_SUCCEEDED = re.compile(r"([0-9]+) succeeded")


class Kind(Enum):
    """What answers."""

    OURS = "ours"
    CONSTANT = "constant"


class Asked(NamedTuple):
    """A server under load: where it listens, and its process."""

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """What it has used of a processor."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Load(NamedTuple):
    """What a server did under load: answers a second, and microseconds of its processor for each."""

    per_second: float
    cpu_us: float


@contextmanager
def running(kind: Kind, log: Path | None = None) -> Iterator[Asked]:
    """A server that answers by the rules of the benchmark, or always the same."""
    command = [sys.executable, "-m", "benchmarks.asked", kind.value, *([str(log)] if log else [])]
    with subprocess.Popen(  # noqa: S603  # ours
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process that was given pipes has none")
        try:
            yield Asked(port=int(process.stdout.readline()), pid=process.pid)
        finally:
            process.stdin.close()


def has_h2load() -> bool:
    """Whether there is an h2load; it comes with nghttp2."""
    return shutil.which(H2LOAD) is not None


def load(server: Asked, url: str, *options: str, requests: int) -> Load:
    """Ask `url` as fast as it is answered, 64 requests at a time over one connection."""
    before = server.cpu_seconds()
    done = subprocess.run(  # noqa: S603  # a known program
        [H2LOAD, "-c1", "-m64", f"-n{requests}", *options, url], check=True, capture_output=True, text=True
    ).stdout
    rate, succeeded = _RATE.search(done), _SUCCEEDED.search(done)
    if rate is None or succeeded is None or int(succeeded[1]) != requests:
        raise RuntimeError(f"not every request was answered:\n{done}")
    return Load(float(rate[1]), (server.cpu_seconds() - before) / requests * 1e6)


def load_directly(server: Asked, question: Path, *, requests: int) -> Load:
    """Ask the server itself, with the `question` in a file as gRPC frames it."""
    options = (f"--data={question}", "--header=content-type: application/grpc", "--header=te: trailers")
    return load(server, f"http://127.0.0.1:{server.port}{CHECK}", *options, requests=requests)


def framed(message: Message) -> bytes:
    """A message as gRPC sends it, uncompressed."""
    text = message.SerializeToString()
    return bytes([0]) + len(text).to_bytes(4, "big") + text


def paths() -> list[str]:
    """Paths that the rules allow to anybody who says `x-tier: gold`, each by a rule of its own."""
    decide = compile_policies(mixed_policies(RULES), trust_domains=("cluster.local",)).decide
    allowed = [
        path
        for number in range(RULES)
        if decide(
            Attributes(
                method="GET", path=(path := f"/v1/items{number}"), host="api.shop:8080", headers={"x-tier": ("gold",)}
            )
        ).verdict
        is Verdict.ALLOW
    ]
    return random.Random(1).sample(allowed, min(_PATHS, len(allowed)))


def question(path: str) -> external_auth_pb2.CheckRequest:
    """A question as Envoy asks it with `encode_raw_headers`, for a browser's request."""
    asking = external_auth_pb2.CheckRequest()
    attributes = asking.attributes
    attributes.source.address.socket_address.address = "10.1.2.3"
    attributes.source.address.socket_address.port_value = 40000
    attributes.source.principal = "spiffe://cluster.local/ns/shop/sa/web"
    attributes.destination.address.socket_address.address = "10.0.0.9"
    attributes.destination.address.socket_address.port_value = 8080
    attributes.destination.principal = "spiffe://cluster.local/ns/shop/sa/api"
    attributes.context_extensions["workload"] = "shop/api"
    attributes.metadata_context.SetInParent()
    attributes.route_metadata_context.SetInParent()
    attributes.request.time.seconds = 1_700_000_000
    http = attributes.request.http
    http.id, http.method, http.path, http.host, http.scheme = (
        "1234567890123456789",
        "GET",
        path,
        "api.shop:8080",
        "http",
    )
    http.protocol, http.size = "HTTP/2", -1
    for name, value in {":authority": http.host, ":path": path, ":method": "GET", ":scheme": "http", **HEADERS}.items():
        http.header_map.headers.add(key=name, raw_value=value.encode())
    return asking


HEADERS = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en-US,en;q=0.5",
    "accept-encoding": "gzip, deflate, br, zstd",
    "x-forwarded-proto": "http",
    "x-request-id": "6f2f3b1e-2c1f-4d0e-9a51-0a3a3b0f2f11",
    "x-forwarded-for": "10.1.2.3",
    "x-tier": "gold",
}
"""Headers of the requests."""


def bootstrap(server: Asked) -> dict[str, object]:
    """An Envoy whose listener `http` asks the server about each request, and answers those that may pass by itself."""
    types = "type.googleapis.com/envoy.extensions"
    ext_authz = {
        "@type": f"{types}.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": "authorizer"}, "timeout": "5s"},
        "encode_raw_headers": True,
    }
    route = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": "hello"}},
        "typed_per_filter_config": {
            "ext_authz": {
                "@type": f"{types}.filters.http.ext_authz.v3.ExtAuthzPerRoute",
                "check_settings": {"context_extensions": {"workload": "shop/api"}},
            }
        },
    }
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http",
        "codec_type": "HTTP2",
        "http_filters": [
            {"name": "ext_authz", "typed_config": ext_authz},
            {"name": "router", "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"}},
        ],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    options = {
        "@type": f"{types}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "http",
                    "address": _address(0),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": "authorizer",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
                    },
                    "load_assignment": {
                        "cluster_name": "authorizer",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(server.port)}}]}],
                    },
                }
            ],
        }
    }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


class _Constant(AuthorizationService):
    """Answers without looking at the question."""

    async def check(self, question: bytes, context: grpc.aio.ServicerContext) -> bytes:  # noqa: ARG002  # as ours
        return _OK


_OK: bytes = external_auth_pb2.CheckResponse(
    ok_response=external_auth_pb2.OkHttpResponse(),
    dynamic_metadata={
        "verdict": "ALLOW",
        "stage": "allow",
        "reason": "an ALLOW rule matches",
        "revision": "1",
        "rule": 1,
    },
).SerializeToString()


def service(kind: Kind, log: Path | None = None) -> AuthorizationService:
    """What a server of that kind answers by."""
    snapshot = Snapshot(
        policies=mixed_policies(RULES),
        workloads=[Workload(namespace="shop", name="api", labels={"app": "api"}, service_account="api")],
        config=MeshConfig(),
        revision="0123456789ab",
    )
    freeze()
    out = None if log is None else DecisionLog(log.open("ab", buffering=0))
    return (_Constant if kind is Kind.CONSTANT else AuthorizationService)(
        lambda: snapshot, tokens=TrustingEnvoy(), log=out
    )


async def _serve() -> None:
    # As `meshward serve` does.
    use_one_arena()
    kind, *log = sys.argv[1:]
    server = Server(service(Kind(kind), Path(log[0]) if log else None), "127.0.0.1:0")
    await server.start()
    print(server.address.rpartition(":")[2], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(grace=1)


if __name__ == "__main__":
    uvloop.run(_serve())
