"""Meshward's own server, started as users start it."""

import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from demo.part import Part
from demo.process import Process

__all__ = ["MESHWARD", "SOCKET", "Server"]

# The console script may be anywhere; the interpreter that runs us has the same packages.
MESHWARD: Sequence[str] = (sys.executable, "-P", "-c", "import sys; from cli.main import run; sys.exit(run())")
"""The command line `meshward`, as an argument vector."""

SOCKET = "ext-authz.sock"
"""The name of the socket in the server's directory."""

_START = 20.0


class Server(Part):
    """`meshward serve`, ready to answer on `socket`.

    `directory` is private and its own, for the socket and for what the server prints.
    """

    def __init__(
        self,
        policies: Path,
        directory: Path,
        *,
        options: Sequence[str] = (),
        command: Sequence[str] = MESHWARD,
    ) -> None:
        """Start it and wait until its health service says so.

        Raises:
            DemoError: it did not come up; the end of its output says why.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self.socket = directory / SOCKET
        self._process = Process(
            "meshward serve",
            [*command, "serve", str(policies), "--listen", f"unix:{self.socket}", *options],
            log=directory / "meshward.log",
        )
        try:
            self._process.wait_until(lambda: self.socket.exists() or None, "it listened", seconds=_START)
            self._process.wait_until(lambda: self.is_serving() or None, "it was ready", seconds=_START)
        except BaseException:
            self.stop()
            raise

    def is_serving(self) -> bool:
        """Whether its health service answers SERVING."""
        # A channel of its own each time: a channel that failed waits longer and longer before it tries again.
        with grpc.insecure_channel(f"unix:{self.socket}") as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1.0)
            except grpc.RpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def stop(self) -> None:
        """End it. Ending it twice is harmless."""
        self._process.stop()
