"""A PostgreSQL of our own, in a directory that goes away with it."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["find_postgresql", "running_postgresql"]

_PROGRAMS = ("initdb", "postgres", "pg_isready")
_START = 60.0
"""Seconds that a loaded machine may take."""


def find_postgresql() -> Path | None:
    """Where the server's programs are: on the path, or where Debian puts them, the newest first."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    debian = Path("/usr/lib/postgresql")
    versions = sorted(debian.glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    return next((path for path in (*places, *versions) if all((path / name).exists() for name in _PROGRAMS)), None)


@contextmanager
def running_postgresql(programs: Path) -> Iterator[str]:
    """Start a server that listens on a socket only, and give the URL of its first database."""
    # Root may not run it, and the user who may must be able to reach the directory.
    user = "nobody" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="meshward-pg-") as name:
        data = Path(name) / "data"
        if user:
            account = pwd.getpwnam(user)
            os.chown(name, account.pw_uid, account.pw_gid)
        subprocess.run(  # noqa: S603  # the server under test
            [
                programs / "initdb",
                "-D",
                data,
                "-U",
                "meshward",
                "--auth=trust",
                "--no-sync",
                "-E",
                "UTF8",
                "--locale=C",
            ],
            user=user,
            cwd=name,
            check=True,
            capture_output=True,
        )
        server = subprocess.Popen(  # noqa: S603  # the server under test
            # What survives the machine is the server's business; what survives us is tested.
            [programs / "postgres", "-D", data, "-k", name, "-c", "listen_addresses=", "-c", "fsync=off"],
            user=user,
            cwd=name,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_ready(programs, name, server)
            yield f"postgresql://meshward@/postgres?host={name}"
        finally:
            # At once: a plain end would wait for clients that were killed.
            server.send_signal(signal.SIGINT)
            server.wait(timeout=_START)


def _wait_until_ready(programs: Path, directory: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START
    while time.monotonic() < until:
        ready = subprocess.run(  # noqa: S603  # the server under test
            [programs / "pg_isready", "-h", directory, "-U", "meshward", "-q"], check=False
        )
        if ready.returncode == 0:
            return
        if server.poll() is not None:
            raise RuntimeError(f"postgres ended with {server.returncode}")
        time.sleep(0.05)
    raise TimeoutError("postgres does not answer")
