"""Keys on disk, each encrypted in a file of its own."""

import os
import stat
from contextlib import suppress
from pathlib import Path

from ca.errors import ExposedKeyError, KeyExistsError, KeyStoreError, UnknownKeyError
from ca.keys.key_type import KeyType, SigningKey, generate
from ca.keys.sealed import open_sealed, seal
from ca.keys.store import require_key_name

__all__ = ["DiskKeyStore"]

_SUFFIX = ".key"
_MAX_SIZE = 64 * 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class DiskKeyStore:
    """A `KeyStore` in a directory that is ours alone. The passphrase is the caller's to find; it is never shown."""

    def __init__(self, directory: Path, *, passphrase: bytes) -> None:
        """Make the directory if there is none.

        Raises:
            ExposedKeyError: it is not a directory of ours that nobody else may enter.
            KeyStoreError: it cannot be made or looked at.
            ValueError: the passphrase is empty.
        """
        if not passphrase:
            raise ValueError("the passphrase of a key store is empty")
        self._directory = directory
        self._passphrase = passphrase
        try:
            with suppress(FileExistsError):
                directory.mkdir(mode=0o700)
                _sync(directory.parent)
            self._require_private()
        except OSError as error:
            raise _failed(directory, error) from error

    def make(self, name: str, kind: KeyType) -> SigningKey:
        """As `KeyStore.make`."""
        path = self._path(name)
        key = generate(kind)
        sealed = seal(key, name=name, passphrase=self._passphrase)
        beside = self._directory / f".{name}.{os.urandom(8).hex()}"
        try:
            self._require_private()
            try:
                _write(beside, sealed)
                # Not a rename, which replaces: of two who make one name, one must be told.
                os.link(beside, path)
            finally:
                beside.unlink(missing_ok=True)
            _sync(self._directory)
        except FileExistsError:
            raise KeyExistsError(name) from None
        except OSError as error:
            raise _failed(path, error) from error
        return key

    def load(self, name: str) -> SigningKey:
        """As `KeyStore.load`.

        Raises:
            DamagedKeyError: the file is not as it was written.
            ExposedKeyError: others may read it, or it is not ours.
            UnknownKeyError: there is no such file.
            WrongPassphraseError: it was written under another passphrase.
            KeyStoreError: it cannot be read.
        """
        path = self._path(name)
        try:
            self._require_private()
            sealed = _read(path)
        except FileNotFoundError:
            raise UnknownKeyError(name) from None
        except OSError as error:
            raise _failed(path, error) from error
        return open_sealed(sealed, name=name, passphrase=self._passphrase, place=str(path))

    def names(self) -> frozenset[str]:
        """As `KeyStore.names`."""
        try:
            found = {entry.name for entry in self._directory.iterdir()}
        except OSError as error:
            raise _failed(self._directory, error) from error
        return frozenset(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX) and name[0] != ".")

    def forget(self, name: str) -> None:
        """As `KeyStore.forget`."""
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
            _sync(self._directory)
        except OSError as error:
            raise _failed(path, error) from error

    def _path(self, name: str) -> Path:
        return self._directory / f"{require_key_name(name)}{_SUFFIX}"

    def _require_private(self) -> None:
        found = os.lstat(self._directory)
        if not stat.S_ISDIR(found.st_mode):
            raise ExposedKeyError(
                str(self._directory), "it is not a directory", "name the directory itself, not a link"
            )
        _require_ours(self._directory, found, mode="0700")


def _write(path: Path, content: bytes) -> None:
    """To a new file that was never open to others, and that is on the disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _read(path: Path) -> bytes:
    # What is looked at is what was opened: no link, and no pipe that would hold us up.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise ExposedKeyError(str(path), "it is a symbolic link", "put the file itself there") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ExposedKeyError(str(path), "it is not a regular file", "restore it from a backup")
        _require_ours(path, found, mode="0600")
        return file.read(_MAX_SIZE)


def _require_ours(path: Path, found: os.stat_result, *, mode: str) -> None:
    if found.st_uid != os.geteuid():
        raise ExposedKeyError(
            str(path), f"it belongs to user {found.st_uid}, not to {os.geteuid()}", f"chown {os.geteuid()}"
        )
    if found.st_mode & _OTHERS:
        raise ExposedKeyError(
            str(path),
            f"others may use it (mode {stat.S_IMODE(found.st_mode):04o})",
            f"chmod {mode}, and replace the key if anybody else was on this machine",
        )


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(path: Path, error: OSError) -> KeyStoreError:
    return KeyStoreError(str(path), error.strerror or "it cannot be used")
