"""`meshward ca audit`: what the authority did and refused, and whether anybody has changed what it says of that."""

import argparse

from ca.audit import AuditHead, AuditRow
from ca.errors import BrokenAuditError
from cli.authority.directory import AuthorityDirectory, add_directory_argument
from cli.authority.opened import add_output_argument, all_of, moment, print_rows
from cli.command import Command, CommandError, ExitCode

__all__ = ["COMMANDS"]

_HEAD = ("number", "at", "actor", "action", "outcome", "subject", "reason")


class AuditBrokenError(CommandError):
    """The chain is not as it was written."""

    code = ExitCode.INVALID


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--head",
        metavar="NUMBER:HASH",
        type=_head,
        action="append",
        default=[],
        help="where the chain ended at an earlier moment, kept elsewhere: only so does it show that an end was cut off",
    )
    add_directory_argument(parser)


def _verify(arguments: argparse.Namespace) -> ExitCode:
    with AuthorityDirectory.of(arguments).store() as store:
        try:
            head = store.audit.verify(kept=arguments.head)
        except BrokenAuditError as error:
            raise AuditBrokenError(
                str(error), help="compare with a backup, and with what is kept elsewhere, before anything else is done"
            ) from error
    print(f"the chain of {head.number} rows is as it was written\nhead {head}")
    return ExitCode.OK


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, metavar="N", default=0, help="only the first N; default: all")
    add_directory_argument(parser)
    add_output_argument(parser)


def _list(arguments: argparse.Namespace) -> ExitCode:
    with AuthorityDirectory.of(arguments).store() as store:
        found = all_of(lambda after: store.audit.list(after=after), most=arguments.limit or None)
        print_rows(_HEAD, map(_document, found), output=arguments.output, nothing="nothing happened yet")
    return ExitCode.OK


def _document(row: AuditRow) -> dict[str, object]:
    event = row.event
    return {
        "number": row.number,
        "at": moment(event.at),
        "actor": event.actor,
        "action": event.action,
        "outcome": event.outcome.value,
        "subject": event.subject or None,
        "serial": event.serial or None,
        "reason": event.reason or None,
        "hash": row.hash.hex(),
    }


def _head(text: str) -> AuditHead:
    try:
        return AuditHead.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


COMMANDS = (
    Command(
        "verify",
        "see whether the audit is as it was written",
        _add_verify,
        _verify,
        epilog="example: meshward ca audit verify",
    ),
    Command(
        "list",
        "what was done and refused, oldest first",
        _add_list,
        _list,
        epilog="example: meshward ca audit list --limit 5",
    ),
)
