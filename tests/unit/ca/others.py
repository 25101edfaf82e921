"""Other users of this machine, who ask."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["ask_as", "needs_root", "open_directory"]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that others may enter, which pytest's are not."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


_CALL = """
import grpc, grpc._channel, os, sys
# Not before: the interpreter may be where the other one may not read.
uid = int(sys.argv[2])
os.setgroups([]), os.setresgid(uid, uid, uid), os.setresuid(uid, uid, uid)
with grpc.insecure_channel(sys.argv[1]) as channel:
    call = channel.unary_stream(sys.argv[3])
    try:
        print(next(call(b"", timeout=10, metadata=[("workload.spiffe.io", "true")])).decode(errors="replace"))
    except grpc.RpcError as error:
        print(error.code().name, error.details())
"""


async def ask_as(uid: int, address: str, method: str) -> str:
    """What a process of that user hears first, or with which code and text it is refused."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CALL, address, str(uid), method, stdout=subprocess.PIPE
    )
    said, _ = await child.communicate()
    return said.decode()
