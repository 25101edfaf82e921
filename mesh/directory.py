"""DirectoryStore: snapshots from files and directories of Kubernetes manifests."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from authz.mesh_config import MeshConfig
from mesh.errors import InvalidManifestsError
from mesh.files import display_name, read_file, read_manifests
from mesh.snapshot import Snapshot
from parser.cross_checks import check_mesh
from parser.diagnostics import Diagnostic, Severity
from parser.manifests import Manifests, parse_manifests
from parser.mesh_config import parse_mesh_config
from parser.yaml_text import text_for_excerpts

__all__ = ["DirectoryStore", "Examined", "Loaded"]


_Files = Sequence[tuple[str, bytes]]


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

    `config` is the mesh configuration that counts; none where there is none.
    """

    manifests: Manifests
    config: MeshConfig | None
    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, str]
    files: int

    @property
    def errors(self) -> int:
        """How many of the diagnostics are errors."""
        return sum(diagnostic.severity is Severity.ERROR for diagnostic in self.diagnostics)


@dataclass(frozen=True, slots=True)
class DirectoryStore:
    """Files and directories, `-` for standard input, and optionally a file of mesh configuration, which wins over theirs.

    `switches` are fields of `MeshConfig` that no file has.
    """

    paths: Sequence[str]
    mesh_file: str | None = None
    switches: Mapping[str, bool] = field(default_factory=dict)

    def load(self) -> Loaded:
        """The mesh as the files say it now.

        Raises:
            PolicyStoreError: They cannot be read.
            InvalidManifestsError: What they hold is no valid mesh; it names every problem.
        """
        files, mesh_file = self._read()
        return _compile(self._examined(files, mesh_file), _revision([*files, *mesh_file]))

    def load_unless(self, known: str) -> Loaded | None:
        """As `load`, but nothing, and no parsing, if the files are those of the revision `known`."""
        files, mesh_file = self._read()
        revision = _revision([*files, *mesh_file])
        return None if revision == known else _compile(self._examined(files, mesh_file), revision)

    def examine(self) -> Examined:
        """What the files hold now, right or wrong.

        Raises:
            PolicyStoreError: They cannot be read.
        """
        return self._examined(*self._read())

    def _examined(self, files: _Files, mesh_file: _Files) -> Examined:
        examined = _examine(files, mesh_file)
        if not self.switches:
            return examined
        config = examined.config or MeshConfig()
        several = self.switches.get("multiple_custom_providers", config.multiple_custom_providers)
        selectors = self.switches.get("selectors_on_gateways", config.selectors_on_gateways)
        config = replace(config, multiple_custom_providers=several, selectors_on_gateways=selectors)
        return replace(examined, config=config)

    def _read(self) -> tuple[_Files, _Files]:
        mesh_file = [] if self.mesh_file is None else [(display_name(self.mesh_file), read_file(Path(self.mesh_file)))]
        return read_manifests(self.paths), mesh_file


def _examine(files: _Files, mesh_file: _Files) -> Examined:
    manifests = parse_manifests(files)
    config, diagnostics = manifests.mesh_config, list(manifests.diagnostics)
    for name, data in mesh_file:
        config, problems = parse_mesh_config(data, name)
        diagnostics += problems
    # Of documents that were refused nobody can tell whether others miss them.
    if not any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics):
        diagnostics += check_mesh(manifests, config)
    order = {name: number for number, (name, _) in enumerate((*files, *mesh_file))}
    pointed_at = {diagnostic.span.file for diagnostic in diagnostics}
    texts = {name: text_for_excerpts(data) for name, data in (*files, *mesh_file) if name in pointed_at}
    return Examined(
        manifests=manifests,
        config=config,
        diagnostics=tuple(sorted(diagnostics, key=lambda each: (order.get(each.span.file, 0), *_place(each)))),
        sources={name: text for name, text in texts.items() if text is not None},
        files=len(files),
    )


def _place(diagnostic: Diagnostic) -> tuple[int, int, bool]:
    return diagnostic.span.line, diagnostic.span.column, diagnostic.severity is Severity.WARNING


def _compile(examined: Examined, revision: str) -> Loaded:
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
    )
    return Loaded(
        snapshot=snapshot,
        warnings=examined.diagnostics,
        sources=examined.sources,
        skipped=manifests.skipped,
        files=examined.files,
    )


def _revision(files: Sequence[tuple[str, bytes]]) -> str:
    """A name for exactly these bytes under these names: the same everywhere the same files are loaded."""
    digest = hashlib.sha256()
    for name, data in files:
        digest.update(f"{len(name.encode())}:{name}:{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()[:12]
