"""DirectoryStore: snapshots from files and directories of Kubernetes manifests."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from authz.mesh_config import MeshConfig
from mesh.errors import InvalidManifestsError
from mesh.files import display_name, read_file, read_manifests
from mesh.snapshot import Snapshot
from parser.diagnostics import Diagnostic, Severity
from parser.manifests import parse_manifests
from parser.mesh_config import parse_mesh_config

__all__ = ["DirectoryStore", "Loaded"]


_Files = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A snapshot, and what there is to say about the documents it was made from."""

    snapshot: Snapshot
    warnings: tuple[Diagnostic, ...]
    sources: Mapping[str, str]
    skipped: Mapping[str, int]
    files: int


@dataclass(frozen=True, slots=True)
class DirectoryStore:
    """Files and directories, `-` for standard input, and optionally a file of mesh configuration, which wins over theirs."""

    paths: Sequence[str]
    mesh_file: str | None = None

    def load(self) -> Loaded:
        """The mesh as the files say it now.

        Raises:
            PolicyStoreError: They cannot be read.
            InvalidManifestsError: What they hold is no valid mesh; it names every problem.
        """
        files, mesh_file = self._read()
        return _parse(files, mesh_file, _revision([*files, *mesh_file]))

    def load_unless(self, known: str) -> Loaded | None:
        """As `load`, but nothing, and no parsing, if the files are those of the revision `known`."""
        files, mesh_file = self._read()
        revision = _revision([*files, *mesh_file])
        return None if revision == known else _parse(files, mesh_file, revision)

    def _read(self) -> tuple[_Files, _Files]:
        mesh_file = [] if self.mesh_file is None else [(display_name(self.mesh_file), read_file(Path(self.mesh_file)))]
        return read_manifests(self.paths), mesh_file


def _parse(files: _Files, mesh_file: _Files, revision: str) -> Loaded:
    manifests = parse_manifests(files)
    config, sources = manifests.mesh_config, dict(manifests.texts)
    diagnostics = manifests.diagnostics
    for name, data in mesh_file:
        config, problems = parse_mesh_config(data, name)
        diagnostics += tuple(problems)
        sources[name] = data.decode("utf-8", "replace")
    if any(diagnostic.severity is Severity.ERROR for diagnostic in diagnostics):
        raise InvalidManifestsError(diagnostics, sources, revision=revision)
    snapshot = Snapshot(
        policies=manifests.policies,
        peer_authentications=manifests.peer_authentications,
        request_authentications=manifests.request_authentications,
        workloads=manifests.workloads,
        config=config or MeshConfig(),
        revision=revision,
    )
    return Loaded(
        snapshot=snapshot,
        warnings=diagnostics,
        sources=sources,
        skipped=manifests.skipped,
        files=len(files),
    )


def _revision(files: Sequence[tuple[str, bytes]]) -> str:
    """A name for exactly these bytes under these names: the same everywhere the same files are loaded."""
    digest = hashlib.sha256()
    for name, data in files:
        digest.update(f"{len(name.encode())}:{name}:{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()[:12]
