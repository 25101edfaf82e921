"""Aim: one changed policy among 10,000 is in force within some 50 ms of being looked at, and meanwhile answers come as ever.

A real `meshward serve` of the mesh of `benchmarks.load` is asked every millisecond. Between spells of quiet a policy changes, then
a workload, then the trust domains of the whole mesh, for which everything is compiled anew. What counts as meanwhile is all from the
writing of a file until the first answer by the new revision; its answers are compared with those of the quiet spells around it.
"""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import grpc
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

from benchmarks.load import write_mesh
from benchmarks.row import Row
from demo.process import Process
from demo.server import MESHWARD
from mesh.current import Current
from mesh.directory import DirectoryStore

CHECK = "/envoy.service.auth.v3.Authorization/Check"
CHANGES = 40
LARGE_CHANGES = 5
QUIET = 0.5
PAUSE = 0.001
START = 120.0
"""Seconds that a loaded machine may take."""

Change = Callable[[Path, int], Path]


ROWS = (
    Row(
        "one changed policy among 10,000 in force, once told",
        50,
        lambda result: float(result["by_itself"]["told_of_a_change_p50_ms"]),
        "ms",
    ),
    Row(
        "answers while a policy changes, p99 beside quiet",
        2,
        lambda result: float(result["policies"]["meanwhile"]["p99_ms"] / result["policies"]["quiet"]["p99_ms"]),
        "times",
    ),
)


def measure() -> dict[str, object]:
    """What one change costs by itself, and for each kind of change how long it takes and how long answers take meanwhile."""
    with tempfile.TemporaryDirectory(prefix="meshward-") as name:
        mesh = Path(name) / "mesh"
        mesh.mkdir()
        write_mesh(mesh)
        _mesh_config(mesh, 0)
        return {
            "by_itself": asyncio.run(_by_itself(mesh)),
            "policies": _served(mesh, _policy, CHANGES),
            "workloads": _served(mesh, _workload, CHANGES),
            "trust_domains": _served(mesh, _mesh_config, LARGE_CHANGES),
        }


async def _by_itself(mesh: Path) -> dict[str, object]:
    """Milliseconds from being told of a changed policy until it is in force, and of looking whether anything changed."""
    revisions: list[str] = []
    current = Current(
        DirectoryStore([str(mesh)]),
        on_load=lambda loaded: revisions.append(loaded.snapshot.revision),
        on_refusal=lambda error: revisions.append(str(error)),
    )
    await current.reload()
    told, looks = [], []
    for number in range(CHANGES):
        changed = str(_policy(mesh, number))
        started = time.perf_counter()
        await current.reload([changed])
        told.append(_ms(started))
    for _ in range(CHANGES):
        started = time.perf_counter()
        await current.reload()
        looks.append(_ms(started))
    return {
        "revisions": len(set(revisions)),
        "told_of_a_change_ms": told,
        "told_of_a_change_p50_ms": round(statistics.median(told), 1),
        "looking_at_every_file_p50_ms": round(statistics.median(looks), 1),
    }


def _served(mesh: Path, change: Change, changes: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="meshward-") as name:
        socket, log = Path(name) / "s", Path(name) / "log"
        command = [*MESHWARD, "serve", str(mesh), "--listen", f"unix:{socket}"]
        with Process("meshward serve", command, log=log) as server, grpc.insecure_channel(f"unix:{socket}") as channel:
            server.wait_until(lambda: socket.exists() or None, "it listened", seconds=START)
            asking = _Asking(channel)
            asking.until(time.perf_counter() + QUIET)
            quiet, meanwhile, in_force = [], [], []
            for number in range(1, changes + 1):
                quiet += asking.until(time.perf_counter() + QUIET)
                change(mesh, number)
                started = time.perf_counter()
                meanwhile += asking.until_another_revision()
                in_force.append(_ms(started))
    return {
        "changes": changes,
        "in_force_ms": in_force,
        "in_force_p50_ms": round(statistics.median(in_force), 1),
        "quiet": _summary(quiet),
        "meanwhile": _summary(meanwhile),
    }


class _Asking:
    """Asks one question again and again, and keeps the milliseconds that answers take."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._call = channel.unary_unary(CHECK, response_deserializer=CheckResponse.FromString)
        question = CheckRequest()
        attributes = question.attributes
        attributes.context_extensions["workload"] = "team-042/app-1"
        attributes.source.principal = "spiffe://cluster.local/ns/team-001/sa/app-2"
        for peer, address, port in ((attributes.source, "10.1.2.3", 40000), (attributes.destination, "10.0.0.9", 8080)):
            peer.address.socket_address.address, peer.address.socket_address.port_value = address, port
        headers = {":method": "GET", ":path": "/v1/items42", ":authority": "app-1.team-042:8080", ":scheme": "https"}
        attributes.request.http.headers.update(headers)
        attributes.request.http.method = headers[":method"]
        attributes.request.http.path = headers[":path"]
        attributes.request.http.host = headers[":authority"]
        self._question = question.SerializeToString()
        self._revision = ""

    def until(self, end: float) -> list[float]:
        """Ask until the time `end`."""
        taken = []
        while time.perf_counter() < end:
            taken.append(self._ask())
        return taken

    def until_another_revision(self) -> list[float]:
        """Ask until an answer is by another revision than the last."""
        before, taken = self._revision, []
        while self._revision == before:
            taken.append(self._ask())
        return taken

    def _ask(self) -> float:
        time.sleep(PAUSE)
        started = time.perf_counter()
        answer = self._call(self._question, timeout=START, wait_for_ready=True)
        taken = _ms(started)
        if answer.dynamic_metadata["stage"] != "allow":
            raise RuntimeError(f"the question is not decided by policies: {answer.dynamic_metadata}")
        self._revision = answer.dynamic_metadata["revision"]
        return taken


def _policy(mesh: Path, number: int) -> Path:
    path = random.Random(number).choice(sorted(mesh.glob("team-*/policy-*.yaml")))
    return _replaced(path, path.read_text().replace("[gold,", f"[gold, changed{number},"))


def _workload(mesh: Path, number: int) -> Path:
    path = random.Random(number).choice(sorted(mesh.glob("workloads-*.yaml")))
    return _replaced(path, path.read_text().replace("version: v1", f"version: v1-{number}"))


def _mesh_config(mesh: Path, number: int) -> Path:
    return _replaced(mesh / "mesh.yaml", f"trustDomain: cluster.local\ntrustDomainAliases: [old-{number}]\n")


def _replaced(path: Path, text: str) -> Path:
    """In one step, as deployments do."""
    beside = path.with_name(".beside")
    beside.write_text(text)
    return beside.replace(path)


def _ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 2)


def _summary(taken: list[float]) -> dict[str, float]:
    percentiles = statistics.quantiles(taken, n=100)
    return {
        "answers": len(taken),
        "p50_ms": round(percentiles[49], 2),
        "p90_ms": round(percentiles[89], 2),
        "p99_ms": round(percentiles[98], 2),
        "worst_ms": max(taken),
    }
