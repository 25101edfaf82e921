"""Full handshakes between real Envoys while their leaves and roots are replaced under them: none may fail."""

import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from demo.process import wait_until
from tests.integration.mesh_of_two import Authority, Mesh, Traffic, mesh_of_two
from tests.unit.ca.offices import API, WEB

HANDSHAKES = int(os.environ.get("MESHWARD_HANDSHAKES", "300"))
LONG = HANDSHAKES >= 10_000
ROLLS = 5 if LONG else 2
LEAVES = 15 if LONG else 3
LEAF_EVERY = timedelta(seconds=2)
CLIENTS = 4
SECONDS = 60 + HANDSHAKES / 20


def go_on(traffic: Traffic, *, by: int) -> None:
    """Wait for that many more requests."""
    enough = traffic.count + by
    wait_until(lambda: traffic.count >= enough or None, f"{enough} requests", seconds=SECONDS)


def leaves_of(authority: Authority) -> int:
    """How many the Envoy that is behind has had."""
    return min(authority.leaves(WEB), authority.leaves(API))


def without_a_failure(mesh: Mesh, traffic: Traffic) -> int:
    """How many full handshakes there were, of which none failed, nor any secret was refused."""
    assert set(traffic.answers) == {"200"}, traffic.answers
    for envoy in (mesh.client, mesh.server):
        assert mesh.total(envoy, "ssl.session_reused") == 0
        for ending in ("ssl.connection_error", "ssl.fail_verify_error", "ssl.fail_verify_san", "update_rejected"):
            assert mesh.total(envoy, ending) == 0, (envoy.name, ending)
    assert mesh.total(mesh.client, "peer.upstream_cx_connect_fail") == 0
    return mesh.total(mesh.server, "ssl.handshake")


@pytest.mark.parametrize("api_type", ["GRPC", "DELTA_GRPC"])
def test_no_handshake_fails_while_roots_roll_and_leaves_rotate(
    tmp_path: Path, api_type: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        Authority(tmp_path, leaf_every=LEAF_EVERY) as authority,
        mesh_of_two(authority.socket, tmp_path, api_type=api_type) as mesh,
    ):
        traffic = Traffic(mesh.endpoint)
        first = authority.roots
        with traffic.flowing(CLIENTS):
            for _ in range(ROLLS):
                authority.roll_root()
                go_on(traffic, by=HANDSHAKES // (ROLLS + 2))
            # What they have goes on working, and nothing is wrong with what they get afterwards.
            authority.shut()
            go_on(traffic, by=50)
            authority.open()
            before = leaves_of(authority)
            wait_until(lambda: leaves_of(authority) > before or None, "another leaf each", seconds=SECONDS)
            authority.roll_root()
            wait_until(lambda: leaves_of(authority) > LEAVES or None, f"{LEAVES} leaves each", seconds=SECONDS)
            wait_until(lambda: traffic.count >= HANDSHAKES or None, f"{HANDSHAKES} requests", seconds=SECONDS)
        handshakes = without_a_failure(mesh, traffic)
        assert handshakes >= HANDSHAKES
        rolls, leaves = authority.roots - first, leaves_of(authority) - 1
        assert rolls >= ROLLS + 1
        assert leaves >= LEAVES
    said = f"{handshakes} full handshakes, {rolls} rolls of the root, {leaves} of the leaves, 0 failed"
    with capsys.disabled():
        sys.stdout.write(f"\n{api_type}: {said}\n")
