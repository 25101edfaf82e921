"""Manifests in files and directories: each is read, once, or it is said that it cannot be."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mesh.errors import PolicyStoreError
from mesh.files import read_manifests


def names(*paths: Path) -> list[str]:
    return [Path(name).name for name, _ in read_manifests([str(path) for path in paths])]


def test_a_directory_is_read_to_its_depth_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    for name in ("z.yaml", "b/y.yml", "b/c/x.json", "b/notes.txt", "b/p.authz-test.yaml", "b/.hidden.yaml"):
        (tmp_path / name).write_text("{}")
    assert names(tmp_path) == ["x.json", "y.yml", "z.yaml"]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{}")
    assert names(tmp_path, tmp_path / "a.yaml") == ["a.yaml"]


def test_a_mounted_config_map_is_read_once_with_its_folders(tmp_path: Path) -> None:
    versions = tmp_path / "..2026_01"
    (versions / "team").mkdir(parents=True)
    (versions / "a.yaml").write_text("{}")
    (versions / "team" / "b.yaml").write_text("{}")
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    (tmp_path / "team").symlink_to("..data/team")
    assert names(tmp_path) == ["a.yaml", "b.yaml"]


def test_a_link_that_leads_back_ends(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{}")
    (tmp_path / "again").symlink_to(tmp_path)
    assert names(tmp_path) == ["a.yaml"]


def test_a_link_to_nothing_is_a_policy_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{}")
    (tmp_path / "deny.yaml").symlink_to(tmp_path / "gone.yaml")
    with pytest.raises(PolicyStoreError, match=r"cannot read .*deny\.yaml: No such file"):
        read_manifests([str(tmp_path)])


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{}")
    os.mkfifo(tmp_path / "pipe.yaml")
    assert names(tmp_path) == ["a.yaml"]


@pytest.fixture
def not_root() -> Iterator[Path]:
    """A directory, for somebody who may not read everything."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        yield Path(name)
        os.seteuid(user)


@contextmanager
def as_owner(directory: Path) -> Iterator[None]:
    user = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(directory.stat().st_uid)
    yield
    os.seteuid(user)


@pytest.mark.parametrize("name", ["secret", "secret.yaml"])
def test_what_may_not_be_read_is_not_passed_over(not_root: Path, name: str) -> None:
    with as_owner(not_root):
        (not_root / "a.yaml").write_text("{}")
        (not_root / name).touch(mode=0) if name.endswith(".yaml") else (not_root / name).mkdir(mode=0)
    with pytest.raises(PolicyStoreError, match=rf"cannot read .*{name}: Permission denied"):
        read_manifests([str(not_root)])


def test_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PolicyStoreError, match=r"no manifests in .*: expected files named"):
        read_manifests([str(tmp_path)])
    with pytest.raises(PolicyStoreError, match=r"cannot read .*: No such file"):
        read_manifests([str(tmp_path / "absent")])


def test_a_file_without_a_byte_is_an_error_for_it_may_be_about_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: A\n")
    (tmp_path / "b.yaml").touch()
    with pytest.raises(PolicyStoreError, match=r"b\.yaml is empty"):
        read_manifests([str(tmp_path)])
