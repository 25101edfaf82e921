"""The directory of an authority: its settings, its keys and, unless it is elsewhere, its store."""

import argparse
import getpass
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import make_url

from ca.keys import DiskKeyStore, KeyStore
from ca.limits import Limits
from ca.office import Office
from ca.store import Store
from cli.authority.settings import AuthoritySettings, SettingsError, read_settings

__all__ = [
    "ENVIRONMENT",
    "PASSPHRASE",
    "SETTINGS",
    "AuthorityDirectory",
    "add_directory_argument",
    "operator",
    "write_private",
]

SETTINGS = "authority.toml"
ENVIRONMENT = "MESHWARD_CA"
PASSPHRASE = "MESHWARD_CA_PASSPHRASE"  # noqa: S105  # the name of a variable
_DEFAULT = "meshward-ca"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class AuthorityDirectory:
    """Where an authority is, and what it is set to."""

    path: Path
    settings: AuthoritySettings

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "AuthorityDirectory":
        """The one that `--dir` names.

        Raises:
            SettingsError: there is none, or its settings cannot be used.
        """
        path = Path(arguments.dir)
        return cls(path, read_settings(path / SETTINGS))

    def within(self, path: Path) -> Path:
        """A path of the settings, from the directory."""
        return self.path / path

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Its store, open.

        Raises:
            StoreError: it cannot be opened.
        """
        with Store.open(self._url()) as store:
            yield store

    def keys(self) -> KeyStore:
        """Its keys.

        Raises:
            KeyStoreError: they cannot be opened.
            SettingsError: there is no passphrase, or others may read it.
        """
        keys = self.settings.keys
        if keys.kind == "disk":
            return DiskKeyStore(self.within(keys.directory), passphrase=self._passphrase())
        if keys.module is None or keys.token is None:
            raise SettingsError("`keys.module` and `keys.token` say where a PKCS#11 token is", help="set both")
        try:
            from ca.keys.pkcs11 import Pkcs11KeyStore  # noqa: PLC0415  # an option
        except ImportError as error:
            raise SettingsError(
                "keys in a token need python-pkcs11", help="install meshward with the extra `pkcs11`"
            ) from error
        return Pkcs11KeyStore(keys.module, token=keys.token, pin=self._passphrase().decode())

    def office(self, store: Store) -> Office:
        """The authority without its edges, not opened yet.

        Raises:
            KeyStoreError, SettingsError: as `keys`.
        """
        settings = self.settings
        return Office.of(
            settings.trust_domain,
            store,
            self.keys(),
            settings.rotation,
            istio_clusters=frozenset(cluster.name for cluster in settings.kubernetes if cluster.istio_names),
            jwt_issuer=settings.rest.jwt_issuer,
            plugged=None if settings.plugged is None else self.within(settings.plugged),
            limits=Limits(attest_per_second=settings.limits.attest, issue_per_second=settings.limits.issue),
        )

    def _url(self) -> str:
        url = make_url(self.settings.store)
        if url.get_backend_name() != "sqlite" or not url.database:
            return self.settings.store
        return f"sqlite:///{self.path.absolute() / url.database}"

    def _passphrase(self) -> bytes:
        given = os.environ.get(PASSPHRASE)
        if given is not None:
            return _require_some(given.encode(), PASSPHRASE)
        file = self.settings.keys.passphrase_file
        if file is None:
            raise SettingsError(
                "nobody says the passphrase of the keys", help=f"set {PASSPHRASE}, or `keys.passphrase_file`"
            )
        path = self.within(file)
        try:
            with path.open("rb") as opened:
                if os.fstat(opened.fileno()).st_mode & _OTHERS:
                    raise SettingsError(f"{path}: others may read the passphrase", help="chmod 0600, and change it")
                return _require_some(opened.read(_LONGEST).rstrip(b"\r\n"), str(path))
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror}", help=f"or set {PASSPHRASE}") from error


def add_directory_argument(parser: argparse.ArgumentParser) -> None:
    """`--dir`."""
    parser.add_argument(
        "--dir",
        metavar="DIR",
        default=os.environ.get(ENVIRONMENT, _DEFAULT),
        help=f"the directory of the authority (default: ${ENVIRONMENT}, or {_DEFAULT})",
    )


def operator() -> str:
    """Who runs a verb, for the audit: the user of this machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"operator:{name}"


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only we may read, and that was never open to others.

    Raises:
        FileExistsError: there is one.
        OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _require_some(passphrase: bytes, place: str) -> bytes:
    if not passphrase:
        raise SettingsError(f"{place}: the passphrase is empty")
    return passphrase
