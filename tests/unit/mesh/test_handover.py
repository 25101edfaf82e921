"""The law of handing over: after any history, what the other process has is what was loaded, and only what is new was sent."""

import tempfile
from dataclasses import replace
from io import BytesIO
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.directory import DirectoryStore, Loaded
from mesh.errors import PolicyStoreError
from mesh.handover import pieces, received
from mesh.snapshot import Snapshot
from tests.unit.mesh.meshes import FIRST, Edit, Write, edits, outcome, stamp

POLICY = (
    "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{0}, namespace: ns{0}}}\n"
)
POD = "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: w{0}, namespace: ns{0}}}\nspec: {{containers: [{{name: c, image: x}}]}}\n"


def handed(snapshot: Snapshot, before: Snapshot | None, there: Snapshot | None) -> Snapshot:
    """What a process that has `there` of `before` has then."""
    return received(BytesIO(b"".join(pieces(snapshot, before))), there)


@settings(max_examples=200)
@given(changes=st.lists(st.lists(edits, min_size=1, max_size=3), min_size=1, max_size=6))
def test_after_any_history_the_other_has_what_was_loaded(changes: list[list[Edit]]) -> None:
    ticks = count(1)
    with tempfile.TemporaryDirectory() as name:
        for path, text in FIRST.items():
            Write(path, text)(Path(name))
        store = DirectoryStore([name])
        here: Loaded = store.load()
        there = handed(here.snapshot, None, None)
        for batch in changes:
            for edit in batch:
                stamp(edit(Path(name)), next(ticks) * 10**9)
            before = here.snapshot
            try:
                here = store.load()
            except PolicyStoreError:
                continue
            there = handed(here.snapshot, before, there)
            assert outcome(replace(here, snapshot=there)) == outcome(here)


def loaded(directory: Path, last: str) -> DirectoryStore:
    (directory / "a.yaml").write_text("".join(POLICY.format(n) + POD.format(n) for n in range(100)))
    (directory / "b.yaml").write_text(last)
    return DirectoryStore([str(directory)])


def test_only_what_changed_is_sent_and_the_rest_is_the_same_there(tmp_path: Path) -> None:
    store = loaded(tmp_path, POLICY.format(500))
    before = store.load().snapshot
    there = handed(before, None, None)
    (tmp_path / "b.yaml").write_text(POLICY.format(500) + "spec: {action: DENY, rules: [{}]}\n")
    after = store.load().snapshot
    assert len(b"".join(pieces(after, before))) < len(b"".join(pieces(after, None))) / 10
    now = handed(after, before, there)
    same = [old is new for old, new in zip(there.policies, now.policies, strict=True)]
    assert same.count(False) == 1
    assert now.registry is there.registry


def test_what_is_large_comes_in_pieces_that_share_what_they_share(tmp_path: Path) -> None:
    snapshot = loaded(tmp_path, POLICY.format(500)).load().snapshot
    sent = list(pieces(snapshot, None))
    assert len(sent) == 201 // 20 + 1
    assert len(b"".join(sent)) < 2 * max(map(len, sent))


def test_half_a_snapshot_is_none(tmp_path: Path) -> None:
    sent = b"".join(pieces(loaded(tmp_path, POLICY.format(500)).load().snapshot, None))
    with pytest.raises(EOFError):
        received(BytesIO(b""), None)
    with pytest.raises(EOFError):
        received(BytesIO(sent[: sent.index(b"ns99")]), None)
