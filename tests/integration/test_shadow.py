"""A second version of the policies beside the one in force: decided by, counted and logged, and never enforced."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest

from demo.process import wait_until
from demo.server import MESHWARD, Server
from tests import questions
from tests.integration.recorder import Recorder, deny
from tests.integration.serving import SECONDS, Asking, Served, policy, serving, workload
from tests.integration.test_metrics import Endpoint
from tests.integration.test_tokens import ISSUER, token
from tests.integration.test_tokens import MANIFESTS as TOKENS
from tests.integration.test_workers import CLOSED, OPEN, Workers
from tests.unit.authn.key_server import key_server

ITEMS = policy("items", "ALLOW", 'rules: [{to: [{operation: {paths: ["/items", "/items/*"]}}]}]')
BUYERS = policy("buyers", "ALLOW", 'rules: [{when: [{key: "request.headers[x-role]", values: [buyer]}]}]')


class Shadowed:
    """A server of `ITEMS` with a shadow of `BUYERS`."""

    def __init__(self, served: Served, shadow: Path) -> None:
        self.served = served
        self.shadow = shadow
        self.endpoint = Endpoint(served.printed)

    def decided(self, question: CheckRequest) -> tuple[bool, dict[str, Any]]:
        """Whether it is allowed, and the line in the log."""
        before = len(self.served.decisions())
        allowed = self.served.asking.allowed(question)
        (line,) = self.served.decisions()[before:]
        return allowed, line

    def counts(self) -> dict[str, float]:
        found = self.endpoint.samples()
        name = "meshward_shadow_decisions_total "
        return {key.removeprefix(name): value for key, value in found.items() if key.startswith(name) and value}

    def write(self, text: str) -> None:
        beside = self.shadow.parent / "new.yaml"
        beside.write_text(workload("api") + text)
        beside.replace(self.shadow / "all.yaml")


@pytest.fixture
def shadowed(tmp_path: Path) -> Iterator[Shadowed]:
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "all.yaml").write_text(workload("api") + BUYERS)
    options = ("--shadow", str(shadow), "--metrics", "127.0.0.1:0")
    with serving({"all.yaml": workload("api") + ITEMS}, *options) as served:
        yield Shadowed(served, shadow)


def test_it_is_counted_and_logged_where_it_differs_and_never_enforced(shadowed: Shadowed) -> None:
    buyer = [("x-role", "buyer")]
    assert shadowed.decided(questions.http(headers=buyer))[0]
    allowed, line = shadowed.decided(questions.http())
    assert allowed
    assert line["decision"]["verdict"] == "ALLOW"
    shadow = line["shadow"]
    assert (shadow["verdict"], shadow["policy"], shadow["rule"], shadow["reason"]) == (
        "DENY",
        None,
        None,
        "no ALLOW rule matches",
    )
    assert shadow["revision"] != line["decision"]["revision"]
    allowed, line = shadowed.decided(questions.http(path="/orders", headers=buyer))
    assert not allowed
    assert (line["shadow"]["verdict"], line["shadow"]["policy"], line["shadow"]["rule"]) == ("ALLOW", "shop/buyers", 0)
    allowed, line = shadowed.decided(questions.http(path="/orders"))
    assert not allowed
    assert "shadow" not in line
    assert shadowed.counts() == {"ALLOW ALLOW": 1, "ALLOW DENY": 1, "DENY ALLOW": 1, "DENY DENY": 1}


def test_the_log_has_what_either_version_looks_at(shadowed: Shadowed) -> None:
    _, line = shadowed.decided(questions.http(headers=[("x-role", "buyer"), ("x-other", "a")]))
    assert line["request"]["headers"] == {"x-role": ["buyer"]}


def test_a_question_that_no_policy_is_asked_about_is_not_asked_of_the_shadow(shadowed: Shadowed) -> None:
    shadowed.served.asking.raw(b"\xff")
    shadowed.served.asking.check(questions.http(source_ip="nonsense"))
    assert shadowed.counts() == {}
    # One for a workload that neither knows is denied by both.
    assert not shadowed.served.asking.allowed(questions.http(workload="shop/nobody"))
    assert shadowed.counts() == {"DENY DENY": 1}


def test_it_is_reloaded_and_a_broken_one_keeps_the_last_good_one(shadowed: Shadowed) -> None:
    assert shadowed.endpoint.samples()["meshward_shadow_manifests_refused"] == 0
    shadowed.write("nonsense: [")
    printed = shadowed.served.wait_for_printed("shadow: 1 error in the manifests: refused, revision")
    assert "error[" in printed
    shadowed.endpoint.until("meshward_shadow_manifests_refused", 1)
    assert shadowed.decided(questions.http())[1]["shadow"]["verdict"] == "DENY"
    shadowed.write(ITEMS)
    shadowed.endpoint.until("meshward_shadow_manifests_refused", 0)
    wait_until(lambda: "shadow" not in shadowed.decided(questions.http())[1] or None, "taken up", seconds=SECONDS)
    # What is in force has not been touched by any of it.
    assert shadowed.served.printed.count(" in force: ") == 1
    assert shadowed.endpoint.samples()["meshward_reloads_total ok"] == 1


def test_a_broken_one_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good/all.yaml").write_text(workload("api") + ITEMS)
    (tmp_path / "bad.yaml").write_text(policy("bad", "ALOW"))
    command = [*MESHWARD, "serve", str(tmp_path / "good"), "--listen", f"unix:{tmp_path}/s"]
    for shadow, status, said in (
        ("bad.yaml", 3, "error[unknown-value]"),
        ("none", 2, "cannot read"),
        ("-", 2, "standard input"),
    ):
        name = shadow if shadow == "-" else str(tmp_path / shadow)
        ended = subprocess.run(
            [*command, "--shadow", name], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert (ended.returncode, said in ended.stderr) == (status, True), ended.stderr
        assert "Traceback" not in ended.stderr


BROKEN = """
import sys
from extauthz import shadowing
from cli.main import run


