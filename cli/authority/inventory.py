"""`meshward ca list` and `meshward ca revoke`: what was issued, and what is not to be trusted any more."""

import argparse

from ca.inventory import InventoryFilter, Issued, IssuedKind, IssuedState, RevocationReason
from ca.office import now
from cli.authority.arguments import duration, spiffe_id
from cli.authority.directory import AuthorityDirectory, add_directory_argument, operator
from cli.authority.opened import add_output_argument, all_of, moment, print_rows
from cli.command import Command, ExitCode

__all__ = ["LIST", "REVOKE"]

_HEAD = ("serial", "spiffe_id", "kind", "state", "expires", "caller")


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--spiffe-id", type=spiffe_id, metavar="SPIFFE_ID", help="only of this name")
    parser.add_argument("--prefix", metavar="TEXT", help="only of names that begin so")
    parser.add_argument("--state", choices=[state.value for state in IssuedState], help="only those that are so now")
    parser.add_argument("--kind", choices=[kind.value for kind in IssuedKind], help="only those")
    parser.add_argument("--issuer", metavar="ID", help="only what this signing authority signed")
    parser.add_argument("--caller", metavar="NAME", help="only what this caller got")
    parser.add_argument(
        "--expiring-within", type=duration, metavar="DURATION", help="only those that are valid, and soon will not be"
    )
    parser.add_argument("--limit", type=int, metavar="N", default=100, help="at most so many; 0 for all (default: 100)")
    add_directory_argument(parser)
    add_output_argument(parser)


def _list(arguments: argparse.Namespace) -> ExitCode:
    at = now()
    wanted = InventoryFilter(
        spiffe_id=arguments.spiffe_id,
        prefix=arguments.prefix,
        issuer=arguments.issuer,
        kind=arguments.kind and IssuedKind(arguments.kind),
        caller=arguments.caller,
        state=arguments.state and IssuedState(arguments.state),
        expiring_within=arguments.expiring_within,
    )
    with AuthorityDirectory.of(arguments).store() as store:
        found = all_of(lambda after: store.inventory.list(wanted, at=at, after=after), most=arguments.limit or None)
        rows = (document_of(row, row.state(at)) for row in found)
        print_rows(_HEAD, rows, output=arguments.output, nothing="nothing was issued that is so")
    return ExitCode.OK


def _add_revoke(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("serial", metavar="SERIAL", help="in hexadecimal, as `meshward ca list` says it")
    parser.add_argument(
        "--reason",
        choices=[reason.value for reason in RevocationReason],
        default=RevocationReason.UNSPECIFIED.value,
        help="default: %(default)s; a key that is revoked for keyCompromise is never certified again",
    )
    add_directory_argument(parser)


def _revoke(arguments: argparse.Namespace) -> ExitCode:
    serial = arguments.serial.lower().replace(":", "").lstrip("0")
    with AuthorityDirectory.of(arguments).store() as store:
        row = store.inventory.revoke(serial, RevocationReason(arguments.reason), by=operator(), at=now()).result()
    print(
        f"revoked {serial} of {row.intent.spiffe_id}: it renews nothing and is on the revocation list; peers that ask"
        f" for none take it until {moment(row.intent.not_after)}"
    )
    return ExitCode.OK


def document_of(row: Issued, state: IssuedState) -> dict[str, object]:
    """A row as it is printed."""
    intent = row.intent
    return {
        "serial": intent.serial,
        "spiffe_id": str(intent.spiffe_id),
        "kind": intent.kind.value,
        "state": state.value,
        "issuer": intent.issuer,
        "not_before": moment(intent.not_before),
        "expires": moment(intent.not_after),
        "caller": intent.caller,
        "entry": intent.entry,
        "intended": moment(row.intended),
        "released": moment(row.released),
        "revoked": None if row.revoked is None else moment(row.revoked.at),
        "reason": None if row.revoked is None else row.revoked.reason.value,
    }


LIST = Command(
    "list",
    "what was issued, to whom, and until when",
    _add_list,
    _list,
    epilog="example: meshward ca list --expiring-within 2h --state valid",
)
REVOKE = Command(
    "revoke",
    "take back a certificate",
    _add_revoke,
    _revoke,
    epilog="example: meshward ca revoke 3b9ac1 --reason keyCompromise",
)
