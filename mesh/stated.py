"""The mesh that a file of policy tests or of invariants is about: the manifests that it names, and what it says over them."""

import glob
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from authz.mesh_config import MeshConfig
from authz.mesh_given import MeshGiven
from authz.peer_authentication import MtlsMode, PeerAuthentication
from authz.span import Written
from mesh.files import OURS
from parser.diagnostics import Diagnostic, PolicySyntaxError, quoted

__all__ = ["named_files", "short_path", "stated_peers"]

_MTLS_OF_THE_FILE = "mtls-of-this-file"
"""The name of the PeerAuthentication that `mtls` stands for."""


def named_files(patterns: Sequence[Written], directory: Path) -> tuple[str, ...]:
    """The files and directories of manifests that the patterns lead to from `directory`.

    Raises:
        PolicySyntaxError: One leads to none.
    """
    found: dict[str, None] = {}
    wrong = []
    for pattern in patterns:
        matching = sorted(glob.glob(pattern.text, root_dir=directory, recursive=True))  # noqa: PTH207  # Path.glob takes no absolute one
        named = [short_path(directory / path) for path in matching if not path.endswith(OURS)]
        if not named:
            help_ = f"it is looked for from {directory}; a pattern may have `*` and `**`"
            message = f"no file matches {quoted(pattern.text)}"
            wrong.append(Diagnostic("no-such-file", message, pattern.span, help=help_))
        found.update(dict.fromkeys(named))
    if wrong:
        raise PolicySyntaxError(wrong)
    return tuple(found)


def short_path(path: Path) -> str:
    """The path without detours by `..`, where that leads to the same file."""
    short = os.path.normpath(path)
    return short if os.path.exists(short) and os.path.samefile(short, path) else str(path)  # noqa: PTH110, PTH121  # a text is asked for


def stated_peers(
    given: MeshGiven, declared: Sequence[PeerAuthentication], config: MeshConfig
) -> tuple[PeerAuthentication, ...]:
    """What the manifests say of mTLS, and what the file says of the whole mesh.

    Raises:
        PolicySyntaxError: The two contradict each other.
    """
    mode, span = given.mtls, given.mtls_span
    if mode is None or span is None:
        return tuple(declared)
    mesh_wide = [each for each in declared if each.namespace == config.root_namespace and not each.selector]
    for each in mesh_wide:
        if each.mode not in (mode, MtlsMode.UNSET):
            message = f"PeerAuthentication {each.id} says {each.mode.value} for the whole mesh, and this {mode.value}"
            raise PolicySyntaxError(
                [Diagnostic("mtls-conflict", message, span, help="make them agree, or remove this")]
            )
    if mesh_wide:
        return tuple(replace(each, mode=mode) if each in mesh_wide else each for each in declared)
    return (*declared, PeerAuthentication(namespace=config.root_namespace, name=_MTLS_OF_THE_FILE, mode=mode))
