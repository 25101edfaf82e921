"""Two replicas of an authority on one PostgreSQL, each `meshward ca serve` in a process of its own, as operators run them."""

import os
import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from ca.office import now
from demo.process import Process, wait_until
from demo.server import MESHWARD
from identity import Bundle, SpiffeId, TrustDomain, verify_x509_svid
from tests.contracts.postgresql import find_postgresql, running_postgresql
from tests.unit.ca.offices import csr

TD = TrustDomain("cluster.local")
WEB = SpiffeId.for_workload(TD, namespace="shop", service_account="web")
SECONDS = 60.0
USES = 100


@dataclass(frozen=True, slots=True)
class Replica:
    """One of them, running."""

    process: Process
    port: int
    admin_port: int
    roots: Path
    admin_token: str

    def certificate(self, token: str) -> httpx.Response:
        """What it says to who shows a join token."""
        asked, headers = {"csr": csr().decode()}, {"Authorization": f"Bearer {token}"}
        with self._client(self.port) as client:
            return client.post("/v1/x509-svid", json=asked, headers=headers)

    def admin(self, method: str, path: str, asked: dict[str, object] | None = None) -> dict[str, object]:
        """What it says to operators."""
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        with self._client(self.admin_port) as client:
            answer = client.request(method, path, json=asked, headers=headers).raise_for_status()
        said: dict[str, object] = answer.json()
        return said

    def token(self) -> str:
        """A join token."""
        return str(self.admin("POST", "/v1/join-tokens", {"spiffe_id": str(WEB), "ttl": 600})["token"])

    def _client(self, port: int) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.roots))
        return httpx.Client(verify=context, base_url=f"https://localhost:{port}", timeout=SECONDS)


class Authority:
    """The directories of the replicas, and who runs."""

    def __init__(self, directory: Path, store: str, running: ExitStack) -> None:
        self.places = [directory / "one", directory / "other"]
        self._running = running
        self._directory = directory
        self.verb("init", TD.name, "--store", store, place=0)
        settings = self.places[0] / "authority.toml"
        text = re.sub(r'(?m)^(listen|admin) = "127\.0\.0\.1:[0-9]+"$', r'\1 = "127.0.0.1:0"', settings.read_text())
        # Whoever takes a certificate of the tests does not come again to hear of a new root.
        settings.write_text(text.replace('notice = "25m"', 'notice = "2s"') + "\n[limits]\nattest = 100000\n")
        shutil.copytree(self.places[0], self.places[1], ignore=shutil.ignore_patterns("keys", "store"))
        keys = f'[keys]\ndirectory = "{self.places[0] / "keys"}"\n'
        other = self.places[1] / "authority.toml"
        other.write_text(other.read_text().replace("[keys]\n", keys))
        self.roots = directory / "roots.pem"
        self.roots.write_text(self.verb("bundle"))

    def verb(self, *arguments: str, place: int = 0) -> str:
        """What a verb prints."""
        command = [*MESHWARD, "ca", *arguments, "--dir", str(self.places[place])]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS).stdout

    def start(self, place: int) -> Replica:
        """Run one of the replicas."""
        directory = self.places[place]
        log = self._directory / f"log-{place}"
        log.write_text("")
        process = self._running.enter_context(
            Process(f"replica {place}", [*MESHWARD, "ca", "serve", "--dir", str(directory)], log=log)
        )
        process.wait_until(lambda: "serving cluster.local" in log.read_text() or None, "it serves", seconds=SECONDS)
        said = log.read_text()
        ports = [int(number) for number in re.findall(r"(?:workloads|operators) ask at https://\S+:([0-9]+)", said)]
        assert len(ports) == 2, said
        return Replica(process, ports[0], ports[1], self.roots, (directory / "admin-token").read_text().strip())


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    programs = find_postgresql()
    if programs is None:
        pytest.skip("no PostgreSQL on this machine")
    with running_postgresql(programs) as url:
        yield url


def test_two_replicas_are_one_authority_though_one_is_killed(store: str, tmp_path: Path) -> None:
    with ExitStack() as running:
        authority = Authority(tmp_path, store, running)
        one, other = authority.start(0), authority.start(1)

        # A join token works once, whichever of them it is shown to.
        token = one.token()
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda n: (one, other)[n % 2].certificate(token), range(USES)))
        assert sorted(each.status_code for each in answers) == [200, *[401] * (USES - 1)]

        # What one is told, the other knows; only one of them does each step.
        before = one.admin("GET", "/v1/authorities")["sequence"]
        one.admin("POST", "/v1/authorities/root/rotate?leave_behind=true")
        authority.roots.write_text(authority.verb("bundle", place=1))
        changed = wait_until(lambda: rolled(one, before), "the first has rolled its root", seconds=SECONDS)
        wait_until(
            lambda: other.admin("GET", "/v1/authorities")["slots"] == changed or None,
            "the other as well",
            seconds=SECONDS,
        )
        rows = other.admin("GET", "/v1/audit?size=1000")["rows"]
        assert isinstance(rows, list)
        steps = [row["action"] for row in rows if re.match("(activate|retire) root", row["action"])]
        assert len(steps) >= 2
        assert len(steps) == len(set(steps))

        # One is killed, and the other goes on; what both have given out is known, and the chain of the audit is whole.
        os.kill(one.process.pid, signal.SIGKILL)
        bundle = Bundle(TD, tuple(x509.load_pem_x509_certificates(authority.roots.read_bytes())))
        token = other.token()
        answer = other.certificate(token)
        assert answer.status_code == 200, answer.text
        chain = [x509.load_pem_x509_certificate(pem.encode()) for pem in answer.json()["chain"]]
        assert verify_x509_svid(chain, [bundle], at=now()) == WEB
        again = authority.start(0)
        for replica in (again, other):
            assert replica.admin("GET", f"/v1/inventory/{answer.json()['serial']}")["state"] == "valid"
        authority.verb("audit", "verify")


def rolled(replica: Replica, before: object) -> object:
    """What signs once another root does."""
    found = replica.admin("GET", "/v1/authorities")
    slots = found["slots"]
    assert isinstance(slots, list)
    phases = [slot["phase"] for slot in slots if slot["kind"] == "root"]
    return slots if found["sequence"] != before and phases == ["superseded", "active"] else None
