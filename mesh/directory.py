"""DirectoryStore: snapshots from files and directories of Kubernetes manifests."""

import gc
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from authz.mesh_config import MeshConfig
from mesh.budget import DEFAULT_BUDGET
from mesh.errors import BudgetError, InvalidManifestsError
from mesh.files import File, ManifestFiles, display_name, read_file
from mesh.snapshot import Snapshot
from parser.contents import Contents, place, read_contents
from parser.cross_checks import MeshChecks
from parser.diagnostics import Diagnostic, Severity
from parser.difference import differing
from parser.manifests import Gathering, Manifests
from parser.mesh_config import parse_mesh_config
from parser.yaml_text import text_for_excerpts

__all__ = ["DirectoryStore", "Examined", "Loaded"]

# Letters of the digest that a revision has.
_REVISION = 12
_NEVER = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A snapshot, and what there is to say about the documents it was made from."""

    snapshot: Snapshot
    warnings: tuple[Diagnostic, ...]
    sources: Mapping[str, str]
    skipped: Mapping[str, int]
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What files hold, right or wrong, and all there is to say about it, in the order of files and places.

    `config` is the mesh configuration that counts; none where there is none. `texts` are the bytes of all files, in order.
    """

    manifests: Manifests
    config: MeshConfig | None
    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, str]
    texts: Mapping[str, bytes] = field(repr=False)
    files: int

    @property
    def errors(self) -> int:
        """How many of the diagnostics are errors."""
        return sum(diagnostic.severity is Severity.ERROR for diagnostic in self.diagnostics)


@dataclass(frozen=True, slots=True)
class _Read:
    """All files as they were at one moment, the one of mesh configuration apart."""

    files: Sequence[File]
    mesh_file: File | None
    digest: str
    """A name for exactly these bytes under these names: the same everywhere the same files are loaded."""

    @classmethod
    def of(cls, files: Sequence[File], mesh_file: File | None) -> "_Read":
        digest = hashlib.sha256(b"".join([file.digest for file in files]))
        if mesh_file is not None:
            digest.update(mesh_file.digest)
        return cls(files, mesh_file, digest.hexdigest())

    @property
    def every(self) -> Sequence[File]:
        """All of them, in order."""
        return self.files if self.mesh_file is None else [*self.files, self.mesh_file]


