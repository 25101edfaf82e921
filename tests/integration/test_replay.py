"""Replaying what real parts have written: our server's decision log, a real Envoy's access log and questions."""

import gzip
import io
import json
import os
import pty
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from google.protobuf import json_format

from authz.attributes import Protocol
from authz.mesh_config import PathNormalization
from ca import Authority
from cli.main import main
from demo import sidecar, tls, wire
from demo.envoy import Envoy
from demo.server import MESHWARD
from demo.sidecar import InboundPort, Json
from demo.upstream import EchoServer, HttpApplication
from identity import SpiffeId, TrustDomain
from mesh.directory import DirectoryStore
from tests import questions
from tests.differential.emitter import filters
from tests.integration.recorder import Recorder, deny
from tests.integration.serving import policy, serving, workload
from tests.integration.test_tokens import ISSUER, JWKS, MANIFESTS, token

PAGE = Path(__file__).parents[2] / "docs/replay.md"
(FORMAT,) = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL))
TRUST_DOMAIN = TrustDomain("cluster.local")
HOST = "api.shop:8080"
RULES = """
rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
    to: [{operation: {methods: [GET], paths: [/items, "/items/*"]}}]
  - when: [{key: "request.headers[x-role]", values: [buyer]}]
"""
NO_ADMIN = policy("no-admin", "DENY", "rules: [{to: [{operation: {paths: [/admin, '/admin/*']}}]}]")
DATABASE = policy("db", "ALLOW", "rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]", app="db")
OLD = "".join(map(workload, ("api", "db"))) + policy("api", "ALLOW", RULES) + NO_ADMIN + DATABASE
NEW = (
    OLD.replace("methods: [GET]", "methods: [POST]")
    .replace("values: [buyer]", "values: [buyer, guest]")
    .replace("shop/sa/web]}}]}]", "shop/sa/other]}}]}]")
)
REQUESTS: tuple[tuple[str, str, tuple[wire.Header, ...], str], ...] = (
    ("GET", "/items", (), "web"),
    ("GET", "/items/1001?token=s3cr3t", (("cookie", "sid=s3cr3t"),), "web"),
    ("GET", "/items/1002", (), "nobody"),
    ("POST", "/items/1001", (("x-role", "guest"),), "web"),
    ("POST", "/orders", (("x-role", "buyer"),), "other"),
    ("GET", "/admin/users", (("x-role", "buyer"),), "web"),
    ("GET", "//admin/users", (("x-role", "buyer"),), "web"),
    ("PUT", "/items", (), "web"),
)


class Ended(NamedTuple):
    returncode: int
    stdout: bytes
    stderr: bytes


def replay(policies: Path, *options: str, stdin: bytes = b"") -> Ended:
    """The verb, in this process: starting another one takes longer than all that it does."""
    streams = [io.TextIOWrapper(io.BytesIO(data)) for data in (stdin, b"", b"")]
    with pytest.MonkeyPatch.context() as patch:
        for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
            patch.setattr(sys, name, stream)
        code = main(["replay", str(policies), *options])
    for stream in streams[1:]:
        stream.flush()
    out, err = (stream.buffer.getvalue() for stream in streams[1:])
    assert b"Traceback" not in err, err
    assert b"s3cr3t" not in out + err
    return Ended(code, out, err)


def found(policies: Path, *options: str, stdin: bytes = b"") -> dict[str, Any]:
    ended = replay(policies, "-o", "json", *options, stdin=stdin)
    assert ended.returncode == 0, ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


def groups(document: dict[str, Any]) -> set[tuple[str, str, str, str, int]]:
    return {
        (each["change"], each["workload"], each["caller"], each["route"], each["count"]) for each in document["groups"]
    }


class Versions:
    """Two versions of the policies in files."""

    def __init__(self, directory: Path) -> None:
        self.old, self.new = directory / "old.yaml", directory / "new.yaml"
        self.old.write_text(OLD)
        self.new.write_text(NEW)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return Versions(tmp_path_factory.mktemp("versions"))


