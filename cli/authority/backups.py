"""`meshward ca backup` and `meshward ca restore`: an authority as one file, and back.

The file has the settings, the store and the keys, which stay encrypted under their passphrase. The passphrase is not in it: without
it, what is in the file signs nothing.
"""

import argparse
import io
import os
import shutil
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO

from ca.audit import AuditHead
from cli.authority.directory import SETTINGS, AuthorityDirectory, add_directory_argument, write_private
from cli.authority.settings import read_settings
from cli.command import Command, CommandError, ExitCode, UsageError

__all__ = ["BACKUP", "RESTORE"]

_STORE = "store.db"
_KEYS = "keys"
_LARGEST_KEY = 64 * 1024
_LARGEST_SETTINGS = 1024 * 1024


class BackupError(CommandError):
    """The file is no backup, or not one that fits here."""

    code = ExitCode.INVALID


def _add_backup(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a new file")
    add_directory_argument(parser)


def _backup(arguments: argparse.Namespace) -> ExitCode:
    directory, target = AuthorityDirectory.of(arguments), Path(arguments.file)
    if target.exists():
        raise UsageError(f"{target}: there is such a file already", help="choose another name")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as name:
            beside = Path(name) / target.name
            head = _write(directory, beside)
            # A link and not a rename: it fails if somebody has put a file there meanwhile.
            os.link(beside, target)
    except FileExistsError as error:
        raise UsageError(f"{target}: there is such a file already", help="choose another name") from error
    except OSError as error:
        raise CommandError(f"{target}: {error.strerror}") from error
    print(f"wrote {target}\naudit head {head}")
    if directory.settings.keys.kind != "disk":
        print("the keys are in their token, not in this file: back that up by its own means")
    else:
        print("the keys in it are encrypted; keep their passphrase elsewhere")
    return ExitCode.OK


def _write(directory: AuthorityDirectory, target: Path) -> AuditHead:
    copy = target.parent / _STORE
    with directory.store() as store:
        head = store.back_up(copy)
    write_private(target, b"")
    with tarfile.open(target, "w") as tar:
        _add(tar, SETTINGS, (directory.path / SETTINGS).read_bytes())
        # The keys after the store: one that is in the store is on the disk.
        tar.add(copy, _STORE, filter=_plain)
        if directory.settings.keys.kind == "disk":
            for key in sorted(directory.within(directory.settings.keys.directory).glob("*.key")):
                _add(tar, f"{_KEYS}/{key.name}", key.read_bytes())
    with target.open("rb") as written:
        os.fsync(written.fileno())
    return head


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o600
    tar.addfile(info, io.BytesIO(content))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.mode, info.uid, info.gid, info.uname, info.gname = 0o600, 0, 0, "", ""
    return info


def _add_restore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="what `meshward ca backup` wrote")
    add_directory_argument(parser)


def _restore(arguments: argparse.Namespace) -> ExitCode:
    path, source = Path(arguments.dir), Path(arguments.file)
    if path.exists() and any(path.iterdir()):
        raise UsageError(f"{path} is not empty", help="--dir names another directory, which need not be there")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        with tarfile.open(source) as tar:
            head = _unpack(tar, path)
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(f"{source} is no backup of an authority: {error}") from error
    except OSError as error:
        raise CommandError(f"{error.filename or source}: {error.strerror}") from error
    print(f"restored into {path}\naudit head {head}")
    print(
        "before it serves: put the passphrase where its settings say, and see that the authority it was taken of runs no more"
    )
    return ExitCode.OK


def _unpack(tar: tarfile.TarFile, path: Path) -> AuditHead:
    # Member by member and by our names: what an archive calls its members decides nothing about where they go.
    settings = _content(tar, SETTINGS, _LARGEST_SETTINGS)
    draft = path / f".{SETTINGS}"
    write_private(draft, settings)
    directory = AuthorityDirectory(path, read_settings(draft))
    if directory.settings.keys.kind == "disk":
        keys = directory.within(directory.settings.keys.directory)
        keys.mkdir(mode=0o700)
        for member in tar.getmembers():
            name = PurePosixPath(member.name)
            if name.parent == PurePosixPath(_KEYS) and name.suffix == ".key":
                write_private(keys / name.name, _content(tar, member.name, _LARGEST_KEY))
    with tempfile.NamedTemporaryFile(prefix=".restore-", dir=path) as copy:
        with _member(tar, _STORE) as kept:
            shutil.copyfileobj(kept, copy)
        copy.flush()
        with directory.store() as store:
            head = store.restore(Path(copy.name))
    draft.rename(path / SETTINGS)
    return head


def _content(tar: tarfile.TarFile, name: str, most: int) -> bytes:
    with _member(tar, name) as member:
        content = member.read(most + 1)
    if len(content) > most:
        raise BackupError(f"{name} in the backup is larger than {most} bytes")
    return content


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    with suppress(KeyError):
        found = tar.extractfile(name)
        if found is not None:
            return found
    raise BackupError(f"the backup has no {name}")


BACKUP = Command(
    "backup",
    "write an authority to one file, while it runs",
    _add_backup,
    _backup,
    epilog="example: meshward ca backup authority.backup",
)
RESTORE = Command(
    "restore",
    "make an authority of a backup",
    _add_restore,
    _restore,
    epilog="example: meshward ca restore authority.backup --dir elsewhere",
)
