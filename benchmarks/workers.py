"""Aim: an answer costs a worker no more CPU time beside another, so that two with a core each could answer 1.8 times as much.

h2load (package nghttp2-client) asks a real `meshward serve` over several HTTP/2 connections, with one worker and with two in turn.
On a machine of two cores the load generator takes its part of them, so two figures are given: answers a second as they came, and answers
for each second of the workers' CPU time, which is what a core that is free for a worker gives. Besides: how the system spreads
connections over workers, since an Envoy has one connection for each of its threads.
"""

import re
import resource
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest

from benchmarks.row import Better, Row
from demo.process import Process
from demo.server import MESHWARD

PATH = "/envoy.service.auth.v3.Authorization/Check"
SHOP = Path(__file__).parents[1] / "policies/shop"
ROUNDS = 5
REQUESTS = 10_000
CONNECTIONS = 16
STREAMS = 4
SPREADS = 40
START = 60.0

ROWS = (
    Row(
        "Two workers beside one, reckoned from the CPU time of an answer",
        1.8,
        lambda result: result["times_as_much_for_a_cpu_second_of_each"],
        "times",
        Better.MORE,
    ),
)


def measure() -> dict[str, object]:
    """Each round's figures, and the medians of the ratios between two workers and one."""
    rounds = [(_round(1), _round(2)) for _ in range(ROUNDS)]
    return {
        "rounds": rounds,
        "one_worker_a_second": statistics.median(one["answers_a_second"] for one, _ in rounds),
        "two_workers_a_second": statistics.median(two["answers_a_second"] for _, two in rounds),
        "times_as_much_as_they_came": _ratio(rounds, "answers_a_second"),
        "one_worker_for_a_cpu_second": statistics.median(one["answers_for_a_cpu_second"] for one, _ in rounds),
        "times_as_much_for_a_cpu_second_of_each": round(2 * _ratio(rounds, "answers_for_a_cpu_second"), 2),
        "share_of_the_busier_of_two_by_connections": _spread(),
    }


def _ratio(rounds: Sequence[tuple[Mapping[str, float], Mapping[str, float]]], name: str) -> float:
    return round(statistics.median(two[name] / one[name] for one, two in rounds), 2)


class _Server:
    """A server with some workers, and its endpoint of metrics."""

    def __init__(self, directory: Path, workers: int) -> None:
        log = directory / "log"
        options = ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--workers", str(workers)]
        self.process = Process("meshward serve", [*MESHWARD, "serve", str(SHOP), *options], log=log)
        self.process.wait_until(lambda: "listening on" in log.read_text() or None, "it listened", seconds=START)
        self.metrics = re.findall(r"metrics on (\S+)", log.read_text())[0]
        self.port = int(re.findall(r"listening on \S+:(\d+)", log.read_text())[0])
        self.workers = [int(pid) for pid in re.findall(r"answers, process (\d+)", log.read_text())]
        self.answering = "worker" if workers > 1 else "server"

    def cpu(self) -> float:
        """Seconds of CPU time of those that answer."""
        text = httpx.get(self.metrics).text
        found = re.findall(rf'process_cpu_seconds_total{{process="{self.answering}[^"]*"}} (\S+)', text)
        return sum(map(float, found))


def _round(workers: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="meshward-") as name:
        server = _Server(Path(name), workers)
        with server.process:
            question = Path(name) / "question"
            question.write_bytes(_question())
            _load(server, question, REQUESTS // 5)
            before, generator, started = server.cpu(), _children(), time.perf_counter()
            _load(server, question, REQUESTS)
            seconds, generator = time.perf_counter() - started, _children() - generator
            cpu = server.cpu() - before
    return {
        "answers_a_second": round(REQUESTS / seconds),
        "answers_for_a_cpu_second": round(REQUESTS / cpu),
        "cores_of_the_workers": round(cpu / seconds, 2),
        "cores_of_the_generator": round(generator / seconds, 2),
    }


def _load(server: _Server, question: Path, requests: int) -> None:
    if (h2load := shutil.which("h2load")) is None:
        raise RuntimeError("h2load is missing: apt-get install nghttp2-client")
    size = ["-n", str(requests), "-c", str(CONNECTIONS), "-m", str(STREAMS), "-t", "1", "-d", str(question)]
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    command = [h2load, *size, *headers, f"http://127.0.0.1:{server.port}{PATH}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # ours
    if f"{requests} succeeded, 0 failed" not in done.stdout:
        raise RuntimeError(done.stdout)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _question() -> bytes:
    """As gRPC frames it."""
    question = CheckRequest()
    attributes = question.attributes
    attributes.context_extensions["workload"] = "shop/api"
    attributes.source.principal = "spiffe://cluster.local/ns/shop/sa/web"
    for peer, address, port in ((attributes.source, "10.1.2.3", 40000), (attributes.destination, "10.0.0.9", 8080)):
        peer.address.socket_address.address, peer.address.socket_address.port_value = address, port
    request = attributes.request.http
    request.method, request.path, request.host, request.scheme = "GET", "/items/42", "api.shop:8080", "https"
    headers = {
        ":method": "GET",
        ":path": "/items/42",
        ":authority": "api.shop:8080",
        ":scheme": "https",
        "accept": "*/*",
    }
    for name, value in headers.items():
        request.header_map.headers.add(key=name, raw_value=value.encode())
    data = bytes(question.SerializeToString())
    return struct.pack(">BI", 0, len(data)) + data


def _spread() -> dict[int, dict[str, float]]:
    """For numbers of connections: the mean share of the busier of two workers, and how often one has them all."""
    with tempfile.TemporaryDirectory(prefix="meshward-") as name:
        server = _Server(Path(name), 2)
        with server.process:
            return {connections: _shares(server, connections) for connections in (2, 4, 8, 16)}


def _shares(server: _Server, connections: int) -> dict[str, float]:
    shares = []
    for _ in range(SPREADS):
        before = [_sockets(pid) for pid in server.workers]
        opened = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(connections)]
        while (
            sum(counts := [_sockets(pid) - old for pid, old in zip(server.workers, before, strict=True)]) < connections
        ):
            time.sleep(0.01)
        shares.append(max(counts) / connections)
        for each in opened:
            each.close()
        while any(_sockets(pid) > old for pid, old in zip(server.workers, before, strict=True)):
            time.sleep(0.01)
    return {"mean": round(statistics.mean(shares), 2), "all_at_one": round(shares.count(1.0) / len(shares), 2)}


def _sockets(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