WEB = "cluster.local/ns/shop/sa/web"
EXPECTED = {
    ("newly-denied", "shop/api", WEB, "GET /items", 1),
    ("newly-denied", "shop/api", WEB, "GET /items/*", 1),
    ("newly-allowed", "shop/api", WEB, "POST /items/*", 1),
}
# Envoy does not say which rule has let a request through, whose pattern its route would be called by.
NATIVE = {
    (change, *rest[:2], route.replace("GET /items/*", "GET /items/{id}"), 1) for change, *rest, route, _ in EXPECTED
}


class Mesh:
    """An Envoy with meshward before one port and its own RBAC before another, both logging in the page's format."""

    def __init__(self, authorizer: Path, log: Path, parts: ExitStack) -> None:
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="meshward-")))
        authority = Authority.create(TRUST_DOMAIN, at=datetime.now(UTC))

        def files(account: str) -> tls.TlsFiles:
            spiffe_id = SpiffeId.for_workload(TRUST_DOMAIN, namespace="shop", service_account=account)
            svid = authority.issue_with_new_key(spiffe_id, at=datetime.now(UTC))
            return tls.save(svid, authority.bundle, directory / f"{account}-svid")

        self.contexts = {name: tls.client_context(files(name)) for name in ("web", "other")}
        own, access_log = files("api"), Envoy.access_log(directory / "envoy")

        def port(name: str, cluster: str = "application") -> InboundPort:
            return InboundPort(name=name, tls=own, trust_domain=TRUST_DOMAIN, cluster=cluster, access_log=access_log)

        def http(name: str) -> Json:
            return sidecar.inbound_http(
                port(name), workload="shop/api", path_normalization=PathNormalization.MERGE_SLASHES
            )

        asking, native, tcp = http("asking"), http("native"), sidecar.inbound_tcp(port("tcp", "echo"))
        log_format = {**FORMAT["log_format"]["json_format"], "listener": "%FILTER_CHAIN_NAME%"}
        for listener, its_format in ((asking, log_format), (native, {**log_format, "decision": "-"})):
            _manager(listener)["access_log"][0]["typed_config"]["log_format"]["json_format"] = its_format
        _manager(native)["http_filters"][:1] = _native()
        _manager(native)["route_config"]["virtual_hosts"][0]["typed_per_filter_config"] = {}
        tcp_format = {
            **{name: value for name, value in log_format.items() if "REQ(" not in str(value)},
            "workload": "shop/db",
            "decision": "%DYNAMIC_METADATA(envoy.filters.network.ext_authz)%",
        }
        for chain in tcp["filter_chains"]:  # type: ignore[attr-defined]  # plain data
            chain["filters"][-1]["typed_config"]["access_log"][0]["typed_config"]["log_format"]["json_format"] = (
                tcp_format
            )
        bootstrap = sidecar.bootstrap(
            "shop/db",
            listeners=[asking, native, tcp],
            clusters=[
                sidecar.authorizer(authorizer),
                sidecar.application("application", parts.enter_context(HttpApplication()).endpoint),
                sidecar.application("echo", parts.enter_context(EchoServer()).endpoint),
            ],
        )
        self.envoy = parts.enter_context(Envoy("replayed", bootstrap, directory / "envoy"))
        self.log = log
        self._written = access_log

    def ask(self, listener: str) -> None:
        endpoint = self.envoy.listener(listener)
        for method, target, headers, caller in REQUESTS:
            context = self.contexts.get(caller)
            over = None if context is None else wire.Tls(context, "api.shop")
            wire.request(endpoint, method, target, [("Host", HOST), *headers], tls=over)

    def take(self, count: int) -> Path:
        """The log, once it has so many entries, and from now on a new one."""
        self.envoy.wait_for_entry(lambda _: True, skip=count - 1)
        self.log.write_bytes(self._written.read_bytes())
        return self.log


