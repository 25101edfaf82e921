"""What a server tells Prometheus and probes: one set for all its processes, that no process and no client can hold up."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from authz.mesh_config import MeshConfig
from cli.monitoring import monitoring
from demo.process import wait_until
from demo.server import MESHWARD
from extauthz.metrics import Answerer, Metrics, Status
from extauthz.tally import Tally
from mesh.snapshot import Snapshot
from tests import questions
from tests.integration.serving import SECONDS, Served, policy, serving, workload
from tests.integration.test_tokens import MANIFESTS, token
from tests.integration.test_workers import CLOSED, Workers
from tests.unit.authn.key_server import key_server

PAGE = Path(__file__).parents[2] / "docs/operating.md"
NO_KEYS = (
    "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: gone, namespace: shop}}\n"
    "spec: {{selector: {{matchLabels: {{app: open}}}}, jwtRules: [{{issuer: other, jwksUri: {url}}}]}}\n"
)
MESH = """---
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: istio}
spec:
  meshConfig:
    extensionProviders:
      - {name: closed, envoyExtAuthzGrpc: {service: 127.0.0.1, port: 9}}
"""

Samples = Mapping[str, float]


class Endpoint:
    """The endpoint of a server that printed where it is."""

    def __init__(self, printed: str) -> None:
        found = re.search(r"metrics on (http://\S+)/metrics", printed)
        assert found is not None, printed
        self.address = found[1]

    def get(self, path: str, *, seconds: float = SECONDS) -> httpx.Response:
        return httpx.get(self.address + path, timeout=seconds)

    def samples(self, *, seconds: float = SECONDS) -> Samples:
        """The value of each sample, by its name and the values of its labels."""
        families = text_string_to_metric_families(self.get("/metrics", seconds=seconds).text)
        return {
            " ".join([sample.name, *(value for _, value in sorted(sample.labels.items()))]): sample.value
            for family in families
            for sample in family.samples
        }

    def of(self, name: str) -> list[float]:
        """The values of all samples of that name."""
        return [value for sample, value in self.samples().items() if sample.partition(" ")[0] == name]

    def until(self, name: str, value: float) -> None:
        wait_until(lambda: self.samples().get(name) == value or None, f"{name} is {value}", seconds=SECONDS)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with key_server() as issuer:
        manifests = {
            **MANIFESTS,
            "gone.yaml": NO_KEYS.format(url=issuer.url("/nothing")),
            "asked.yaml": workload("asked")
            + policy("ask", "CUSTOM", "provider: {name: closed}\nrules: [{}]", app="asked"),
            "mesh.yaml": MESH,
        }
        with serving(manifests, "--metrics", "127.0.0.1:0", "--jwks-allow", "127.0.0.0/8") as served:
            yield served


@pytest.fixture
def endpoint(served: Served) -> Endpoint:
    return Endpoint(served.printed)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    started = Workers(tmp_path, "--metrics", "127.0.0.1:0")
    yield started
    started.process.stop()
    assert "Traceback" not in started.log.read_text(), started.log.read_text()


def rise(before: Samples, after: Samples) -> dict[str, float]:
    """What was counted, times left out."""
    return {
        name: value - before.get(name, 0.0)
        for name, value in after.items()
        if value != before.get(name, 0.0) and name.startswith("meshward") and not re.search("seconds|bucket", name)
    }


def test_what_is_decided_is_counted_by_what_decided_it(served: Served, endpoint: Endpoint) -> None:
    before = endpoint.samples()
    bearer = [("authorization", f"Bearer {token()}")]
    served.asking.check(questions.http(headers=bearer))
    served.asking.check(questions.http(headers=bearer))
    served.asking.check(questions.http())
    served.asking.check(questions.http(headers=[("authorization", f"Bearer {token({'exp': 1})}")]))
    served.asking.check(questions.http(workload="shop/asked"))
    served.asking.check(questions.http(workload="shop/open"))
    served.asking.check(questions.http(workload="shop/gone"))
    served.asking.check(questions.http(source_ip="nonsense"))
    served.asking.raw(b"\xff")
    assert rise(before, endpoint.samples()) == {
        "meshward_decisions_total ALLOW allow ALLOW": 2,
        "meshward_decisions_total ALLOW allow DENY": 1,
        "meshward_decisions_total none jwt DENY": 1,
        "meshward_decisions_total CUSTOM custom DENY": 1,
        "meshward_decisions_total none none ALLOW": 1,
        "meshward_decisions_total none none DENY": 3,
        "meshward_refused_questions_total unknown-workload": 1,
        "meshward_refused_questions_total malformed": 1,
        "meshward_refused_questions_total undecodable": 1,
        "meshward_token_verifications_total verified": 2,
        "meshward_token_verifications_total expired": 1,
        "meshward_authorizer_calls_total failed": 1,
    }


def test_keys_that_cannot_be_fetched_show(endpoint: Endpoint) -> None:
    endpoint.until("meshward_jwks_sources missing", 1)
    assert endpoint.samples()["meshward_jwks_fetches_total failed"] >= 1
    assert endpoint.samples()["meshward_jwks_fetches_total ok"] == 0


def test_a_refused_change_shows_until_it_is_mended(served: Served, endpoint: Endpoint) -> None:
    before = endpoint.samples()
    assert before["meshward_manifests_refused"] == 0
    good = (served.manifests / "api.yaml").read_text()
    served.write("api.yaml", "nonsense: [")
    endpoint.until("meshward_manifests_refused", 1)
    assert endpoint.get("/readyz").status_code == 200
    served.write("api.yaml", good)
    endpoint.until("meshward_manifests_refused", 0)
    assert rise(before, endpoint.samples()) == {"meshward_reloads_total refused": 1, "meshward_reloads_total ok": 1}


def test_a_directory_that_comes_back_as_it_was_is_mended_too(served: Served, endpoint: Endpoint) -> None:
    away = served.manifests.with_name("away")
    served.manifests.rename(away)
    endpoint.until("meshward_manifests_refused", 1)
    away.rename(served.manifests)
    endpoint.until("meshward_manifests_refused", 0)


def test_what_is_in_force_is_described(served: Served, endpoint: Endpoint) -> None:
    revision = served.asking.check(questions.http()).dynamic_metadata["revision"]
    samples = endpoint.samples()
    assert samples[f"meshward_revision_info {revision}"] == 1
    assert samples["meshward_policies AuthorizationPolicy"] == 2
    assert samples["meshward_rules"] == 3
    assert samples["meshward_workloads"] == 3
    assert samples["process_open_fds server"] > 3


def test_the_endpoint_says_nothing_of_any_request(served: Served, endpoint: Endpoint) -> None:
    served.asking.check(
        questions.http(path="/secret-path", workload="shop/secret-name", headers=[("x", "secret-value")])
    )
    assert "secret" not in endpoint.get("/metrics").text


def test_open_metrics_is_spoken_where_it_is_asked_for(endpoint: Endpoint) -> None:
    answer = httpx.get(f"{endpoint.address}/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_a_worker_that_follows_another_goes_on_with_its_counts(workers: Workers) -> None:
    endpoint = Endpoint(workers.log.read_text())
    for _ in range(24):
        workers.ask()
    before = endpoint.samples()
    assert before["meshward_decisions_total ALLOW allow ALLOW"] == 24
    for pid in workers.workers():
        os.kill(pid, signal.SIGKILL)
    endpoint.until("meshward_workers_up", 0)
    assert endpoint.get("/readyz").status_code == 503
    assert endpoint.get("/healthz").status_code == 200
    assert endpoint.samples()["meshward_decisions_total ALLOW allow ALLOW"] == 24
    endpoint.until("meshward_workers_up", 2)
    assert endpoint.get("/readyz").status_code == 200
    workers.ask()
    after = endpoint.samples()
    assert after["meshward_decisions_total ALLOW allow ALLOW"] == 25
    assert after["meshward_worker_restarts_total"] == 2
    counters = [name for name in before if re.search("_total|_count|_sum|_bucket", name)]
    assert [name for name in counters if after[name] < before[name]] == []


def test_a_worker_that_hangs_holds_up_neither_the_scrape_nor_the_others(workers: Workers) -> None:
    endpoint = Endpoint(workers.log.read_text())
    stopped = workers.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        for number in range(20):
            workers.write(policy(f"change-{number}", "ALLOW"))
            endpoint.samples(seconds=2)
        workers.write(CLOSED)
        endpoint.until("meshward_workers_behind", 1)
        taken = endpoint.samples()["meshward_reloads_total ok"]
        wait_until(
            # Which of the two it is, their process ids do not say.
            lambda: max(endpoint.of("meshward_worker_silent_seconds")) > 2 or None,
            "silent",
            seconds=9,
        )
        workers.write(CLOSED + "# again\n")
        endpoint.until("meshward_reloads_total ok", taken + 1)
        endpoint.until("meshward_workers_behind", 1)
    finally:
        os.kill(stopped, signal.SIGCONT)
    endpoint.until("meshward_workers_behind", 0)
    assert workers.verdicts() == {False}


# The endpoint and its clients.


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setattr("cli.monitoring._LONGEST_CONNECTION", 0.5)
    monkeypatch.setattr("cli.monitoring._MOST_CONNECTIONS", 3)
    with monitoring("127.0.0.1:0", Status()) as address:
        yield Endpoint(f"metrics on http://{address}/metrics")


def connected(endpoint: Endpoint, sent: bytes = b"") -> socket.socket:
    host, port = endpoint.address.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=SECONDS)
    connection.sendall(sent)
    return connection


@pytest.mark.parametrize(
    "sent", [b"", b"GET /metr", b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\nab"]
)
def test_a_client_that_never_ends_is_hung_up_on(here: Endpoint, sent: bytes) -> None:
    with connected(here, sent) as connection:
        while connection.recv(65536):
            pass


def test_what_is_too_large_is_not_read(here: Endpoint) -> None:
    with connected(here, b"GET /metrics HTTP/1.1\r\nx: " + b"a" * 64 * 1024) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 400")


def test_of_too_many_connections_the_last_are_closed(here: Endpoint) -> None:
    kept = [connected(here, b"GET /metrics") for _ in range(3)]
    with connected(here) as one_more, pytest.raises((ConnectionResetError, AssertionError)):
        assert one_more.recv(1)
    for connection in kept:
        connection.close()


def test_there_is_nothing_else(here: Endpoint) -> None:
    assert [here.get(path).status_code for path in ("/", "/metrics/x", "/favicon.ico")] == [404, 404, 404]


def test_it_is_ready_from_the_first_policies_until_it_drains(here: Endpoint) -> None:
    status = Status()
    tally = Tally()
    with monitoring("127.0.0.1:0", status) as address:
        endpoint = Endpoint(f"metrics on http://{address}/metrics")
        states = [endpoint.get("/readyz").status_code]
        status.loaded(Snapshot(policies=(), workloads=(), config=MeshConfig(), revision="one"))
        states.append(endpoint.get("/readyz").status_code)
        status.answerers = lambda: [Answerer(name="server", pid=os.getpid(), tally=tally, revision="one")]
        tally.alive(at=time.monotonic())
        states.append(endpoint.get("/readyz").status_code)
        status.refused()
        states.append(endpoint.get("/readyz").status_code)
        status.draining = True
        states.append(endpoint.get("/readyz").status_code)
    assert states == [503, 503, 200, 200, 503]
    with pytest.raises(httpx.ConnectError):
        endpoint.get("/readyz")
    assert here.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("TAKEN", "cannot listen on"),
        ("unix:here", "`--metrics` takes `host:port`"),
        ("nobody.invalid:1", "cannot listen on"),
    ],
)
def test_an_address_that_cannot_be_had_is_said_before_anything_is_served(
    tmp_path: Path, address: str, message: str
) -> None:
    (tmp_path / "all.yaml").write_text(workload("api"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        metrics = f"127.0.0.1:{other.getsockname()[1]}" if address == "TAKEN" else address
        command = [*MESHWARD, "serve", str(tmp_path), "--listen", f"unix:{tmp_path}/s", "--metrics", metrics]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (ended.returncode, message in ended.stderr) == (2, True), ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_page_for_operators_has_a_row_for_each_metric_and_no_other() -> None:
    rows = re.findall(r"^\| `((?:meshward|process)_\w+)`", PAGE.read_text(), re.MULTILINE)
    status = Status()
    status.loaded(Snapshot(policies=(), workloads=(), config=MeshConfig(), revision="one"))
    names = {
        metric.name + {"counter": "_total", "info": "_info"}.get(metric.type, "")
        for metric in Metrics(status).collect()
    }
    assert sorted(rows) == sorted(names)
