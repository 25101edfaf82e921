"""Who may ask for whom: every step of the check fails on its own (spec 2.7), against a real API server over TLS."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from ca.attestation import KubernetesAttestor
from ca.istio.impersonation import Account, Impersonation
from ca.istio.kubernetes_pods import KubernetesPods
from ca.istio.service import CertificateService
from identity import verify_x509_svid
from tests.unit.authn.key_server import KeyServer, Passing, Reply, key_server
from tests.unit.ca.clusters import TestCluster
from tests.unit.ca.istio.asking import Heard, serving
from tests.unit.ca.offices import API, AT, TD, WEB, TestOffice, csr, office
from tests.unit.ca.tls import server_files

EAST = TestCluster()
WEST = TestCluster("west", issuer="https://west.example")
ZTUNNEL = Account("istio-system", "ztunnel")
TEXT = "request impersonation authentication failure"
Bound = tuple[str, str]


def pod(account: str, name: str, uid: str, *, node: str | None = "n1", phase: str = "Running") -> dict[str, object]:
    namespace, service_account = account.split("/")
    spec: dict[str, object] = {"serviceAccountName": service_account, "containers": []}
    if node is not None:
        spec["nodeName"] = node
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": uid},
        "spec": spec,
        "status": {"phase": phase},
    }


@dataclass
class World:
    """An API server with pods, and what asks it."""

    server: KeyServer
    pods: KubernetesPods
    time: Passing
    made: TestOffice
    directory: Path
    known: list[dict[str, object]] = field(default_factory=list)

    def publish(self, *pods: dict[str, object]) -> None:
        """Let the API server know of these and no others."""
        self.server.replies.clear()
        nodes: dict[str, list[dict[str, object]]] = {"n1": [], "n2": []}
        for each in pods:
            metadata, spec = each["metadata"], each["spec"]
            assert isinstance(metadata, dict)
            assert isinstance(spec, dict)
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
            self.server.replies[path] = Reply(json.dumps(each).encode())
            nodes.get(spec.get("nodeName", ""), []).append(each)
        for node, on_node in nodes.items():
            path = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}&limit=100"
            self.server.replies[path] = Reply(json.dumps({"metadata": {}, "items": on_node}).encode())

    def ask(
        self,
        account: str = "istio-system/ztunnel",
        asked: object = str(WEB),
        *,
        bound: Bound | None = ("ztunnel-1", "z-1"),
        cluster: TestCluster = EAST,
        pem: bytes | None = None,
    ) -> Heard:
        heard: list[Heard] = []

        async def main() -> None:
            clusters = [EAST.known(self.directory, named_in=TD), WEST.known(self.directory, named_in=TD)]
            impersonation = Impersonation({"east": self.pods}, trusted={ZTUNNEL})
            tokens = KubernetesAttestor(clusters, default="east")
            async with serving(
                self.directory,
                lambda front: CertificateService(self.made.office, front, tokens=tokens, impersonation=impersonation),
            ) as asker:
                token = cluster.token(account, at=AT, pod=bound)
                named = (("clusterid", cluster.name),)
                heard.append(await asker.ask(pem or csr(), token=token, metadata=named, ImpersonatedIdentity=asked))

        asyncio.run(main())
        return heard[0]

    @property
    def reason(self) -> str:
        """What the audit says last."""
        return self.made.office.store.audit.list().rows[-1].event.reason


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    tls, authority = server_files(tmp_path, "localhost")
    (tmp_path / "token").write_text("first\n")
    with key_server(tls) as server, office(tmp_path, istio_clusters=frozenset({"east", "west"})) as made:
        time = Passing()
        url = server.url("", host="localhost")
        pods = KubernetesPods(url, token=tmp_path / "token", authorities=authority, clock=time.clock)
        world = World(server, pods, time, made, tmp_path)
        world.publish(
            pod("istio-system/ztunnel", "ztunnel-1", "z-1"),
            pod("shop/web", "web-1", "w-1"),
            pod("shop/api", "api-1", "a-1", node="n2"),
            pod("shop/db", "db-1", "d-1", phase="Succeeded"),
            pod("shop/new", "new-1", "x-1", node=None),
        )
        yield world


def test_a_nodes_proxy_gets_the_names_of_the_pods_on_its_node(world: World) -> None:
    heard = world.ask(pem=csr(spiffe_id=WEB))
    assert heard.code == 0
    assert verify_x509_svid(heard.certificates, [world.made.office.signing.now().bundle], at=AT) == WEB
    row = world.made.office.store.inventory.get(f"{heard.certificates[0].serial_number:x}")
    # Whose name it is, and who has the key.
    assert (row.intent.spiffe_id, row.intent.caller) == (WEB, "k8s:east:istio-system:ztunnel")
    assert {asked.headers["authorization"] for asked in world.server.asked} == {"Bearer first"}
    assert heard.certificates[0].public_bytes(Encoding.PEM).decode() == heard.chain[0]


@pytest.mark.parametrize(
    ("asking", "reason"),
    [
        ({"cluster": WEST}, "no list of the pods"),
        ({"account": "shop/web", "bound": ("web-1", "w-1")}, "not trusted"),
        ({"asked": "web"}, "invalid SPIFFE ID"),
        ({"asked": ""}, "invalid SPIFFE ID"),
        ({"asked": f"{WEB}\n"}, "invalid SPIFFE ID"),
        ({"asked": ["x"]}, "invalid SPIFFE ID"),
        ({"asked": "spiffe://example.org/web"}, "not the name of a service account"),
        ({"asked": "spiffe://evil.example/ns/shop/sa/web"}, "not in the trust domain"),
        ({"bound": None}, "is not there"),
        ({"bound": ("ztunnel-2", "z-2")}, "is not there"),
        ({"bound": ("ztunnel-1", "z-0")}, "another by now"),
        ({"bound": ("../../shop/pods/web-1", "w-1")}, "is not there"),
        ({"asked": str(API)}, "no pod of shop/api"),
        ({"asked": "spiffe://example.org/ns/shop/sa/db"}, "no pod of shop/db"),
        ({"asked": "spiffe://example.org/ns/shop/sa/new"}, "no pod of shop/new"),
        ({"asked": "spiffe://example.org/ns/shop/sa/gone"}, "no pod of shop/gone"),
    ],
)
def test_each_step_that_fails_sounds_the_same(world: World, asking: dict[str, object], reason: str) -> None:
    heard = world.ask(**asking)  # type: ignore[arg-type]  # handed on as they came
    assert (heard.code, heard.text) == (16, TEXT)
    assert reason in world.reason


def test_a_pod_that_runs_as_somebody_else_is_refused(world: World) -> None:
    other = pod("istio-system/intruder", "ztunnel-1", "z-1")
    world.publish(other, pod("shop/web", "web-1", "w-1"))
    assert world.ask().code == 16
    assert "runs as istio-system/intruder" in world.reason


def test_the_request_must_be_for_whom_it_is_made(world: World) -> None:
    heard = world.ask(pem=csr(spiffe_id=API))
    assert heard.code == 7
    assert world.ask(pem=csr(spiffe_id=WEB)).code == 0


def test_while_the_api_server_cannot_be_asked_it_is_worth_another_try(world: World) -> None:
    path = "/api/v1/namespaces/istio-system/pods/ztunnel-1"
    for status in (401, 403, 500, 302):
        world.server.replies[path] = Reply(status=status, headers={"Location": "/elsewhere"})
        heard = world.ask()
        assert heard.code == 14
        assert "localhost" not in heard.text
    for body in (b"", b"[]", b"{", b"[" * 100_000):
        world.server.replies[path] = Reply(body)
        assert world.ask().code == 14


def test_what_is_known_is_used_for_five_seconds_and_what_is_not_is_looked_for_at_once(world: World) -> None:
    async def runs(name: str) -> bool:
        return await world.pods.runs(Account("shop", name), node="n1")

    async def main() -> None:
        asked = world.server.asked
        assert await runs("web")
        assert await runs("web")
        assert len(asked) == 1
        world.time.now += 0.3
        world.publish(pod("shop/late", "late-1", "l-1"))
        assert await runs("web")
        assert await runs("late")
        assert len(asked) == 2
        world.publish()
        world.time.now += 4.9
        assert await runs("late")
        world.time.now += 0.2
        assert not await runs("late")

    asyncio.run(main())


def test_those_who_ask_at_once_cost_one_request_and_tokens_are_read_anew(world: World) -> None:
    async def main() -> None:
        ask = [world.pods.pod("istio-system", "ztunnel-1") for _ in range(20)]
        assert len({found.uid for found in await asyncio.gather(*ask) if found}) == 1
        (world.directory / "token").write_text("second")
        assert await world.pods.pod("shop", "nobody") is None

    asyncio.run(main())
    assert [asked.headers["authorization"] for asked in world.server.asked] == ["Bearer first", "Bearer second"]


def test_a_node_with_many_pods_comes_in_pages(world: World) -> None:
    first = "/api/v1/pods?fieldSelector=spec.nodeName%3Dn3&limit=100"
    page = {"metadata": {"continue": "a/b"}, "items": [pod("shop/web", "web-1", "w-1", node="n3")]}
    world.server.replies[first] = Reply(json.dumps(page).encode())
    last = {"metadata": {}, "items": [pod("shop/api", "api-1", "a-1", node="n3"), pod("shop/liar", "l", "l"), "x"]}
    world.server.replies[f"{first}&continue=a%2Fb"] = Reply(json.dumps(last).encode())

    async def main() -> None:
        for name, there in (("api", True), ("web", True), ("liar", False)):
            assert await world.pods.runs(Account("shop", name), node="n3") is there

    asyncio.run(main())