def _manager(listener: Any) -> Any:
    """The connection manager that all chains share."""
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def _native() -> list[Json]:
    """What istiod would configure for the old policies."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(OLD)
        file.flush()
        policies = DirectoryStore((file.name,)).load().snapshot.policies
    own = [each for each in policies if each.selector == {"app": "api"}]
    found = filters(own, protocol=Protocol.HTTP, trust_domains=("cluster.local",))
    kind = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
    return [
        {"name": f"rbac-{name}", "typed_config": {"@type": kind, **config}}
        for name, config in (("deny", found.deny), ("allow", found.allow))
        if config is not None
    ]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """What all parts have written about the same requests, under the old policies."""
    directory = tmp_path_factory.mktemp("recorded")
    with serving({"all.yaml": OLD}) as served, ExitStack() as parts:
        mesh = Mesh(served.socket, directory / "asking.jsonl", parts)
        mesh.ask("asking")
        wire.exchange(mesh.envoy.listener("tcp"), b"hello", tls=wire.Tls(mesh.contexts["web"], "db.shop"))
        asking = mesh.take(len(REQUESTS) + 1)
        decisions = directory / "decisions.jsonl"
        decisions.write_bytes(served._decisions.read_bytes())
        mesh.log = directory / "native.jsonl"
        mesh.ask("native")
        lines = mesh.take(2 * len(REQUESTS) + 1).read_bytes().splitlines(keepends=True)
        mesh.log.write_bytes(b"".join(lines[len(REQUESTS) + 1 :]))
        yield {"asking": asking, "native": mesh.log, "decisions": decisions}


def test_a_decision_log_comes_out_as_it_was_and_by_other_policies_otherwise(
    recorded: dict[str, Path], versions: Versions
) -> None:
    same = found(versions.old, "--log", str(recorded["decisions"]))
    assert (same["verdict"], same["compared"], same["without_verdict"]) == ("unchanged", len(REQUESTS) + 1, 0)
    changed = found(versions.new, "--log", str(recorded["decisions"]))
    assert (
        groups(changed) == EXPECTED | {("newly-denied", "shop/db", WEB, "TCP port", 1)} or groups(changed) >= EXPECTED
    )
    assert found(versions.new, "--log", str(recorded["decisions"]), "--against", str(versions.old))["groups"][0][
        "before"
    ]["place"]


def test_an_access_log_with_our_own_answers_in_it(recorded: dict[str, Path], versions: Versions) -> None:
    same = found(versions.old, "--log", str(recorded["asking"]))
    assert (same["verdict"], same["compared"], same["without_verdict"]) == ("unchanged", len(REQUESTS) + 1, 0)
    changed = found(versions.new, "--log", str(recorded["asking"]))
    assert groups(changed) >= EXPECTED
    (database,) = (each for each in changed["groups"] if each["workload"] == "shop/db")
    assert (database["change"], database["sample"]["connection"]["protocol"]) == ("newly-denied", "tcp")
    (items,) = (each for each in changed["groups"] if each["route"] == "GET /items/*")
    assert items["sample"]["request"]["path"] == "/items/1001?token=***"
    assert items["before"]["policy"] == "shop/api"


def test_an_access_log_of_envoys_own_rbac(recorded: dict[str, Path], versions: Versions) -> None:
    text = recorded["native"].read_text()
    assert "rbac_access_denied_matched_policy[ns[shop]-policy[no-admin]-rule[0]]" in text
    same = found(versions.old, "--log", str(recorded["native"]))
    assert (same["verdict"], same["compared"], same["without_verdict"]) == ("unchanged", len(REQUESTS), 0)
    changed = found(versions.new, "--log", str(recorded["native"]))
    assert groups(changed) == NATIVE


def test_gzip_and_standard_input_make_no_difference(recorded: dict[str, Path], versions: Versions) -> None:
    plain = recorded["native"].read_bytes()
    # As logs that were rotated are put together.
    half = plain.index(b"\n", len(plain) // 2) + 1
    packed = gzip.compress(plain[:half]) + gzip.compress(plain[half:]) + b"\0" * 512
    changed = found(versions.new, "--log", "-", stdin=packed)
    assert groups(changed) == NATIVE
    cut = replay(versions.new, "--log", "-", stdin=gzip.compress(plain)[:-20])
    assert cut.returncode == 3
    assert b"the gzip data end in the middle" in cut.stderr


@pytest.fixture(scope="module")
def asked() -> list[CheckRequest]:
    """What a real Envoy asks."""
    with ExitStack() as parts:
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="meshward-")))
        recorder = Recorder(directory / "s")
        parts.callback(recorder.stop)
        Mesh(directory / "s", directory / "log", parts).ask("asking")
        assert len(recorder.asked) == len(REQUESTS)
        return recorder.asked


def framed(messages: list[CheckRequest]) -> bytes:
    """Each behind its length, as protobuf's libraries write several to one file."""
    written = b""
    for message in messages:
        length, text = message.ByteSize(), message.SerializeToString()
        while length >= 0x80:
            written += bytes([length & 0x7F | 0x80])
            length >>= 7
        written += bytes([length]) + text
    return written


