"""Certificates of test servers, and files with what vouches for them."""

import ssl
from pathlib import Path

from tests.unit.authn.key_server import certificates

__all__ = ["server_files"]


def server_files(directory: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """What a server of that DNS name shows, and a file with whoever certified it."""
    server, trust = certificates(directory, name)
    (der,) = trust.get_ca_certs(binary_form=True)
    authority = directory / f"{name}-authority.pem"
    authority.write_text(ssl.DER_cert_to_PEM_cert(der))
    return server, authority
