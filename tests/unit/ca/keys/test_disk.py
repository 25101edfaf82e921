"""Keys on disk: what is in the files, who may read them, and what is said when one is not as it was."""

import hashlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ca import DamagedKeyError, ExposedKeyError, KeyStoreError, UnknownKeyError, WrongPassphraseError
from ca.keys import DiskKeyStore, KeyType
from ca.keys.key_type import generate
from ca.keys.sealed import open_sealed, seal

PASSPHRASE = b"correct horse battery staple"
KEY = generate(KeyType.P256)
SEALED = seal(KEY, name="root", passphrase=PASSPHRASE)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def store(directory: Path, passphrase: bytes = PASSPHRASE) -> DiskKeyStore:
    return DiskKeyStore(directory, passphrase=passphrase)


def made(directory: Path) -> Path:
    store(directory).make("root", KeyType.P256)
    return directory / "root.key"


def test_only_the_owner_may_read_a_key_and_enter_its_directory_whatever_the_umask(directory: Path) -> None:
    before = os.umask(0)
    try:
        path = made(directory)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_nothing_but_the_key_is_left_in_the_directory(directory: Path) -> None:
    path = made(directory)
    assert list(directory.iterdir()) == [path]


def test_the_file_does_not_contain_the_key(directory: Path) -> None:
    content = made(directory).read_bytes()
    assert b"PRIVATE" not in content
    assert len(set(content)) > 64


def test_a_key_is_never_sealed_twice_with_the_same_salt() -> None:
    other = seal(KEY, name="root", passphrase=PASSPHRASE)
    assert other[:16] == SEALED[:16]
    assert other[16:32] != SEALED[16:32]
    assert other[32:44] != SEALED[32:44]


def test_a_wrong_passphrase_is_named_as_that(directory: Path) -> None:
    made(directory)
    with pytest.raises(WrongPassphraseError, match=r"root\.key: the passphrase does not open it") as caught:
        store(directory, b"hunter2").load("root")
    assert "hunter2" not in repr(caught.value)


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_any_changed_byte_is_named_as_damage(index: int, change: int) -> None:
    damaged = bytearray(SEALED)
    damaged[index] ^= change
    with pytest.raises(DamagedKeyError, match="restore it"):
        open_sealed(bytes(damaged), name="root", passphrase=PASSPHRASE, place="here")


@given(st.integers(0, len(SEALED) - 1))
@settings(max_examples=60, deadline=None)
def test_a_file_that_was_cut_short_is_named_as_damage(length: int) -> None:
    with pytest.raises(DamagedKeyError):
        open_sealed(SEALED[:length], name="root", passphrase=PASSPHRASE, place="here")


def test_a_file_that_was_changed_with_care_opens_no_more(directory: Path) -> None:
    # Whoever can write the file can also make its checksum good; its cost and its salt are authenticated all the same.
    path = made(directory)
    content = bytearray(path.read_bytes()[:-32])
    content[20] ^= 1
    path.write_bytes(bytes(content) + hashlib.sha256(content).digest())
    with pytest.raises(WrongPassphraseError):
        store(directory).load("root")


def test_a_file_under_another_name_opens_no_more(directory: Path) -> None:
    made(directory).rename(directory / "jwt.key")
    with pytest.raises(WrongPassphraseError, match="another name"):
        store(directory).load("jwt")


@pytest.mark.parametrize("cost", [14, 20, 255])
def test_a_file_that_asks_for_too_little_or_too_much_work_is_refused(cost: int) -> None:
    content = bytearray(SEALED[:-32])
    content[15] = cost
    changed = bytes(content) + hashlib.sha256(content).digest()
    with pytest.raises(DamagedKeyError, match="cost"):
        open_sealed(changed, name="root", passphrase=PASSPHRASE, place="here")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777, 0o601])
def test_a_file_that_others_may_use_is_refused(directory: Path, mode: int) -> None:
    made(directory).chmod(mode)
    with pytest.raises(ExposedKeyError, match=r"others may use it .*chmod 0600"):
        store(directory).load("root")


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o711, 0o777])
def test_a_directory_that_others_may_enter_is_refused(directory: Path, mode: int) -> None:
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(ExposedKeyError, match="chmod 0700"):
        store(directory)


def test_a_directory_that_is_opened_to_others_later_is_refused_from_then_on(directory: Path) -> None:
    opened = store(directory)
    opened.make("root", KeyType.P256)
    directory.chmod(0o755)
    with pytest.raises(ExposedKeyError):
        opened.load("root")
    with pytest.raises(ExposedKeyError):
        opened.make("jwt", KeyType.P256)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_or_a_directory_of_another_user_is_refused(directory: Path) -> None:
    path = made(directory)
    os.chown(path, 65534, 65534)
    with pytest.raises(ExposedKeyError, match="belongs to user 65534"):
        store(directory).load("root")
    os.chown(directory, 65534, 65534)
    with pytest.raises(ExposedKeyError, match="belongs to user 65534"):
        store(directory)


def test_links_are_not_followed(directory: Path, tmp_path: Path) -> None:
    path = made(directory)
    (directory / "jwt.key").symlink_to(path)
    with pytest.raises(ExposedKeyError, match="symbolic link"):
        store(directory).load("jwt")
    (tmp_path / "link").symlink_to(directory)
    with pytest.raises(ExposedKeyError, match="not a directory"):
        store(tmp_path / "link")


def test_what_is_no_file_does_not_hold_anybody_up(directory: Path) -> None:
    opened = store(directory)
    os.mkfifo(directory / "pipe.key", 0o600)
    with pytest.raises(ExposedKeyError, match="regular file"):
        opened.load("pipe")
    (directory / "folder.key").mkdir()
    with pytest.raises(KeyStoreError):
        opened.load("folder")


def test_what_a_crash_left_beside_is_no_key(directory: Path) -> None:
    made(directory)
    (directory / ".jwt.0011223344556677").write_bytes(SEALED[:40])
    assert store(directory).names() == {"root"}
    with pytest.raises(UnknownKeyError):
        store(directory).load("jwt")


def test_a_key_is_on_the_disk_before_it_is_handed_out(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, done = store(directory), []
    fsync, link = os.fsync, os.link

    def note_fsync(descriptor: int) -> None:
        done.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_link(old: Path, new: Path) -> None:
        done.append("name")
        link(old, new)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "link", note_link)
    opened.make("root", KeyType.P256)
    assert done == ["file", "name", "directory"]


def test_a_store_without_a_passphrase_is_the_callers_mistake(directory: Path) -> None:
    with pytest.raises(ValueError, match="passphrase"):
        DiskKeyStore(directory, passphrase=b"")
