"""An X.509-SVID as files: certificate, key and bundle, each replaced as a whole."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from cli.authority.directory import write_private

__all__ = ["BUNDLE", "CHAIN", "KEY", "SvidFiles"]

CHAIN, KEY, BUNDLE = "svid.pem", "svid-key.pem", "bundle.pem"
"""What a peer is shown, leaf first; its private key; and what peers are verified with."""


@dataclass(frozen=True, slots=True)
class SvidFiles:
    """What is in the files, in PEM. `key` is `None` where somebody else has it."""

    chain: bytes
    bundle: bytes
    key: bytes | None = field(default=None, repr=False)

    def write(self, directory: Path) -> None:
        """Write them, in place of what is there, the key first: a reader never sees a certificate before its key.

        Raises:
            OSError: they cannot be written.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.key is not None:
            _replace(directory / KEY, self.key)
        _replace(directory / CHAIN, self.chain)
        _replace(directory / BUNDLE, self.bundle)


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    write_private(beside, content)
    beside.replace(path)