class DirectoryStore:
    """Files and directories, `-` for standard input, and optionally a file of mesh configuration, which wins over theirs.

    `switches` are fields of `MeshConfig` that no file has; `budget` is how much the policies may say (`mesh.guards`). What was read is remembered, and what has not changed is neither
    read nor checked nor compiled again; what comes of it is what comes of reading everything anew.
    """

    def __init__(
        self,
        paths: Sequence[str],
        mesh_file: str | None = None,
        switches: Mapping[str, bool] | None = None,
        *,
        budget: int = DEFAULT_BUDGET,
    ) -> None:
        self.paths = tuple(paths)
        self.mesh_file = mesh_file
        self._switches = switches or {}
        self._budget = budget
        self._files = ManifestFiles(self.paths)
        # The files that were read last, and what they declare.
        self._known: tuple[Sequence[File], Sequence[Contents]] = ((), ())
        self._gathering = Gathering()
        self._checks = MeshChecks()
        self._seen = ""
        self._snapshot: Snapshot | None = None

    def load(self) -> Loaded:
        """The mesh as the files say it now.

        Raises:
            PolicyStoreError: They cannot be read.
            InvalidManifestsError: What they hold is no valid mesh; it names every problem.
            BudgetError: They say more than the budget allows.
        """
        return self._load(self._read(None))

    def load_if_changed(self, changed: Collection[str] | None = None) -> Loaded | None:
        """As `load`, but nothing, and no parsing, if the files are those that were loaded, or refused, last.

        `changed` are the paths of all that has been written, made, moved or removed since then, where that is known.
        """
        read = self._read(changed)
        return None if read.digest == self._seen else self._load(read)

    def examine(self) -> Examined:
        """What the files hold now, right or wrong.

        Raises:
            PolicyStoreError: They cannot be read.
        """
        return self._examine(self._read(None))

    def load_files(self, files: Sequence[File]) -> Loaded:
        """As `load`, of these files instead of those that the paths lead to.

        Raises:
            InvalidManifestsError: As `load`.
            BudgetError: As `load`.
        """
        return self._load(self._together(files))

    def examine_files(self, files: Sequence[File]) -> Examined:
        """As `examine`, of these files instead of those that the paths lead to."""
        return self._examine(self._together(files))

    def _read(self, changed: Collection[str] | None) -> _Read:
        return self._together(self._files.read(changed))

    def _together(self, files: Sequence[File]) -> _Read:
        if self.mesh_file is None:
            return _Read.of(files, None)
        return _Read.of(files, File.of(display_name(self.mesh_file), read_file(Path(self.mesh_file))))

    def _load(self, read: _Read) -> Loaded:
        with _mostly_lasting():
            try:
                loaded = self._compile(self._examine(read), revision=read.digest[:_REVISION])
            except (BudgetError, InvalidManifestsError):
                self._seen = read.digest
                raise
        self._seen, self._snapshot = read.digest, loaded.snapshot
        return loaded

    def _examine(self, read: _Read) -> Examined:
        manifests = self._gathering.together(self._contents_of(read.files))
        config, diagnostics = manifests.mesh_config, list(manifests.diagnostics)
        if read.mesh_file is not None:
            config, problems = parse_mesh_config(read.mesh_file.data, read.mesh_file.name)
            diagnostics += problems
        # Of documents that were refused nobody can tell whether others miss them.
        if not any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics):
            diagnostics += self._checks.check(manifests, config)
        return Examined(
            manifests=manifests,
            config=self._switched(config),
            diagnostics=_in_order(diagnostics, read),
            sources=_sources(diagnostics, read),
            texts={file.name: file.data for file in read.every},
            files=len(read.files),
        )

    def _contents_of(self, files: Sequence[File]) -> Sequence[Contents]:
        """What each file declares; only those are read that were not among those before."""
        before, contents = self._known
        was, now = differing(before, files)
        known = {file.digest: each for file, each in zip(before[was], contents[was], strict=True)}
        found = [known.get(file.digest) or read_contents(file.name, file.data) for file in files[now]]
        self._known = files, [*contents[: was.start], *found, *contents[was.stop :]]
        return self._known[1]

    def _switched(self, config: MeshConfig | None) -> MeshConfig | None:
        if not self._switches:
            return config
        config = config or MeshConfig()
        several = self._switches.get("multiple_custom_providers", config.multiple_custom_providers)
        selectors = self._switches.get("selectors_on_gateways", config.selectors_on_gateways)
        return replace(config, multiple_custom_providers=several, selectors_on_gateways=selectors)

    def _compile(self, examined: Examined, *, revision: str) -> Loaded:
        if examined.errors:
            raise InvalidManifestsError(examined.diagnostics, examined.sources, revision=revision)
        manifests = examined.manifests
        snapshot = Snapshot(
            policies=manifests.policies,
            peer_authentications=manifests.peer_authentications,
            request_authentications=manifests.request_authentications,
            workloads=manifests.workloads,
            config=examined.config or MeshConfig(),
            revision=revision,
            previous=self._snapshot,
            budget=self._budget,
        )
        return Loaded(
            snapshot=snapshot,
            warnings=examined.diagnostics,
            sources=examined.sources,
            skipped=manifests.skipped,
            files=examined.files,
        )


def _in_order(diagnostics: Sequence[Diagnostic], read: _Read) -> tuple[Diagnostic, ...]:
    if not diagnostics:
        return ()
    order = {file.name: number for number, file in enumerate(read.every)}
    return tuple(sorted(diagnostics, key=lambda each: (order.get(each.span.file, 0), *place(each))))


def _sources(diagnostics: Sequence[Diagnostic], read: _Read) -> dict[str, str]:
    if not diagnostics:
        return {}
    pointed_at = {diagnostic.span.file for diagnostic in diagnostics}
    texts = {file.name: text_for_excerpts(file.data) for file in read.every if file.name in pointed_at}
    return {name: text for name, text in texts.items() if text is not None}


@contextmanager
def _mostly_lasting() -> Iterator[None]:
    """While nearly all that is made lasts: looking through all of it for garbage, again and again, costs half of the loading."""
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)
