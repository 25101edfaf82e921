"""Revisions: manifests as a Git repository has them, read by the `git` executable without touching the working tree."""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from mesh.errors import PolicyStoreError
from mesh.files import OURS, File, is_manifest
from parser.diagnostics import quoted
from parser.problems import nearest

__all__ = ["GIT", "RevisionError", "files_at", "root_of"]

GIT = "git:"
"""How the name of a revision begins: `git:REVISION`."""

_WILD = re.compile(r"[*?\[]")
_LINK, _SUBMODULE = "120000", "160000"
# Long enough for any repository, and an end to waiting where a file system does not answer.
_PATIENCE = 120


class RevisionError(PolicyStoreError):
    """A revision, or what should be in it, is not there; `help` says what to do about it."""

    def __init__(self, message: str, *, help: str | None = None) -> None:  # noqa: A002  # as in Diagnostic
        super().__init__(message)
        self.help = help


def files_at(revision: str, patterns: Sequence[str], *, directory: Path) -> list[File]:
    """The manifests that `patterns`, taken from `directory`, lead to at `revision`, each under a name that says where it is from.

    A pattern is a path, in which `*`, `?` and `[` are wild and `**` is any number of directories. Below a directory what is
    hidden, and what is no manifest, is left out, as it is in the working tree.

    Raises:
        RevisionError: There is no repository, no such revision, or nothing for one of the patterns in it.
    """
    found: dict[str, File] = {}
    for pattern in patterns:
        written = os.path.normpath(directory / pattern)
        wild = _WILD.search(written)
        fixed = Path(os.path.dirname(written[: wild.start()]) if wild else written)  # noqa: PTH120  # a slash at the end counts
        repository = _Repository.around(fixed)
        commit = repository.commit(revision)
        here = repository.within(Path(written))
        files = repository.files(commit, revision, here)
        if not files:
            raise RevisionError(
                f"no manifests for {quoted(here or '.')} in git:{revision}",
                help=f"it is looked for from the root of the repository, {repository.root}",
            )
        found |= files
    return list(found.values())


def root_of(directory: Path) -> Path:
    """The root of the repository that the directory is in.

    Raises:
        RevisionError: It is in none.
    """
    return _Repository.around(directory).root


@dataclass(frozen=True, slots=True)
class _Repository:
    root: Path

    @classmethod
    def around(cls, path: Path) -> "_Repository":
        """The repository that the path is in, which need not exist in the working tree."""
        there = path
        while not there.is_dir():
            there = there.parent
        done = _git(there, "rev-parse", "--show-toplevel")
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ").partition("\n")[0]
            raise RevisionError(
                f"{path} is in no Git repository that can be read: {reason}",
                help="name a directory or a file with the other version instead",
            )
        return cls(Path(os.fsdecode(done.stdout.removesuffix(b"\n"))))

    def commit(self, revision: str) -> str:
        """The commit that the revision names."""
        # Nothing is read as an option, whatever it begins with.
        done = _git(self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if done.returncode or not revision:
            raise RevisionError(f"no revision {quoted(revision)} in {self.root}", help=self._near(revision))
        return done.stdout.decode("ascii").strip()

    def _near(self, revision: str) -> str:
        done = _git(self.root, "for-each-ref", "--format=%(refname:short)")
        near = nearest(revision, ["HEAD", *done.stdout.decode("utf-8", "replace").split()])
        if near:
            return f"did you mean `{near}`?"
        return "see `git branch --all` and `git tag`; a shallow clone has to `git fetch` it first"

    def within(self, path: Path) -> str:
        """The path as the repository has it."""
        # Only what is there can be a link; the rest, wild parts too, stays as it is written.
        there, rest = path, []
        while not there.exists():
            rest.append(there.name)
            there = there.parent
        real = there.resolve().joinpath(*reversed(rest))
        if not real.is_relative_to(self.root):
            raise RevisionError(f"{path} is outside of the repository {self.root}")
        text = PurePosixPath(real.relative_to(self.root)).as_posix()
        return "" if text == "." else text

    def files(self, commit: str, revision: str, pattern: str) -> dict[str, File]:
        """The manifests of a commit that the pattern leads to, by their paths."""
        parts = tuple(pattern.split("/")) if pattern else ()
        fixed = "/".join(_until_wild(parts))
        listed = self._run("ls-tree", "-r", "-z", "--full-tree", commit, *(["--", fixed] if fixed else []))
        entries = dict(map(_entry, listed.split(b"\0")[:-1]))
        wanted = {path: entry for path, entry in entries.items() if _leads_to(parts, tuple(path.split("/")))}
        objects = {}
        for path, (mode, name) in wanted.items():
            if mode == _SUBMODULE:
                continue
            if mode == _LINK:
                raise RevisionError(
                    f"{quoted(path)} is a link in git:{revision}, and links are not followed there",
                    help="name what it leads to",
                )
            objects[path] = name
        contents = self._contents(objects.values())
        return {path: File.of(f"{GIT}{revision}:{path}", contents[name]) for path, name in sorted(objects.items())}

    def _contents(self, objects: Iterable[str]) -> Mapping[str, bytes]:
        names = list(dict.fromkeys(objects))
        if not names:
            return {}
        data = self._run("cat-file", "--batch", given="".join(f"{name}\n" for name in names).encode())
        found, at = {}, 0
        for name in names:
            end = data.index(b"\n", at)
            head = data[at:end].split()
            if len(head) != 3:
                raise RevisionError(f"the repository {self.root} has no object {name}", help="`git fetch` it")
            size = int(head[2])
            found[name] = data[end + 1 : end + 1 + size]
            at = end + 1 + size + 1
        return found

    def _run(self, *arguments: str, given: bytes = b"") -> bytes:
        done = _git(self.root, *arguments, given=given)
        if done.returncode:
            raise RevisionError(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout


def _git(directory: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    # Paths are no patterns of Git's, messages are in English, and nothing is fetched behind our back.
    environment = {**os.environ, "LC_ALL": "C", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "--literal-pathspecs", "-C", str(directory), *arguments]
    try:
        return subprocess.run(  # noqa: S603  # our own argument vector, no shell
            command, input=given, capture_output=True, env=environment, timeout=_PATIENCE, check=False
        )
    except OSError as error:
        raise RevisionError("no `git` can be run on this machine", help="install it, or name a directory") from error
    except (ValueError, subprocess.TimeoutExpired) as error:
        raise RevisionError(f"git {arguments[0]}: {error}") from error


def _entry(line: bytes) -> tuple[str, tuple[str, str]]:
    """A line of `ls-tree`: the path, and the mode and the name of what is there."""
    head, _, path = line.partition(b"\t")
    mode, _, name = head.decode("ascii").split(" ")
    return os.fsdecode(path), (mode, name)


def _until_wild(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        if _WILD.search(part):
            return
        yield part


def _leads_to(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Whether the pattern is for this file, or for a directory that has it among its manifests."""
    if path[-1].endswith(OURS):
        return False
    if _matches(pattern, path):
        return True
    hidden = max((number for number, part in enumerate(path) if part.startswith(".")), default=-1)
    return is_manifest(path[-1]) and any(_matches(pattern, path[:n]) for n in range(hidden + 1, len(path)))


def _matches(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """As `glob` has it: what is hidden is matched only by what begins with a dot as well."""
    if not pattern:
        return not path
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        return _matches(rest, path) or (bool(path) and not path[0].startswith(".") and _matches(pattern, path[1:]))
    if not path or (path[0].startswith(".") and not first.startswith(".")):
        return False
    return fnmatchcase(path[0], first) and _matches(rest, path[1:])
