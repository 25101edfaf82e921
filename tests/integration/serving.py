"""`meshward serve` as a process, and asking it directly."""

import os
import signal
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import orjson
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest, CheckResponse

from demo.process import wait_until
from demo.server import Server

CHECK = "/envoy.service.auth.v3.Authorization/Check"
SECONDS = 10.0

Manifests = Mapping[str, str]


def policy(name: str, action: str, rules: str = "", *, app: str | None = "api", namespace: str = "shop") -> str:
    selector = "" if app is None else f"\n  selector: {{matchLabels: {{app: {app}}}}}"
    return (
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\nspec:{selector}\n  action: {action}\n"
        + textwrap.indent(textwrap.dedent(rules), "  ")
        + "\n"
    )


def workload(name: str, *, app: str | None = None, account: str | None = None, ip: str = "") -> str:
    status = f"\nstatus: {{podIP: {ip}}}" if ip else ""
    return (
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {app or name}}}}}\n"
        f"spec: {{serviceAccountName: {account or name}, containers: [{{name: c, image: x}}]}}{status}\n"
    )


class Asking:
    """A connection to a server's socket."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.insecure_channel(f"unix:{socket}")
        self.call = self._channel.unary_unary(CHECK, response_deserializer=CheckResponse.FromString)

    def check(self, question: CheckRequest) -> CheckResponse:
        return self.raw(question.SerializeToString())

    def raw(self, question: bytes) -> CheckResponse:
        return self.call(question, timeout=SECONDS)

    def allowed(self, question: CheckRequest) -> bool:
        return bool(self.check(question).status.code == 0)

    def why(self, question: CheckRequest) -> str:
        return str(self.check(question).dynamic_metadata["reason"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()


class Served:
    """A running server, its manifests, what it prints, and a connection to it."""

    def __init__(
        self, directory: Path, manifests: Manifests, *options: str, file: str = "", log_decisions: bool = True
    ) -> None:
        self.manifests = directory / "manifests"
        self.manifests.mkdir()
        for name, text in manifests.items():
            (self.manifests / name).write_text(text)
        self._decisions = directory / "decisions.jsonl"
        if log_decisions:
            options = (*options, "--decision-log", str(self._decisions))
        self.server = Server(self.manifests / file, directory / "server", options=options)
        self.socket = self.server.socket
        self.asking = Asking(self.socket)

    @property
    def printed(self) -> str:
        return (self.socket.parent / "meshward.log").read_text()

    def wait_for_printed(self, text: str, *, times: int = 1) -> str:
        wait_until(lambda: self.printed.count(text) >= times or None, f"it prints {text!r}", seconds=SECONDS)
        return self.printed

    def decisions(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self._decisions.read_bytes().splitlines()]

    def write(self, name: str, text: str) -> None:
        """In one step, as editors and deployments should."""
        beside = self.manifests.parent / name
        beside.write_text(text)
        beside.replace(self.manifests / name)

    def terminate(self) -> int:
        """Its exit status after SIGTERM."""
        process = self.server._process
        os.kill(process.pid, signal.SIGTERM)
        status: int = process._child.wait(SECONDS)
        return status

    def stop(self) -> None:
        self.asking.__exit__(None, None, None)
        self.server.stop()


@contextmanager
def serving(manifests: Manifests, *options: str, file: str = "", log_decisions: bool = True) -> Iterator[Served]:
    """A server of `manifests`, files of a directory; of the one `file` among them if it is given."""
    # Not pytest's own directory: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="meshward-") as directory:
        served = Served(Path(directory), manifests, *options, file=file, log_decisions=log_decisions)
        try:
            yield served
        finally:
            served.stop()
            assert "Traceback" not in served.printed, served.printed
