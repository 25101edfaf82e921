"""`meshward ca federation`: what is kept of the trust domains that are federated with."""

import argparse

from ca.office import now
from cli.authority.arguments import trust_domain
from cli.authority.directory import AuthorityDirectory, add_directory_argument, operator
from cli.authority.opened import add_output_argument, print_rows
from cli.command import Command, ExitCode
from identity import Bundle

__all__ = ["COMMANDS"]

_HEAD = ("trust_domain", "sequence", "roots", "jwt_keys")


def _add_list(parser: argparse.ArgumentParser) -> None:
    add_directory_argument(parser)
    add_output_argument(parser)


def _list(arguments: argparse.Namespace) -> ExitCode:
    with AuthorityDirectory.of(arguments).store() as store:
        rows = list(map(_document, store.federation.load()))
    print_rows(_HEAD, rows, output=arguments.output, nothing="no bundles of other trust domains")
    return ExitCode.OK


def _add_forget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trust_domain", metavar="TRUST_DOMAIN", type=trust_domain)
    add_directory_argument(parser)


def _forget(arguments: argparse.Namespace) -> ExitCode:
    with AuthorityDirectory.of(arguments).store() as store:
        store.federation.forget(arguments.trust_domain, by=operator(), at=now()).result()
    print(
        f"forgot the bundle of {arguments.trust_domain}; one that is still in the settings is fetched anew, and its sequence may"
        " begin again"
    )
    return ExitCode.OK


def _document(bundle: Bundle) -> dict[str, object]:
    return {
        "trust_domain": bundle.trust_domain.name,
        "sequence": bundle.sequence,
        "roots": len(bundle.x509_authorities),
        "jwt_keys": len(bundle.jwt_authorities),
    }


COMMANDS = (
    Command("list", "whose bundles are kept", _add_list, _list, epilog="example: meshward ca federation list"),
    Command(
        "forget",
        "forget the bundle of a trust domain that was set up anew",
        _add_forget,
        _forget,
        epilog="example: meshward ca federation forget partner.example",
    ),
)