def test_the_questions_of_a_real_envoy_by_two_versions(asked: list[CheckRequest], versions: Versions) -> None:
    lines = "".join(json_format.MessageToJson(each, indent=None) + "\n" for each in asked).encode()
    for data in (framed(asked), gzip.compress(framed(asked)), lines):
        changed = found(versions.new, "--log", "-", "--against", str(versions.old), stdin=data)
        assert groups(changed) == EXPECTED
        assert changed["compared"] == len(REQUESTS)
    alone = replay(versions.new, "--log", "-", stdin=lines)
    assert (alone.returncode, b"give another version of the policies with --against" in alone.stderr) == (2, True)
    cut = replay(versions.new, "--log", "-", "--against", str(versions.old), stdin=framed(asked)[:-5])
    assert cut.returncode == 3
    assert f"at byte {len(framed(asked[:-1]))} of the data, after record {len(asked) - 1}".encode() in cut.stderr


def test_joined_headers_are_decided_in_every_way_to_read_them(versions: Versions) -> None:
    # `buyer` may have been a line of its own, and then it is allowed; but it may also not.
    joined = questions.http("POST", "/orders", joined={"x-role": "a,buyer"})
    apart = questions.http("POST", "/orders", headers=[("x-role", "a"), ("x-role", "buyer")])
    nothing = versions.new.with_name("nothing.yaml")
    nothing.write_text(OLD.replace("values: [buyer]", "values: [nobody]"))
    (one,) = found(nothing, "--log", "-", "--against", str(versions.old), stdin=framed([joined, apart]))["groups"]
    assert (one["count"], one["first"]) == (1, "<stdin>:2")


def test_a_token_of_then_is_verified_as_of_then(tmp_path: Path) -> None:
    old, new, keys = tmp_path / "old", tmp_path / "new.yaml", tmp_path / "keys.json"
    old.mkdir()
    for name, text in MANIFESTS.items():
        (old / name).write_text(text)
    new.write_text("".join(MANIFESTS.values()).replace("values: [buyer]", "values: [seller]"))
    keys.write_text(JWKS)
    signed = token({"exp": 1_700_000_060})
    question = questions.http(headers=[("authorization", f"Bearer {signed}")])
    question.attributes.request.time.FromSeconds(1_700_000_000)
    (one,) = found(new, "--log", "-", "--against", str(old), stdin=framed([question]))["groups"]
    assert (one["change"], one["sample"]["jwt"]["claims"]["sub"]) == ("newly-denied", "alice")
    assert signed not in json.dumps(one)
    # A sample is decided as the request was.
    sample = tmp_path / "sample.json"
    sample.write_text(json.dumps(one["sample"]))
    check = [*MESHWARD, "check", "--request", str(sample)]
    said = [
        subprocess.run([*check, str(each)], capture_output=True, text=True, check=True).stdout for each in (old, new)
    ]
    assert [text.split()[0] for text in said] == ["ALLOW", "DENY"]


def test_the_decision_log_has_what_tokens_say_as_far_as_policies_look(tmp_path: Path) -> None:
    good, bad = token({"sid": "s3cr3t", "groups": ["buyer", "x"]}), token({"exp": 1})
    with serving(MANIFESTS) as served:
        served.asking.check(questions.http(headers=[("authorization", f"Bearer {good}")]))
        served.asking.check(questions.http(headers=[("authorization", f"Bearer {bad}")]))
        served.asking.check(questions.http())
        first, second, third = served.decisions()
        assert first["jwt"] == {"claims": {"iss": ISSUER, "sub": "alice", "groups": ["buyer", "x"]}}
        assert "jwt" not in second
        assert "jwt" not in third
        log = served._decisions
        assert found(served.manifests, "--log", str(log))["verdict"] == "unchanged"
        sellers = tmp_path / "sellers.yaml"
        sellers.write_text("".join(MANIFESTS.values()).replace("values: [buyer]", "values: [seller]"))
        changed = found(sellers, "--log", str(log))
        assert [(each["change"], each["count"]) for each in changed["groups"]] == [("newly-denied", 1)]
        # Nobody wrote down what was wrong with the token: what it would have said is not known.
        everybody = tmp_path / "everybody.yaml"
        everybody.write_text("".join(MANIFESTS.values()).replace("{paths: [/open]}", "{paths: [/items]}"))
        changed = found(everybody, "--log", str(log))
        assert [(each["change"], each["lacking"]) for each in changed["groups"]] == [
            ("newly-allowed", []),
            ("uncertain", ["request.auth"]),
        ]


