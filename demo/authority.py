"""Meshward's own authority, made and started as an operator does it, with entries for who is to have a name."""

import json
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from demo.part import Part
from demo.process import DemoError, Process
from demo.server import MESHWARD
from demo.tls import TlsFiles
from identity import SpiffeId, TrustDomain

__all__ = ["AuthorityServer"]

_START = 30.0
_VERB = 60.0


class AuthorityServer(Part):
    """`meshward ca serve` on a new authority in `directory`, which is private and its own.

    Whoever runs as our user may have any of `names`, and asks for them at `secrets`, Envoy's secret discovery service.
    """

    def __init__(
        self,
        trust_domain: TrustDomain,
        names: Iterable[SpiffeId],
        directory: Path,
        *,
        command: Sequence[str] = MESHWARD,
    ) -> None:
        """Make it, start it, and wait until it answers.

        Raises:
            DemoError: it did not come up; the end of its output says why.
        """
        self._command = command
        self._authority = directory / "ca"
        self.secrets = self._authority / "sds.sock"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._verb("init", str(trust_domain))
        self._listen_on_sockets_only()
        ours = [f"unix:uid:{os.getuid()}"]
        entries = [json.dumps({"spiffe_id": str(name), "selectors": ours}) for name in names]
        self._verb("entry", "apply", "-", given="\n".join(entries))
        self._process = Process(
            "meshward ca serve",
            [*command, "ca", "serve", "--dir", str(self._authority)],
            log=directory / "authority.log",
        )
        try:
            self._process.wait_until(lambda: self.secrets.exists() or None, "it listened", seconds=_START)
        except BaseException:
            self.stop()
            raise

    def issue(self, name: SpiffeId, directory: Path) -> TlsFiles:
        """Certificate, key and bundle as files, by the operator's hand, for a client that asks no service.

        Raises:
            DemoError: the authority refused.
        """
        self._verb("issue", str(name), "--out", str(directory))
        return TlsFiles(
            chain=directory / "svid.pem", private_key=directory / "svid-key.pem", bundle=directory / "bundle.pem"
        )

    def rotate(self, kind: str) -> None:
        """Have the root, the intermediate or the JWT key replaced.

        Raises:
            DemoError: the authority refused.
        """
        self._verb("rotate", kind)

    def status(self) -> list[dict[str, object]]:
        """Its signing authorities, as `meshward ca status` says them."""
        return [json.loads(line) for line in self._verb("status", "-o", "json").splitlines()]

    def stop(self) -> None:
        """End it. Ending it twice is harmless."""
        self._process.stop()

    def _listen_on_sockets_only(self) -> None:
        """Ports of this machine may be taken; nobody in a demo needs the HTTP edge."""
        settings = self._authority / "authority.toml"
        text = re.sub(r'(?m)^(listen|admin) = "127\.0\.0\.1:[0-9]+"$', r'\1 = "127.0.0.1:0"', settings.read_text())
        settings.write_text(text)

    def _verb(self, *arguments: str, given: str = "") -> str:
        done = subprocess.run(  # noqa: S603  # our own argument vector, no shell
            [*self._command, "ca", *arguments, "--dir", str(self._authority)],
            input=given,
            capture_output=True,
            text=True,
            timeout=_VERB,
            check=False,
        )
        if done.returncode:
            raise DemoError(f"meshward ca {arguments[0]} ended with status {done.returncode}\n{done.stderr.strip()}")
        return done.stdout
