"""`meshward ca token`: join tokens, each of which lets one workload in, once."""

import argparse
import asyncio
from datetime import timedelta

from ca.joining import MAX_JOIN_TOKEN_TTL, new_join_token
from ca.office import now
from ca.store import JoinToken
from cli.authority.arguments import duration, spiffe_id
from cli.authority.directory import AuthorityDirectory, add_directory_argument, operator
from cli.authority.durations import print_duration
from cli.authority.opened import add_output_argument, all_of, moment, print_rows
from cli.command import Command, ExitCode, UsageError

__all__ = ["COMMANDS"]

_HEAD = ("id", "spiffe_id", "created", "expires", "used")
_DEFAULT = timedelta(minutes=10)


def _add_create(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spiffe_id", metavar="SPIFFE_ID", type=spiffe_id)
    parser.add_argument(
        "--ttl",
        type=duration,
        default=_DEFAULT,
        metavar="DURATION",
        help=f"how long it may wait to be used (default: {print_duration(_DEFAULT)})",
    )
    add_directory_argument(parser)


def _create(arguments: argparse.Namespace) -> ExitCode:
    directory = AuthorityDirectory.of(arguments)
    if arguments.spiffe_id.trust_domain != directory.settings.trust_domain:
        raise UsageError(f"{arguments.spiffe_id} is not of the trust domain {directory.settings.trust_domain}")
    if not timedelta(0) < arguments.ttl <= MAX_JOIN_TOKEN_TTL:
        raise UsageError(f"a join token is good for up to {print_duration(MAX_JOIN_TOKEN_TTL)}")
    with directory.store() as store:
        made = asyncio.run(new_join_token(store, arguments.spiffe_id, ttl=arguments.ttl, by=operator(), at=now()))
    # Alone on standard output, to be taken up by a script; it is nowhere else.
    print(made.text)
    return ExitCode.OK


def _add_list(parser: argparse.ArgumentParser) -> None:
    add_directory_argument(parser)
    add_output_argument(parser)


def _list(arguments: argparse.Namespace) -> ExitCode:
    with AuthorityDirectory.of(arguments).store() as store:
        found = all_of(lambda after: store.tokens.list(after=after))
        print_rows(_HEAD, map(_document, found), output=arguments.output, nothing="no join tokens")
    return ExitCode.OK


def _add_withdraw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="as `meshward ca token list` says it")
    add_directory_argument(parser)


def _withdraw(arguments: argparse.Namespace) -> ExitCode:
    with AuthorityDirectory.of(arguments).store() as store:
        gone = store.tokens.withdraw(arguments.id, by=operator(), at=now()).result()
    print(f"withdrew the token of {gone.spiffe_id}")
    return ExitCode.OK


def _document(token: JoinToken) -> dict[str, object]:
    return {
        "id": token.id,
        "spiffe_id": str(token.spiffe_id),
        "created": moment(token.created),
        "expires": moment(token.expires),
        "used": moment(token.used),
    }


COMMANDS = (
    Command(
        "create",
        "make a token; it is printed once and kept nowhere",
        _add_create,
        _create,
        epilog="example: meshward ca token create spiffe://cluster.local/ns/shop/sa/web --ttl 10m",
    ),
    Command(
        "list",
        "which tokens there are, without their text",
        _add_list,
        _list,
        epilog="example: meshward ca token list -o json",
    ),
    Command(
        "withdraw",
        "let nobody use a token",
        _add_withdraw,
        _withdraw,
        epilog="example: meshward ca token withdraw 5f2c",
    ),
)
