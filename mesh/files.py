"""Manifests in files, directories and standard input."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mesh.errors import PolicyStoreError

__all__ = ["STDIN", "display_name", "is_manifest", "read_file", "read_manifests"]

STDIN = "-"
_SUFFIXES = {".yaml", ".yml", ".json", ".ward"}
# Policy tests and invariants lie beside the policies and are no manifests.
_OURS = (".authz-test.yaml", ".authz-proof.yaml")


def is_manifest(path: Path) -> bool:
    """Whether a file of a directory is read: YAML, JSON or ward, not hidden, not one of meshward's own kinds.

    A mounted ConfigMap keeps its versions in hidden directories, and each file twice because of it.
    """
    return path.suffix in _SUFFIXES and not path.name.startswith(".") and not path.name.endswith(_OURS)


def read_manifests(paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """Name and bytes of every file that `paths` lead to, directories recursively, in the order of their names.

    Raises:
        PolicyStoreError: A path cannot be read, a file is empty, or there is nothing at any of them.
    """
    files = [(display_name(str(path)), read_file(path)) for path in _each(paths)]
    for name, data in files:
        # What is about to be written is empty first, and would silently take its policies out of force.
        if not data:
            raise PolicyStoreError(f"{name} is empty: if it should declare nothing, remove it")
    if not files:
        raise PolicyStoreError(
            f"no manifests in {', '.join(paths)}: expected files named *.yaml, *.yml, *.json or *.ward"
        )
    return files


def display_name(name: str) -> str:
    """How messages call a file."""
    return "<stdin>" if name == STDIN else name


def _each(paths: Iterable[str]) -> Iterator[Path]:
    seen: set[Path] = set()
    for name in paths:
        path = Path(name)
        found = _below(path) if name != STDIN and path.is_dir() else [path]
        for each in found:
            if each not in seen:
                seen.add(each)
                yield each


def _below(directory: Path) -> list[Path]:
    # Not `rglob`: it passes over links to directories, and over directories that it may not read, without a word.
    try:
        return sorted(_walk(directory, ()))
    except OSError as error:
        raise PolicyStoreError(f"cannot read {error.filename or directory}: {error.strerror}") from error


def _walk(directory: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    real = directory.resolve(strict=True)
    if real in above:  # a link that leads back
        return
    for path in directory.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _walk(path, (*above, real))
        elif is_manifest(path) and (path.is_file() or not path.exists()):
            # A link to nothing may have been a policy, and reading it says so; a pipe would never end.
            yield path


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
        raise PolicyStoreError(f"cannot read {path}: {error.strerror}") from error
