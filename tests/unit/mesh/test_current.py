"""The snapshot in force, and the changes that it outlives."""

import asyncio
from pathlib import Path

import pytest

from mesh.current import Current
from mesh.directory import DirectoryStore, Loaded
from mesh.errors import InvalidManifestsError, PolicyStoreError

GOOD = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: NAME, namespace: shop}
spec: {}
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

    monkeypatch.setattr("mesh.directory.parse_manifests", fail)
    file.write_text(GOOD.replace("NAME", "two"))
    heard.reload(times=3)
    assert [str(error) for error in heard.refusals] == ["internal error: RecursionError: too deep"]
    monkeypatch.undo()
    heard.reload()
    assert heard.policies() == ["two"]
