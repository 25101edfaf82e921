"""Manifests in files, directories and standard input."""

import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mesh.errors import PolicyStoreError

__all__ = [
    "OURS",
    "PROOFS",
    "STDIN",
    "TESTS",
    "File",
    "ManifestFiles",
    "display_name",
    "is_manifest",
    "read_file",
    "read_manifests",
]

STDIN = "-"
_SUFFIXES = (".yaml", ".yml", ".json", ".ward")

TESTS = ".authz-test.yaml"
"""How the names of files of policy tests end."""

PROOFS = ".authz-proof.yaml"
"""How the names of files of invariants end."""

OURS = (TESTS, PROOFS)
"""Policy tests and invariants: they lie beside the policies and are no manifests."""

# A file system may give two changes one time. The coarsest clock of those in use ticks every two seconds.
_TICK = 2.0
# Looks at files that do not stay as they are for as long as reading them takes.
_LOOKS = 5


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was read. `digest` is that of its name and its bytes."""

    name: str
    data: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, name: str, data: bytes) -> "File":
        """The file of this name with these bytes."""
        # A name need not be text.
        encoded = os.fsencode(name)
        return cls(name, data, hashlib.sha256(b"%d:%b:%d:%b" % (len(encoded), encoded, len(data), data)).digest())


def read_manifests(paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """Name and bytes of every file that `paths` lead to, directories recursively, in the order of their names.

    Raises:
        PolicyStoreError: A path cannot be read, a file is empty, or there is nothing at any of them.
    """
    return [(file.name, file.data) for file in ManifestFiles(paths).read()]


def display_name(name: str) -> str:
    """How messages call a file."""
    return "<stdin>" if name == STDIN else name


def read_file(path: Path) -> bytes:
    """The bytes of the file, or of standard input for `-`.

    Raises:
        PolicyStoreError: It cannot be read.
    """
    if str(path) == STDIN:
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> PolicyStoreError:
    return PolicyStoreError(f"cannot read {path}: {error.strerror}")


class _Stamp(NamedTuple):
    """What tells that a file is another than it was, without reading it."""

    device: int
    inode: int
    size: int
    modified: int
    # Modes and names change it, too; but nobody can set it back.
    changed: int


class _Found(NamedTuple):
    """A file that is to be read. What is no regular file has no stamp, and can be read only once."""

    path: str
    stamp: _Stamp | None


@dataclass(slots=True)
class _Known:
    """A file as it was read at the time `read`, and the stamp that it has had since the time `since`."""

    file: File
    stamp: _Stamp | None
    since: float
    read: float

    def is_still(self, stamp: _Stamp | None) -> bool:
        """Whether the file is known to be the same as long as its stamp is this one."""
        # A change behind our reading, within the same tick, would have left no trace. Times are ours, for the clock of the
        # file system may be another's.
        return stamp == self.stamp and (stamp is None or self.read - self.since > _TICK)


class ManifestFiles:
    """The files that `paths` lead to, directories recursively. What has not changed is not read again."""

    def __init__(self, paths: Sequence[str], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = [str(Path(path)) for path in paths]
        self._clock = clock
        absolute = any(Path(path).is_absolute() for path in paths)
        self._here = "" if absolute else f"{Path.cwd()}/"
        # In the order of paths, then of names.
        self._known: dict[str, _Known] = {}
        self._directories: frozenset[str] = frozenset()
        # Whether all that is known was there at one moment, each under one name.
        self._whole = False

    def read(self, changed: Collection[str] | None = None) -> list[File]:
        """The files as they are now, in the order of `paths`, then of names: all of them as they were at one moment.

        `changed` are the paths of all that has been written, made, moved or removed since they were read last; without it
        everything is looked at. A file that has not changed is the same object.

        Raises:
            PolicyStoreError: A path cannot be read, a file is empty, or there is nothing at any of them.
        """
        if changed is None or not self._whole or not self._look_at(changed):
            self._whole = False
            self._look_everywhere()
        files = [known.file for known in self._known.values()]
        for file in files:
            # What is about to be written is empty first, and would silently take its policies out of force.
            if not file.data:
                raise PolicyStoreError(f"{file.name} is empty: if it should declare nothing, remove it")
        if not files:
            expected = "expected files named *.yaml, *.yml, *.json or *.ward"
            raise PolicyStoreError(f"no manifests in {', '.join(self._paths)}: {expected}")
        return files

    # Everything -------------------------------------------------------------------------------------------------------

    def _look_everywhere(self) -> None:
        walk = _Walk(self._paths)
        for _ in range(_LOOKS):
            if not self._take(walk.files):
                break
            # While some were read, others may have changed, and a mounted ConfigMap may have become another as a whole.
            before, walk = walk, _Walk(self._paths)
            if walk.files == before.files:
                break
        else:
            raise PolicyStoreError(f"the manifests in {', '.join(self._paths)} change while they are read")
        self._directories = frozenset(walk.directories)
        self._whole = walk.names_each_once

    def _take(self, found: Collection[_Found]) -> bool:
        """Make the files that were found those that are known, and say whether anything is another than before."""
        now = self._clock()
        before, known = self._known, {}
        changed = len(found) != len(before)
        for path, stamp in found:
            each = before.get(path)
            if each is None or not each.is_still(stamp):
                each = _read(path, stamp, each, now)
                changed |= each is not before.get(path)
            known[path] = each
        self._known = known
        return changed

    # What changed -----------------------------------------------------------------------------------------------------

    def _look_at(self, changed: Iterable[str]) -> bool:
        """Look at what changed only; false if that is not enough, for it is not only files that are known."""
        now = self._clock()
        known: dict[str, _Known] = {}
        for path in map(self._named, changed):
            if path not in self._known:
                if self._may_matter(path):
                    return False
                continue
            try:
                status = os.lstat(path)
                if not stat.S_ISREG(status.st_mode):
                    return False
                known[path] = _read(path, _stamp(status), self._known[path], now)
                if _stamp(os.lstat(path)) != _stamp(status):
                    return False
            except (OSError, PolicyStoreError):
                return False
        self._known.update(known)
        return True

    def _named(self, changed: str) -> str:
        """A path as it is named here: relative to the working directory if the paths given are."""
        return str(Path(changed)).removeprefix(self._here)

    def _may_matter(self, path: str) -> bool:
        """Whether there may be, or have been, manifests at or below a path that is none of the files that are known."""
        if f"{path}/" in self._directories:
            return True
        directory, name = _split(path)
        while directory not in self._directories:
            if not directory:
                return True
            directory, name = _split(directory[:-1])
        if name.startswith("."):
            return False
        if is_manifest(name) or path != directory + name:
            return True
        try:
            # What editors leave beside a file is nothing to us, unless there is more behind it.
            return not stat.S_ISREG(os.lstat(path).st_mode)
        except OSError:
            return False


def _read(path: str, stamp: _Stamp | None, known: _Known | None, now: float) -> _Known:
    data = read_file(Path(path))
    if known is None or data != known.file.data:
        return _Known(File.of(display_name(path), data), stamp, now, now)
    if stamp != known.stamp:
        return _Known(known.file, stamp, now, now)
    known.read = now
    return known


def _split(path: str) -> tuple[str, str]:
    """The directory of a path, with its slash, and the name in it."""
    directory, slash, name = path.rpartition("/")
    return directory + slash, name


class _Walk:
    """One walk to all that paths lead to: the files in order, and the directories on the way, each as its files' names begin."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.files: list[_Found] = []
        self.directories: set[str] = set()
        self._names: set[str] = set()
        self._inodes: set[tuple[int, int]] = set()
        self._links = False
        for path in paths:
            try:
                self._begin(path)
            except OSError as error:
                raise _unreadable(Path(error.filename or path), error) from error

    @property
    def names_each_once(self) -> bool:
        """Whether a change of what has one of these names changes nothing that has another of them."""
        return not self._links and len(self._inodes) == sum(found.stamp is not None for found in self.files)

    def _begin(self, path: str) -> None:
        if path == STDIN:
            self._add(path, None)
            return
        self._links |= Path(path).is_symlink()
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            self._below(path, ())
        else:
            self._add(path, _stamp(status))

    def _add(self, path: str, stamp: _Stamp | None) -> None:
        if path not in self._names:
            self._names.add(path)
            self.files.append(_Found(path, stamp))
            if stamp is not None:
                self._inodes.add((stamp.device, stamp.inode))

    def _below(self, directory: str, above: tuple[tuple[int, int], ...]) -> None:
        # Not `rglob`: it passes over links to directories, and over directories that it may not read, without a word.
        status = Path(directory).stat()
        own = (status.st_dev, status.st_ino)
        if own in above:  # a link that leads back
            return
        here = "" if directory == os.curdir else directory.rstrip("/") + "/"
        self.directories.add(here)
        with os.scandir(directory) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
        for entry in entries:
            if entry.name.startswith("."):
                # A mounted ConfigMap keeps its versions in hidden directories, and each file twice because of it.
                continue
            path = here + entry.name
            link = entry.is_symlink()
            if Path(path).is_dir() if link else entry.is_dir(follow_symlinks=False):
                self._links |= link
                self._below(path, (*above, own))
            elif is_manifest(entry.name):
                # A link to nothing may have been a policy, and this says so; a pipe would never end.
                stamp = _stamp(entry.stat())
                if stamp is not None:
                    self._links |= link
                    self._add(path, stamp)


def is_manifest(name: str) -> bool:
    """Whether a file of a directory is read: YAML, JSON or ward, and not one of meshward's own kinds."""
    return name.endswith(_SUFFIXES) and not name.endswith(OURS)


def _stamp(status: os.stat_result) -> _Stamp | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return _Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