def broken(snapshot, asked, destination):
    raise ZeroDivisionError(asked.attributes.path)


shadowing.locate = broken
sys.exit(run())
"""


def test_an_error_in_it_changes_no_answer_and_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "enforced.yaml").write_text(workload("api") + ITEMS)
    (tmp_path / "shadow.yaml").write_text(workload("api") + BUYERS)
    log = tmp_path / "decisions.jsonl"
    options = ("--shadow", str(tmp_path / "shadow.yaml"), "--metrics", "127.0.0.1:0", "--decision-log", str(log))
    command = (*MESHWARD[:3], BROKEN)
    with (
        tempfile.TemporaryDirectory(prefix="meshward-") as directory,
        Server(tmp_path / "enforced.yaml", Path(directory), options=options, command=command) as server,
        Asking(server.socket) as asking,
    ):
        printed = Path(directory) / "meshward.log"
        assert [asking.allowed(questions.http(path=path)) for path in ("/items", "/items", "/orders")] == [
            True,
            True,
            False,
        ]
        lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
        assert [line["decision"]["verdict"] for line in lines] == ["ALLOW", "ALLOW", "DENY"]
        assert not any("shadow" in line for line in lines)
        samples = Endpoint(printed.read_text()).samples()
        assert samples["meshward_shadow_decisions_total ALLOW ERROR"] == 2
        assert samples["meshward_shadow_decisions_total DENY ERROR"] == 1
        assert samples["meshward_refused_questions_total internal-error"] == 0
        assert printed.read_text().count("ZeroDivisionError: /items") == 1


# Nobody is asked for its sake.

MESH = """---
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {{name: istio}}
spec:
  meshConfig:
    extensionProviders:
      - {{name: first, envoyExtAuthzGrpc: {{service: 127.0.0.1, port: {port}}}}}
      - {{name: second, envoyExtAuthzGrpc: {{service: 127.0.0.1, port: {port}}}}}
