"""The guide to the authority does what it says: its blocks are run in order, in one shell, as a reader would."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.golden.transcripts import ROOT

LONGEST = 150.0
GUIDE = ROOT / "docs" / "ca.md"
# Other servers of this machine may have the ports that the guide names.
PORTS = {"127.0.0.1:8443": "127.0.0.1:18443", "127.0.0.1:8444": "127.0.0.1:18444"}


def blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL)


def test_what_the_guide_says_can_be_done_in_that_order(tmp_path: Path) -> None:
    elsewhere = "; ".join(f"s/{old}/{new}/" for old, new in PORTS.items())
    script = "\n".join(blocks())
    script = script.replace("cluster.local\n", f"cluster.local\nsed -i '{elsewhere}' authority/authority.toml\n", 1)
    script = script.replace("https://localhost:8443", "https://localhost:18443")
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    command = bin_directory / "meshward"
    command.write_text(
        f'#!/bin/sh\nexec {sys.executable} -P -c "import sys; from cli.main import run; sys.exit(run())" "$@"\n'
    )
    command.chmod(0o755)
    path = f"{bin_directory}{os.pathsep}{os.environ['PATH']}"
    reader = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", f"trap 'kill %1' EXIT\n{script}"],  # noqa: S607  # the reader's shell
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, logged = reader.communicate(timeout=LONGEST)
    finally:
        # The server as well, however it ended.
        with suppress(ProcessLookupError):
            os.killpg(reader.pid, signal.SIGKILL)
    assert reader.returncode == 0, f"{printed}\n{logged}"
    assert "Traceback" not in logged
    for said in ("batch/svid.pem: OK", "active   intermediate", "is as it was written", "restored into elsewhere"):
        assert said in printed, said


@pytest.mark.parametrize("name", ["authority.toml", "passphrase", "admin-token"])
def test_the_guide_names_the_files_that_there_are(name: str) -> None:
    assert f"`{name}`" in GUIDE.read_text()
