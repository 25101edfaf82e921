"""kill -9 at every step of issuing and rotating: nothing that was given out is unknown, and nothing goes back."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from ca.inventory import InventoryFilter, IssuedState
from tests.integration.dying import TD, opened

ROOT = Path(__file__).parents[2]
PROGRAM = [
    sys.executable,
    "-P",
    "-c",
    "import sys; sys.path.insert(0, '.'); from tests.integration.dying import main; main()",
]


def start(directory: Path, step: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([*PROGRAM, str(directory), step], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def printed(process: "subprocess.Popen[str]") -> list[str]:
    """What it printed whole: the last line may have been cut off by its end."""
    text, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    return text.splitlines() if text.endswith("\n") or not text else text.splitlines()[:-1]


def assert_sound(directory: Path, given_out: list[str], bundles: list[int]) -> None:
    """What is kept knows of all that was given out, the audit is whole, and the authority goes on from there."""
    store, office, _ = opened(directory)
    with store:
        now = office.clock()
        for serial in given_out:
            assert store.inventory.get(serial).state(now) is IssuedState.VALID
        store.audit.verify()
        version = store.authorities.load(TD)
        assert version is not None
        assert version.authorities.sequence >= max(bundles, default=0)
        office.signing.now().require_authority(now)


@pytest.mark.parametrize(("step", "released"), [("intending", 2), ("intended", 2), ("signed", 2), ("released", 3)])
def test_killed_at_a_step_of_issuing_it_has_given_out_nothing_that_it_does_not_know(
    tmp_path: Path, step: str, released: int
) -> None:
    serials = printed(start(tmp_path, step))
    assert len(serials) == 2
    assert_sound(tmp_path, serials, [])
    store, office, _ = opened(tmp_path)
    with store:
        rows = store.inventory.list(InventoryFilter(state=IssuedState.VALID), at=office.clock()).rows
        assert len(rows) == released


def test_killed_while_a_root_is_rolled_the_bundle_never_goes_back_and_the_roll_goes_on(tmp_path: Path) -> None:
    bundles = [int(line.split()[1]) for line in printed(start(tmp_path, "rotating"))]
    assert bundles == sorted(bundles)
    assert_sound(tmp_path, [], bundles)


def test_killed_at_any_moment_it_has_given_out_nothing_that_it_does_not_know(tmp_path: Path) -> None:
    random = Random(5)
    for _ in range(4):
        process = start(tmp_path, "at any moment")
        assert process.stdout is not None
        first = process.stdout.readline().strip()
        time.sleep(random.uniform(0.0, 0.2))
        process.kill()
        assert_sound(tmp_path, [first, *printed(process)], [])