def test_an_archive_of_a_browser(tmp_path: Path, versions: Versions) -> None:
    def entry(method: str, url: str, status: int, text: str = "", **headers: str) -> Json:
        lines = [{"name": name, "value": value} for name, value in headers.items()]
        return {
            "startedDateTime": "2026-01-01T00:00:00.000Z",
            "request": {"method": method, "url": url, "headers": lines},
            "response": {"status": status, "content": {"text": text + '"}] { \\'}},
        }

    entries = [
        entry("GET", "https://api.shop:8080/items/../items?access_token=s3cr3t", 200, cookie="s3cr3t"),
        entry(
            "GET", "https://user:s3cr3t@api.shop:8080/items/../admin", 403, "RBAC: access denied", **{"X-Role": "buyer"}
        ),
        entry("POST", "https://api.shop:8080/items", 403, "RBAC: access denied", **{"X-Role": "guest"}),
        entry("GET", "https://api.shop:8080/items", 403, "no more items"),
        entry("GET", "https://api.shop:8080/items", 0),
    ]
    archive = tmp_path / "browser.har"
    archive.write_text(json.dumps({"log": {"version": "1.2", "pages": [], "entries": entries}}, indent=1))
    options = ("--log", str(archive), "--workload", "shop/api", "--principal", f"spiffe://{WEB}")
    same = found(versions.old, *options)
    assert (same["verdict"], same["compared"], same["without_verdict"]) == ("unchanged", 3, 2)
    changed = found(versions.new, *options)
    assert groups(changed) == {
        ("newly-denied", "shop/api", WEB, "GET /items", 1),
        ("newly-allowed", "shop/api", WEB, "POST /items", 1),
    }
    assert changed["groups"][0]["sample"]["request"]["path"] == "/items?access_token=***"
    nobody = replay(versions.old, "--log", str(archive))
    assert (nobody.returncode, b"name it with --workload" in nobody.stderr) == (2, True)


def test_authorizers_have_let_through_what_they_did_not_refuse(tmp_path: Path) -> None:
    recorder = Recorder("127.0.0.1:0")
    mesh = tmp_path / "mesh.yaml"
    mesh.write_text(
        f"extensionProviders: [{{name: first, envoyExtAuthzGrpc: {{service: 127.0.0.1, port: {recorder.port}}}}}]\n"
    )
    asks = policy("ask", "CUSTOM", "provider: {name: first}\nrules: [{}]")
    try:
        with serving({"all.yaml": OLD + asks}, "--mesh", str(mesh)) as served:
            assert served.asking.allowed(questions.http())
            served.asking.check(questions.http("PUT"))
            recorder.answer = deny
            served.asking.check(questions.http())
            log = served._decisions.read_bytes()
            same = found(served.manifests, "--mesh", str(mesh), "--log", "-", stdin=log)
            assert (same["verdict"], same["compared"]) == ("unchanged", 3)
    finally:
        recorder.stop()


def test_who_looks_sees_how_far_it_is(recorded: dict[str, Path], versions: Versions) -> None:
    mine, theirs = pty.openpty()
    with os.fdopen(mine, "rb", buffering=0) as terminal:
        with os.fdopen(theirs, "wb", buffering=0) as stderr:
            command = [*MESHWARD, "replay", str(versions.old), "--log", str(recorded["decisions"])]
            ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, timeout=60, check=True)
        shown = terminal.read(65536).decode()
    # What is shown on the way is not what is printed.
    assert ended.stdout == f"unchanged: {len(REQUESTS) + 1} requests decided as then\n".encode()
    assert f"{len(REQUESTS) + 1} records" in shown
    assert "100%" in shown
