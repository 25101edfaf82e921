"""The Workload API as a client of another language's gRPC speaks it: grpc-js, found through `NODE_PATH`."""

import asyncio
import json
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ca.streams import Streams
from ca.workload_api import workload_api_server
from tests.unit.ca.offices import WEB, office

ROOT = Path(__file__).parents[2]
PACKAGES = ("@grpc/grpc-js", "@grpc/proto-loader")


def has_grpc_js() -> bool:
    """Whether this machine's Node finds it."""
    if shutil.which("node") is None:
        return False
    looked = "".join(f"require.resolve({package!r});" for package in PACKAGES)
    return subprocess.run(["node", "-e", looked], capture_output=True, check=False).returncode == 0  # noqa: S607  # the one that is here


@pytest.mark.skipif(not has_grpc_js(), reason=f"no Node with {' and '.join(PACKAGES)} on this machine")
def test_grpc_js_gets_all_that_there_is(tmp_path: Path) -> None:
    async def scene() -> str:
        with office(tmp_path, at=datetime.now(UTC)) as made:
            made.entry(WEB, f"unix:uid:{os.geteuid()}")
            server = workload_api_server(Streams(made.office), f"unix:{tmp_path}/w.sock")
            async with made.watched(), server:
                program = ["node", "tests/integration/workload.js", server.address]
                done = await asyncio.to_thread(
                    subprocess.run, program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
                )
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    assert json.loads(asyncio.run(scene())) == {
        "id": str(WEB),
        "name": f"URI:{WEB}",
        "root": True,
        "keys": 1,
        "validated": str(WEB),
        "otherAudience": 3,
        "withoutHeader": 3,
    }
