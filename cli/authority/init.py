"""`meshward ca init`: a new authority in a directory of its own."""

import argparse
import hashlib
import json
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives import hashes

from cli.authority.directory import PASSPHRASE, SETTINGS, AuthorityDirectory, add_directory_argument, write_private
from cli.authority.settings import read_settings
from cli.command import Command, CommandError, ExitCode, UsageError
from identity import InvalidTrustDomainError, TrustDomain

__all__ = ["COMMAND"]

_PASSPHRASE_FILE = "passphrase"  # noqa: S105  # a file's name
_ADMIN_TOKEN_FILE = "admin-token"  # noqa: S105  # a file's name

_TEMPLATE = """\
# A meshward authority. Paths are from this directory; durations are written 90s, 5m, 1h, 7d.
trust_domain = {trust_domain}
store = {store}  # or postgresql://user@host/name, for several replicas
{plugged}
[keys]
{keys}

[lifetimes]  # nothing may live longer than a sixth of what it rests on
root = "365d"
intermediate = "7d"
jwt = "7d"
max_ttl = "24h"
max_jwt_ttl = "1h"
notice = "25m"  # how long a new root is published before it signs, for those who only come to look

[rest]
listen = "127.0.0.1:8443"
admin = "127.0.0.1:8444"
dns_names = ["localhost"]
admin_token_sha256 = {admin_token}

[sds]
listen = "unix:sds.sock"

[workload_api]
listen = "unix:workload.sock"

# [istio]
# listen = "0.0.0.0:15012"
#
# [[kubernetes]]
# name = "east"
# issuer = "https://kubernetes.default.svc"
# audience = "istio-ca"
# istio_names = true
#
# [[federation]]
# trust_domain = "partner.example"
# url = "https://bundles.partner.example/"
# profile = "https_web"
"""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trust_domain", metavar="TRUST_DOMAIN", help="whose authority it is, as in cluster.local")
    add_directory_argument(parser)
    parser.add_argument("--store", metavar="URL", default="sqlite:///store/store.db", help="default: %(default)s")
    parser.add_argument("--pkcs11", metavar="MODULE", help="keep keys in the token of this PKCS#11 module")
    parser.add_argument("--token", metavar="LABEL", help="the token's label, with --pkcs11")
    parser.add_argument(
        "--plugged",
        metavar="DIR",
        help="sign by an operator's own authority, in the files of Istio's cacerts or of a TLS secret; they are followed as they change",
    )


def _run(arguments: argparse.Namespace) -> ExitCode:
    try:
        trust_domain = TrustDomain.parse(arguments.trust_domain)
    except InvalidTrustDomainError as error:
        raise UsageError(str(error)) from error
    if (arguments.pkcs11 is None) != (arguments.token is None):
        raise UsageError("a key in a token needs the module and the token's label", help="give --pkcs11 and --token")
    path = Path(arguments.dir)
    _make_directory(path)
    admin_token = secrets.token_urlsafe(32)
    try:
        keys = _keys(arguments, path)
        write_private(path / _ADMIN_TOKEN_FILE, f"{admin_token}\n".encode())
        settings = _TEMPLATE.format(
            trust_domain=json.dumps(trust_domain.name),
            store=json.dumps(arguments.store),
            plugged=""
            if arguments.plugged is None
            else f"plugged = {json.dumps(str(Path(arguments.plugged).absolute()))}\n",
            keys=keys,
            admin_token=json.dumps(hashlib.sha256(admin_token.encode()).hexdigest()),
        )
        # Under its name only when the authority is there: a directory without it was never one.
        draft = path / f".{SETTINGS}"
        write_private(draft, settings.encode())
        directory = AuthorityDirectory(path, read_settings(draft))
        _found(directory)
        draft.rename(path / SETTINGS)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
    _say(path, arguments)
    return ExitCode.OK


def _make_directory(path: Path) -> None:
    if (path / SETTINGS).exists():
        raise UsageError(
            f"{path}: there is an authority already", help="`meshward ca serve` runs it; --dir names another"
        )
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise UsageError(f"{path} is not empty", help="--dir names another directory, which need not be there")
        path.chmod(0o700)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _keys(arguments: argparse.Namespace, path: Path) -> str:
    if arguments.pkcs11 is not None:
        return f'kind = "pkcs11"\nmodule = {json.dumps(arguments.pkcs11)}\ntoken = {json.dumps(arguments.token)}'
    said = 'kind = "disk"  # each encrypted under the passphrase'
    if os.environ.get(PASSPHRASE):
        return f"{said}; {PASSPHRASE} has it"
    write_private(path / _PASSPHRASE_FILE, f"{secrets.token_urlsafe(32)}\n".encode())
    return f"{said}\npassphrase_file = {json.dumps(_PASSPHRASE_FILE)}  # better elsewhere, or in {PASSPHRASE}"


def _found(directory: AuthorityDirectory) -> None:
    with directory.store() as store:
        office = directory.office(store)
        if store.authorities.load(directory.settings.trust_domain) is not None:
            raise UsageError(
                f"{store.place} has the authorities of `{directory.settings.trust_domain}` already",
                help="an authority that shares a store with another needs its keys as well: copy its directory",
            )
        office.open()
        roots = office.signing.now().bundle.x509_authorities
        print(f"authority of {directory.settings.trust_domain} in {directory.path}")
        for root in roots:
            digest = root.fingerprint(hashes.SHA256()).hex()
            print(f"  root    sha256:{digest}, until {root.not_valid_after_utc:%Y-%m-%d}")
        print(f"  audit   {store.audit.head()}")


def _say(path: Path, arguments: argparse.Namespace) -> None:
    where = "" if path == Path("meshward-ca") else f" --dir {arguments.dir}"
    if (path / _PASSPHRASE_FILE).exists():
        print(f"  keys    encrypted under {path / _PASSPHRASE_FILE}; keep that elsewhere, and a copy of it")
    print(f"  admin   token in {path / _ADMIN_TOKEN_FILE}")
    print(f"\nnext: meshward ca serve{where}")


COMMAND = Command(
    "init",
    "make an authority: its keys, its root, its store and its settings",
    _add_arguments,
    _run,
    epilog="example: meshward ca init cluster.local",
)
