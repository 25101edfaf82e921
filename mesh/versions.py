"""Versions: a mesh as a command line names it, a directory, a file, or what a Git repository has of one."""

from dataclasses import dataclass
from pathlib import Path

from mesh.directory import DirectoryStore, Loaded
from mesh.files import STDIN
from mesh.revisions import GIT, RevisionError, files_at, root_of

__all__ = ["Version", "load_version", "named_versions"]


@dataclass(frozen=True, slots=True)
class Version:
    """A revision and a path in it, or a path of the working tree. `rooted` is whether it is from the root of the repository."""

    revision: str | None
    path: str
    rooted: bool = False

    def __str__(self) -> str:
        if self.revision is None:
            return self.path
        return f"{GIT}{self.revision}" + ("" if self.path == "." else f":{self.path}")


def named_versions(old: str, new: str | None) -> tuple[Version, Version]:
    """The two versions that the texts name: `PATH`, `git:REVISION` or `git:REVISION:PATH`.

    A revision without a path is of the path of the other version, and no `new` is that path in the working tree.

    Raises:
        RevisionError: There is nothing to compare.
    """
    before, after = _parsed(old), None if new is None else _parsed(new)
    if after is None:
        if before.revision is None:
            raise RevisionError(
                f"{old} is compared with nothing", help="name two versions, or one in Git: `git:main policies/`"
            )
        after = Version(None, str(root_of(Path.cwd()) / before.path) if before.rooted else before.path or ".")
    path, rooted = before.path or after.path, before.rooted if before.path else after.rooted
    if path == STDIN and (before.revision or after.revision):
        raise RevisionError("no revision has standard input", help="name its path: `git:REVISION:PATH`")
    before = Version(before.revision, before.path or path or ".", before.rooted or (not before.path and rooted))
    after = Version(after.revision, after.path or path or ".", after.rooted or (not after.path and rooted))
    return before, after


def _parsed(text: str) -> Version:
    if not text.startswith(GIT):
        return Version(None, text)
    revision, _, path = text.removeprefix(GIT).partition(":")
    return Version(revision, path, rooted=bool(path) and not path.startswith("."))


def load_version(version: Version, mesh_file: str | None = None) -> Loaded:
    """The mesh of a version. `mesh_file` is a file of mesh configuration, which wins over what the manifests say.

    Raises:
        PolicyStoreError: It cannot be had.
        InvalidManifestsError: It is no valid mesh.
    """
    if version.revision is None:
        return DirectoryStore((version.path,), mesh_file).load()
    here = Path.cwd()
    directory = root_of(here) if version.rooted else here
    return DirectoryStore((), mesh_file).load_files(files_at(version.revision, [version.path], directory=directory))
