"""`meshward ca entry`: who may have which SPIFFE ID."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from ca.entries import Entry, EntryFilter
from ca.errors import InvalidSelectorError
from ca.office import now
from ca.registration import require_registrable
from ca.selector import Selector
from cli.authority.arguments import duration, spiffe_id, trust_domain
from cli.authority.directory import AuthorityDirectory, add_directory_argument, operator
from cli.authority.durations import print_duration
from cli.authority.entry_file import read_entries
from cli.authority.opened import add_output_argument, all_of, moment, print_rows
from cli.command import Command, ExitCode, UsageError

__all__ = ["COMMANDS"]

_HEAD = ("id", "spiffe_id", "selectors", "ttl", "dns_names", "admin")


def _add_create(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spiffe_id", metavar="SPIFFE_ID", type=spiffe_id)
    parser.add_argument(
        "--selector",
        metavar="KIND:VALUE",
        type=_selector,
        action="append",
        required=True,
        help="what must be true of who may have it, as in unix:uid:1000, k8s:ns:shop, k8s:sa:web; all that are given",
    )
    parser.add_argument("--ttl", type=duration, metavar="DURATION", help="how long its certificates live")
    parser.add_argument("--jwt-ttl", type=duration, metavar="DURATION", help="how long its tokens live")
    parser.add_argument("--dns-name", action="append", default=[], metavar="NAME", help="also in its certificates")
    parser.add_argument("--federates-with", type=trust_domain, action="append", default=[], metavar="TRUST_DOMAIN")
    parser.add_argument("--admin", action="store_true", help="its holder may manage the authority")
    parser.add_argument("--hint", default="", help="tells a workload of several names which is for what")
    add_directory_argument(parser)
    add_output_argument(parser)


def _create(arguments: argparse.Namespace) -> ExitCode:
    directory, at = AuthorityDirectory.of(arguments), now()
    name = arguments.spiffe_id
    if name.trust_domain != directory.settings.trust_domain:
        raise UsageError(f"{name} is not of the trust domain {directory.settings.trust_domain}")
    try:
        entry = replace(
            Entry.new(name, arguments.selector, at=at),
            ttl=arguments.ttl,
            jwt_ttl=arguments.jwt_ttl,
            dns_names=tuple(arguments.dns_name),
            federates_with=frozenset(arguments.federates_with),
            admin=arguments.admin,
            hint=arguments.hint,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    require_registrable(entry, directory.settings.trust_domain, directory.settings.rotation)
    with directory.store() as store:
        kept = store.entries.create(entry, by=operator(), at=at).result()
    print_rows(_HEAD, [document_of(kept)], output=arguments.output, nothing="")
    return ExitCode.OK


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prefix", metavar="TEXT", help="only names that begin so")
    parser.add_argument("--selector", metavar="KIND:VALUE", type=_selector, help="only those that ask for it")
    add_directory_argument(parser)
    add_output_argument(parser)


def _list(arguments: argparse.Namespace) -> ExitCode:
    wanted = EntryFilter(prefix=arguments.prefix, selector=arguments.selector)
    with AuthorityDirectory.of(arguments).store() as store:
        found = all_of(lambda after: store.entries.list(wanted, after=after))
        print_rows(_HEAD, map(document_of, found), output=arguments.output, nothing="no entries")
    return ExitCode.OK


def _add_delete(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="as `meshward ca entry list` says it")
    add_directory_argument(parser)


def _delete(arguments: argparse.Namespace) -> ExitCode:
    with AuthorityDirectory.of(arguments).store() as store:
        gone = store.entries.delete(arguments.id, by=operator(), at=now()).result()
    print(f"deleted the entry of {gone.spiffe_id}; what was issued by it is good until it ends or is revoked")
    return ExitCode.OK


def _add_apply(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a JSON object a line, as `meshward ca entry list -o json` prints them; - for standard input",
    )
    parser.add_argument("--prune", action="store_true", help="delete all entries that are not in the file")
    add_directory_argument(parser)


def _apply(arguments: argparse.Namespace) -> ExitCode:
    directory, at = AuthorityDirectory.of(arguments), now()
    wanted = read_entries(_read(arguments.file), directory.settings.trust_domain, at=at)
    for entry in wanted:
        require_registrable(entry, directory.settings.trust_domain, directory.settings.rotation)
    with directory.store() as store:
        kept = list(all_of(lambda after: store.entries.list(EntryFilter(), after=after)))
        made = [each for each in wanted if not any(each.says_the_same_as(other) for other in kept)]
        gone = [each for each in kept if arguments.prune and not any(each.says_the_same_as(other) for other in wanted)]
        for pending in [store.entries.delete(entry.id, by=operator(), at=at) for entry in gone]:
            pending.result()
        for created in [store.entries.create(entry, by=operator(), at=at) for entry in made]:
            created.result()
    print(f"{len(made)} created, {len(gone)} deleted, {len(kept) - len(gone)} left as they were")
    return ExitCode.OK


def _read(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error


def document_of(entry: Entry) -> dict[str, object]:
    """An entry as it is printed."""
    return {
        "id": entry.id,
        "spiffe_id": str(entry.spiffe_id),
        "selectors": [str(selector) for selector in sorted(entry.selectors)],
        "ttl": None if entry.ttl is None else print_duration(entry.ttl),
        "jwt_ttl": None if entry.jwt_ttl is None else print_duration(entry.jwt_ttl),
        "dns_names": list(entry.dns_names),
        "federates_with": sorted(str(each) for each in entry.federates_with),
        "admin": entry.admin or None,
        "hint": entry.hint or None,
        "created": moment(entry.created),
    }


def _selector(text: str) -> Selector:
    try:
        return Selector.parse(text)
    except InvalidSelectorError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


COMMANDS = (
    Command(
        "create",
        "let whoever has all of some selectors have a SPIFFE ID",
        _add_create,
        _create,
        epilog="example: meshward ca entry create spiffe://cluster.local/ns/shop/sa/web --selector unix:uid:1000",
    ),
    Command(
        "apply",
        "make the entries of a file",
        _add_apply,
        _apply,
        epilog="example: meshward ca entry apply entries.jsonl --prune",
    ),
    Command(
        "list",
        "who may have what",
        _add_list,
        _list,
        epilog="example: meshward ca entry list --prefix spiffe://cluster.local/ns/shop/",
    ),
    Command(
        "delete",
        "let nobody have a SPIFFE ID by an entry any more",
        _add_delete,
        _delete,
        epilog="example: meshward ca entry delete 5f2c",
    ),
)