"""


def custom(provider: str) -> str:
    return policy("ask", "CUSTOM", f"provider: {{name: {provider}}}\nrules: [{{}}]")


def test_what_an_authorizer_says_counts_for_both_and_another_is_not_asked(tmp_path: Path) -> None:
    authorizer = Recorder("127.0.0.1:0")
    shadow = tmp_path / "shadow.yaml"
    mesh = MESH.format(port=authorizer.port)
    shadow.write_text(workload("api") + mesh + custom("first") + ITEMS)
    options = ("--shadow", str(shadow), "--metrics", "127.0.0.1:0")
    try:
        with serving({"all.yaml": workload("api") + mesh + custom("first") + BUYERS}, *options) as served:
            seen = Shadowed(served, tmp_path)
            allowed, line = seen.decided(questions.http())
            assert (allowed, line["shadow"]["policy"]) == (False, "shop/items")
            assert len(authorizer.asked) == 1
            authorizer.answer = deny
            allowed, line = seen.decided(questions.http())
            assert (allowed, line["decision"]["stage"], "shadow" in line) == (False, "custom", False)
            assert len(authorizer.asked) == 2
            assert seen.counts() == {"DENY ALLOW": 1, "DENY DENY": 1}
            shadow.write_text(workload("api") + mesh + custom("second") + ITEMS)
            served.wait_for_printed("is decided by, too", times=2)
            assert "shadow" not in seen.decided(questions.http())[1]
            assert len(authorizer.asked) == 3
            assert seen.counts()["DENY UNKNOWN"] == 1
    finally:
        authorizer.stop()


def test_tokens_are_verified_for_it_with_the_keys_at_hand(tmp_path: Path) -> None:
    shadow = tmp_path / "shadow.yaml"
    shadow.write_text("".join(TOKENS.values()))
    bearer = [("authorization", f"Bearer {token()}")]
    with serving({"all.yaml": workload("api") + ITEMS}, "--shadow", str(shadow)) as served:
        served.asking.check(questions.http(headers=bearer))
        served.asking.check(questions.http(headers=[("authorization", "Bearer nonsense")]))
        served.asking.check(questions.http())
        good, bad, none = served.decisions()
    assert "shadow" not in good
    assert (bad["shadow"]["status"], bad["shadow"]["stage"]) == (401, "jwt")
    assert none["shadow"]["stage"] == "allow"
    assert "nonsense" not in str(bad)


def test_keys_that_are_not_there_yet_are_not_waited_for(tmp_path: Path) -> None:
    shadow = tmp_path / "shadow.yaml"
    with key_server() as issuer:
        issuer.held.clear()
        waiting = (
            "---\napiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: slow, namespace: shop}\n"
            f"spec: {{jwtRules: [{{issuer: {ISSUER}, jwksUri: {issuer.url('/slow')}, timeout: 30s}}]}}\n"
        )
        shadow.write_text(workload("api") + ITEMS + waiting)
        options = ("--shadow", str(shadow), "--metrics", "127.0.0.1:0", "--jwks-allow", "127.0.0.0/8")
        with serving({"all.yaml": workload("api") + ITEMS}, *options) as served:
            began = time.monotonic()
            assert served.asking.allowed(questions.http(headers=[("authorization", f"Bearer {token()}")]))
            assert time.monotonic() - began < SECONDS / 2
            assert Shadowed(served, tmp_path).counts() == {"ALLOW UNKNOWN": 1}
            issuer.held.set()


# Several processes.


def test_all_workers_decide_by_it_and_take_up_its_changes(tmp_path: Path) -> None:
    shadow, log = tmp_path / "shadow", tmp_path / "decisions.jsonl"
    shadow.mkdir()
    (shadow / "all.yaml").write_text(workload("api") + CLOSED)
    workers = Workers(tmp_path, "--shadow", str(shadow), "--metrics", "127.0.0.1:0", "--decision-log", str(log))
    try:
        seen = Endpoint(workers.log.read_text())
        assert workers.verdicts() == {True}
        assert {orjson.loads(line)["shadow"]["verdict"] for line in log.read_bytes().splitlines()} == {"DENY"}
        assert seen.samples()["meshward_shadow_decisions_total ALLOW DENY"] == 24
        assert seen.samples()["meshward_workers_behind"] == 0
        # The two change each by itself, and one after the other.
        (shadow / "all.yaml").write_text(workload("api") + OPEN + "# open\n")
        workers.wait_for("(?s)is decided by, too.*is decided by, too")
        seen.until("meshward_workers_behind", 0)
        assert workers.verdicts() == {True}
        assert seen.samples()["meshward_shadow_decisions_total ALLOW ALLOW"] == 24
        workers.write(CLOSED)
        workers.wait_for("(?s)in force.*in force")
        seen.until("meshward_workers_behind", 0)
        assert workers.verdicts() == {False}
        assert seen.samples()["meshward_shadow_decisions_total DENY ALLOW"] == 24
        # One that follows another has both.
        os.kill(workers.workers()[0], signal.SIGKILL)
        seen.until("meshward_worker_restarts_total", 1)
        seen.until("meshward_workers_up", 2)
        assert workers.verdicts() == {False}
        assert seen.samples()["meshward_shadow_decisions_total DENY ALLOW"] == 48
    finally:
        workers.process.stop()
    assert "Traceback" not in workers.log.read_text(), workers.log.read_text()
