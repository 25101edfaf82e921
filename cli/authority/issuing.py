"""`meshward ca issue`: a certificate from the operator's own hand, on the machine of the authority."""

import argparse
import asyncio
from dataclasses import replace
from pathlib import Path

from ca.attestation import Attestor, Caller
from ca.csr import MAX_CSR, read_csr
from ca.entries import Entry
from ca.issuance import IssuedX509
from ca.office import Office
from ca.selector import Selector
from cli.authority.arguments import duration, spiffe_id
from cli.authority.directory import AuthorityDirectory, add_directory_argument, operator
from cli.authority.opened import moment
from cli.authority.svid_files import BUNDLE, CHAIN, KEY, SvidFiles
from cli.command import Command, CommandError, ExitCode, UsageError

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spiffe_id", metavar="SPIFFE_ID", type=spiffe_id)
    parser.add_argument("-o", "--out", metavar="DIR", required=True, help=f"where to write {CHAIN}, {KEY} and {BUNDLE}")
    parser.add_argument("--csr", metavar="FILE", help="certify the key of this request in PEM, instead of a new one")
    parser.add_argument("--ttl", type=duration, metavar="DURATION", help="how long it lives (default: 1h)")
    parser.add_argument("--dns-name", action="append", default=[], metavar="NAME", help="also in it")
    add_directory_argument(parser)


def _run(arguments: argparse.Namespace) -> ExitCode:
    directory = AuthorityDirectory.of(arguments)
    name = arguments.spiffe_id
    if name.trust_domain != directory.settings.trust_domain or not name.path:
        raise UsageError(f"{name} names no workload of the trust domain {directory.settings.trust_domain}")
    csr = None if arguments.csr is None else _read(Path(arguments.csr))
    with directory.store() as store:
        office = directory.office(store)
        # Only what signs is taken: rotating is the server's.
        office.signing.refresh()
        issued = asyncio.run(_issue(office, arguments, csr))
    out = Path(arguments.out)
    try:
        _files_of(issued).write(out)
    except OSError as error:
        raise CommandError(f"{error.filename or out}: {error.strerror}") from error
    leaf = issued.svid.leaf
    print(f"{name}: serial {leaf.serial_number:x}, until {moment(leaf.not_valid_after_utc)}, in {out}")
    return ExitCode.OK


async def _issue(office: Office, arguments: argparse.Namespace, csr: bytes | None) -> IssuedX509:
    at = office.clock()
    who = Caller(Attestor.ADMIN, operator())
    # An entry that is kept nowhere: what is issued by hand is not renewed by itself.
    selector = Selector("operator", operator())
    entry = replace(
        Entry.new(arguments.spiffe_id, [selector], at=at), id="operator", dns_names=tuple(arguments.dns_name)
    )
    if csr is None:
        return await office.issuance.x509_svid_with_key(who, entry, ttl=arguments.ttl, at=at)
    requested = read_csr(csr)
    if requested.spiffe_id not in (None, arguments.spiffe_id):
        raise UsageError(f"the request asks for {requested.spiffe_id}, not for {arguments.spiffe_id}")
    return await office.issuance.certify(who, entry, requested.public_key, ttl=arguments.ttl, at=at)


def _files_of(issued: IssuedX509) -> SvidFiles:
    key = None if issued.svid.private_key is None else issued.svid.private_key_to_unencrypted_pem()
    return SvidFiles(issued.svid.chain_to_pem(), issued.signing.bundle.to_pem(), key)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_CSR + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


COMMAND = Command(
    "issue",
    "certify a name by the operator's own hand",
    _add_arguments,
    _run,
    epilog="example: meshward ca issue spiffe://cluster.local/ns/shop/sa/web --out web",
)
