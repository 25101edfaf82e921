"""X.509-SVIDs as files and as TLS contexts, for those who take nothing else."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from identity import Bundle, X509Svid

__all__ = ["TlsFiles", "TlsSecrets", "TlsSource", "client_context", "save"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """An X.509-SVID and the bundle to verify peers with, as files in PEM."""

    chain: Path
    private_key: Path
    bundle: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSecrets:
    """The same by Envoy's secret discovery service: the names that they are asked for by. They may change at any time."""

    certificate: str
    bundle: str


TlsSource = TlsFiles | TlsSecrets
"""Where a sidecar gets an X.509-SVID and a bundle."""


def save(svid: X509Svid, bundle: Bundle, directory: Path) -> TlsFiles:
    """Write all three into `directory`, which becomes private; the key is never readable to others, not for a moment.

    Raises:
        ValueError: `svid` came without its private key.
        OSError: they could not be written, or are there already.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    files = TlsFiles(
        chain=directory / "svid.pem",
        private_key=directory / "svid.key",
        bundle=directory / "bundle.pem",
    )
    files.chain.write_bytes(svid.chain_to_pem())
    files.bundle.write_bytes(bundle.to_pem())
    key = os.open(files.private_key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(key, "wb") as output:
        output.write(svid.private_key_to_unencrypted_pem())
    return files


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """For a client that has an SVID and no sidecar. It takes any server that the bundle leads to, whatever its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # An X.509-SVID names no host.
    context.check_hostname = False
    context.load_verify_locations(files.bundle)
    context.load_cert_chain(files.chain, files.private_key)
    return context
