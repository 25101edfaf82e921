"""Packs: policies that users start from, as they lie in `policies`."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mesh.errors import PolicyStoreError

__all__ = ["Pack", "PackError", "copy_pack", "packs"]

_ROOT = Path(__file__).resolve().parents[1] / "policies"
_README = "README.md"


class PackError(PolicyStoreError):
    """A pack cannot be copied to where it should be."""


@dataclass(frozen=True, slots=True)
class Pack:
    """A directory of manifests, tests and a README, whose first sentence is `summary`."""

    name: str
    summary: str
    directory: Path


def packs() -> Mapping[str, Pack]:
    """Those that came with meshward, by name."""
    readmes = sorted(_ROOT.glob(f"*/{_README}"))
    found = (Pack(readme.parent.name, _first_sentence(readme.read_text("utf-8")), readme.parent) for readme in readmes)
    return {pack.name: pack for pack in found}


def _first_sentence(readme: str) -> str:
    """The text behind the heading, as far as its first full stop."""
    _, paragraph, *_ = readme.split("\n\n", 2)
    sentence, _, _ = " ".join(paragraph.split()).partition(". ")
    return sentence.rstrip(".")


def copy_pack(pack: Pack, directory: Path) -> list[Path]:
    """Copy the files of a pack to `directory`, which is made if it is not there; the copies, in the order of their names.

    Raises:
        PackError: There is something at `directory` that would be written over or mixed up with it, or it cannot be written.
    """
    copies: list[Path] = []
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            what = "has files in it" if directory.is_dir() else "is no directory"
            raise PackError(f"{directory} {what}, and a pack is not mixed with anything")
        directory.mkdir(parents=True, exist_ok=True)
        for file in sorted(each for each in pack.directory.iterdir() if each.is_file()):
            copies.append(directory / file.name)
            # The contents alone: what is installed may be read-only, and what is copied is to be changed.
            shutil.copyfile(file, copies[-1])
    except OSError as error:
        raise PackError(f"cannot write {error.filename or directory}: {error.strerror}") from error
    return copies
