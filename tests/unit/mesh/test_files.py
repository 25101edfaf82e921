"""Manifests in files and directories: each is read, once, or it is said that it cannot be."""

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from watchfiles import awatch

from mesh import files
from mesh.errors import PolicyStoreError
from mesh.files import ManifestFiles, read_manifests


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


# Looking again


def texts(found: ManifestFiles, *changed: Path | str) -> list[str]:
    """What is in the files now; `changed` is all that is told, if anything is."""
    return [file.data.decode() for file in found.read([str(path) for path in changed] if changed else None)]


def test_what_has_not_changed_is_the_same_object(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(name)
    manifests = ManifestFiles([str(tmp_path)])
    before = manifests.read()
    (tmp_path / "b.yaml").write_text("other")
    now = manifests.read()
    assert (now[0] is before[0], now[1] is before[1]) == (True, False)
    (tmp_path / "b.yaml").write_text("other")
    assert manifests.read()[1] is now[1]


def test_only_what_is_told_is_looked_at(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("one")
    manifests = ManifestFiles([str(tmp_path)])
    manifests.read()
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("two")
    assert texts(manifests, tmp_path / "a.yaml", tmp_path / "beside.tmp", tmp_path / ".hidden" / "x.yaml") == [
        "two",
        "one",
    ]
    assert texts(manifests) == ["two", "two"]


def link(directory: Path) -> None:
    (directory / "b.yaml").symlink_to(directory / "a.yaml")


def hard_link(directory: Path) -> None:
    (directory / "b.yaml").hardlink_to(directory / "a.yaml")


def link_to_directory(directory: Path) -> None:
    (directory / "more").symlink_to(directory / "real")


@pytest.mark.parametrize("make", [link, hard_link, link_to_directory])
def test_a_file_of_two_names_is_never_two_files(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "a.yaml").write_text("one")
    (tmp_path / "real" / "b.yaml").write_text("one")
    make(tmp_path)
    manifests = ManifestFiles([str(tmp_path)])
    manifests.read()
    for name in ("a.yaml", "real/b.yaml"):
        (tmp_path / name).write_text("two")
        texts(manifests, tmp_path / name)
    assert set(texts(manifests, tmp_path / "a.yaml")) == {"two"}


def test_a_directory_given_twice_is_looked_at_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.yaml").write_text("one")
    monkeypatch.chdir(tmp_path)
    manifests = ManifestFiles(["d", str(tmp_path / "d")])
    manifests.read()
    (tmp_path / "d" / "a.yaml").write_text("two")
    assert texts(manifests, tmp_path / "d" / "a.yaml") == ["two", "two"]


def test_a_change_that_leaves_size_and_times_alone_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock of the file system that has stood still; ours has not."""
    monkeypatch.setattr(files, "_stamp", lambda status: files._Stamp(0, status.st_ino, status.st_size, 0, 0))
    (tmp_path / "a.yaml").write_text("one")
    seconds = count(0, 1.5)
    manifests = ManifestFiles([str(tmp_path)], clock=lambda: next(seconds))
    for text in ("one", "two", "too"):
        (tmp_path / "a.yaml").write_text(text)
        assert texts(manifests) == [text]
    for _ in range(3):
        manifests.read()
    # So long after the file was seen first, a change of it has another time.
    (tmp_path / "a.yaml").write_text("six")
    assert texts(manifests) == ["too"]


def test_a_time_that_was_set_back_does_not_hide_a_change(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("one")
    seconds = count(0, 10.0)
    manifests = ManifestFiles([str(tmp_path)], clock=lambda: next(seconds))
    for _ in range(3):
        manifests.read()
    status = file.stat()
    file.write_text("two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert texts(manifests) == ["two"]


def mount(directory: Path, version: str) -> None:
    """Put a version of a ConfigMap in place, as kubelet does."""
    (directory / version).mkdir()
    for name in ("a.yaml", "b.yaml"):
        (directory / version / name).write_text(version)
    (directory / "..tmp").symlink_to(version)
    (directory / "..tmp").rename(directory / "..data")


def test_a_mount_that_is_swapped_while_it_is_read_is_read_from_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount(tmp_path, "..one")
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    manifests = ManifestFiles([str(tmp_path)])
    assert texts(manifests) == ["..one", "..one"]
    mount(tmp_path, "..two")
    read = files.read_file

    def swap_behind(path: Path) -> bytes:
        data = read(path)
        if not (tmp_path / "..three").exists():
            mount(tmp_path, "..three")
        return data

    monkeypatch.setattr(files, "read_file", swap_behind)
    assert texts(manifests) == ["..three", "..three"]


def test_a_mount_is_looked_at_as_a_whole_when_its_hidden_link_is_told_of(tmp_path: Path) -> None:
    mount(tmp_path, "..one")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    manifests = ManifestFiles([str(tmp_path)])
    manifests.read()
    mount(tmp_path, "..two")
    assert texts(manifests, tmp_path / "..data", tmp_path / "..tmp") == ["..two"]


def test_what_changes_before_a_file_that_is_gone_is_not_from_another_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("one")
    seconds = count(0, 10.0)
    manifests = ManifestFiles([str(tmp_path)], clock=lambda: next(seconds))
    for _ in range(3):
        manifests.read()
    (tmp_path / "b.yaml").unlink()
    stamp = files._stamp

    def replace_behind(status: os.stat_result) -> files._Stamp | None:
        monkeypatch.undo()
        (tmp_path / "a.yaml").write_text("what was in both")
        return stamp(status)

    monkeypatch.setattr(files, "_stamp", replace_behind)
    assert texts(manifests) == ["what was in both"]


def test_a_file_that_is_written_again_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("one")
    manifests = ManifestFiles([str(tmp_path)])
    manifests.read()
    file.write_text("two")
    read = files.read_file

    def write_behind(path: Path) -> bytes:
        monkeypatch.undo()
        data = read(path)
        path.write_text("three")
        return data

    monkeypatch.setattr(files, "read_file", write_behind)
    assert texts(manifests, file) == ["three"]


def test_files_that_are_written_while_they_are_read_are_no_manifests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_text("one")
    read, number = files.read_file, count()

    def write_behind(path: Path) -> bytes:
        data = read(path)
        path.write_text(f"text {next(number)}")
        return data

    manifests = ManifestFiles([str(tmp_path)])
    manifests.read()
    monkeypatch.setattr(files, "read_file", write_behind)
    (tmp_path / "a.yaml").write_text("two")
    for changed in ([], [tmp_path / "a.yaml"]):
        with pytest.raises(PolicyStoreError, match=r"the manifests in .* change while they are read"):
            texts(manifests, *changed)
    monkeypatch.undo()
    (tmp_path / "a.yaml").write_text("three")
    assert texts(manifests, tmp_path / "beside.tmp") == ["three"]


def test_what_could_not_be_read_is_looked_for_everywhere_the_next_time(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("one")
    manifests = ManifestFiles([str(tmp_path)])
    manifests.read()
    (tmp_path / "a.yaml").write_text("two")
    (tmp_path / "b.yaml").unlink()
    (tmp_path / "b.yaml").symlink_to("gone")
    with pytest.raises(PolicyStoreError, match=r"cannot read .*b\.yaml"):
        texts(manifests, tmp_path / "a.yaml", tmp_path / "b.yaml")
    (tmp_path / "b.yaml").unlink()
    assert texts(manifests, tmp_path / "b.yaml") == ["two"]


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("below", [".", "d", "d/e"])
def test_what_the_system_tells_of_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, relative: bool, below: str
) -> None:
    """The paths that `watchfiles` tells of a change are understood, however the directory was named."""
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / below
    (directory / "team").mkdir(parents=True)
    for name in ("team/a.yaml", "z.yaml"):
        (directory / name).write_text("one")
    given = below if relative else str(directory)
    manifests = ManifestFiles([given])
    manifests.read()
    (directory / "z.yaml").write_text("two, and nobody tells")

    async def told() -> set[str]:
        stop = asyncio.Event()

        async def write() -> None:
            await asyncio.sleep(0.3)
            (directory / "team" / "beside").write_text("two")
            (directory / "team" / "beside").rename(directory / "team" / "a.yaml")

        writing = asyncio.create_task(write())
        async for changes in awatch(Path(given), watch_filter=None, step=50, stop_event=stop):
            stop.set()
            await writing
            return {path for _, path in changes}
        return set()

    assert texts(manifests, *asyncio.run(told())) == ["two", "one"]
