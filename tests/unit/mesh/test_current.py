"""The snapshot in force, and the changes that it outlives."""

import asyncio
import gc
import sys
from pathlib import Path

import pytest

from demo.process import wait_until
from mesh.current import Current
from mesh.directory import DirectoryStore, Loaded
from mesh.errors import InvalidManifestsError, PolicyStoreError

GOOD = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: NAME, namespace: shop}
spec: {}
"""
WORKLOAD = """
---
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop}
spec: {containers: []}
"""


class Heard:
    """What a Current told."""

    def __init__(self, path: Path) -> None:
        self.loads: list[str] = []
        self.refusals: list[PolicyStoreError] = []
        self.current = Current(DirectoryStore([str(path)]), on_load=self._on_load, on_refusal=self.refusals.append)

    def _on_load(self, loaded: Loaded) -> None:
        self.loads.append(loaded.snapshot.revision)

    def reload(self, times: int = 1) -> None:
        async def reload() -> None:
            for _ in range(times):
                await self.current.reload()

        asyncio.run(reload())

    def policies(self) -> list[str]:
        return [policy.name for policy in self.current.snapshot.policies]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "a.yaml"
    file.write_text(GOOD.replace("NAME", "one"))
    return file


def test_a_good_change_is_taken_up_once(file: Path) -> None:
    heard = Heard(file.parent)
    file.write_text(GOOD.replace("NAME", "two"))
    heard.reload(times=3)
    assert heard.policies() == ["two"]
    assert len(heard.loads) == 2


def test_a_bad_change_is_refused_once_and_the_way_back_is_told(file: Path) -> None:
    heard = Heard(file.parent)
    good = file.read_text()
    file.write_text(good.replace("spec", "spex"))
    heard.reload(times=3)
    assert [type(error) for error in heard.refusals] == [InvalidManifestsError]
    assert heard.policies() == ["one"]
    file.write_text(good)
    heard.reload(times=3)
    assert len(heard.refusals) == 1
    assert heard.loads == [heard.loads[0]] * 2


def test_what_cannot_be_read_is_refused_once_each_time_it_happens(file: Path) -> None:
    heard = Heard(file.parent)
    good = file.read_text()
    for _ in range(2):
        file.unlink()
        heard.reload(times=3)
        file.write_text(good)
        heard.reload(times=3)
    assert [str(error).partition(" in ")[0] for error in heard.refusals] == ["no manifests"] * 2
    assert heard.policies() == ["one"]


def test_what_nobody_foresaw_does_not_end_the_watching(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard(file.parent)

    def fail(*_: object, **__: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr("mesh.directory.read_contents", fail)
    file.write_text(GOOD.replace("NAME", "two"))
    heard.reload(times=3)
    assert [str(error) for error in heard.refusals] == ["internal error: RecursionError: too deep"]
    monkeypatch.undo()
    heard.reload()
    assert heard.policies() == ["two"]


def test_what_is_over_the_budget_stays_refused_until_it_changes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(GOOD.replace("NAME", "one") + WORKLOAD)
    heard = Heard(file.parent)
    monkeypatch.setattr(heard.current._store, "_budget", -1)
    file.write_text(GOOD.replace("NAME", "two") + WORKLOAD)
    heard.reload(times=3)
    assert (len(heard.refusals), heard.current.refused) == (1, True)
    monkeypatch.undo()
    file.write_text(GOOD.replace("NAME", "three") + WORKLOAD)
    heard.reload()
    assert (heard.policies(), heard.current.refused) == (["three"], False)


def test_what_is_replaced_is_let_go_of(file: Path) -> None:
    file.write_text(GOOD.replace("NAME", "one") + WORKLOAD)
    heard = Heard(file.parent)
    (workload,) = heard.current.snapshot.registry
    tree = heard.current.snapshot.tree(workload)
    del workload
    file.write_text(GOOD.replace("NAME", "two") + WORKLOAD)
    heard.reload()
    assert heard.policies() == ["two"]
    # One for the name here, and one for the question.
    assert sys.getrefcount(tree) == 2


def test_what_is_replaced_leaves_nothing_for_the_collector_which_does_not_look_there(file: Path) -> None:
    good = GOOD.replace("{}", "{rules: [{to: [{operation: {methods: [GET, PUT]}}]}]}") + WORKLOAD

    def reload(number: int) -> None:
        file.write_text(good.replace("NAME", f"p{number}"))
        heard.reload()

    file.write_text(good.replace("NAME", "first"))
    heard = Heard(file.parent)
    reload(0)
    gc.unfreeze()
    gc.collect()
    for number in range(1, 11):
        reload(number)
    gc.unfreeze()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        left = {type(each).__name__ for each in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    # Each reload is a loop of its own here, and that leaves cycles.
    assert left & {"DecisionTree", "Lane", "Node", "Policy", "Guard", "Snapshot", "Workload"} == set()


def test_the_interpreter_is_as_it_was_when_the_watching_ends(file: Path) -> None:
    def settings() -> tuple[object, ...]:
        return sys.getswitchinterval(), gc.get_threshold()

    async def watch() -> tuple[object, ...]:
        stop = asyncio.Event()
        watching = asyncio.create_task(heard.current.watch(stop))
        await asyncio.sleep(0.1)
        meanwhile = settings()
        await asyncio.to_thread(file.write_text, GOOD.replace("NAME", "two"))
        await asyncio.to_thread(
            wait_until, lambda: heard.policies() == ["two"] or None, "the change is taken up", seconds=10.0
        )
        stop.set()
        await watching
        return meanwhile

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    try:
        sys.setswitchinterval(0.004)
        gc.set_threshold(701, 11, 12)
        before = settings()
        heard = Heard(file.parent)
        assert asyncio.run(watch()) != before
        assert settings() == before
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)


def test_what_is_told_is_taken_up_and_what_is_not_told_with_the_next_look_at_everything(file: Path) -> None:
    other = file.with_name("b.yaml")
    other.write_text(GOOD.replace("NAME", "three"))
    heard = Heard(file.parent)
    file.write_text(GOOD.replace("NAME", "two"))
    other.write_text(GOOD.replace("NAME", "four"))
    asyncio.run(heard.current.reload([str(file)]))
    assert heard.policies() == ["two", "three"]
    heard.reload()
    assert heard.policies() == ["two", "four"]
