"""The verbs of `meshward ca`, in the order of `--help`, and what they say where the authority refuses."""

import argparse
from collections.abc import Callable
from dataclasses import replace

from ca.errors import AuthorityError
from cli.authority import (
    asking,
    audits,
    backups,
    bundles,
    entries,
    federated,
    init,
    inventory,
    issuing,
    rotation,
    serve,
    tokens,
)
from cli.command import Command, CommandError, ExitCode, Group

__all__ = ["VERBS"]


class _RefusedError(CommandError):
    """The authority refused, and said why."""

    code = ExitCode.INVALID


def _spoken(command: Command) -> Command:
    """`command`, with the errors of the authority as messages."""
    return replace(command, run=_speaking(command.run))


def _speaking(run: Callable[[argparse.Namespace], ExitCode]) -> Callable[[argparse.Namespace], ExitCode]:
    def spoken(arguments: argparse.Namespace) -> ExitCode:
        try:
            return run(arguments)
        except AuthorityError as error:
            raise _RefusedError(str(error)) from error

    return spoken


def _group(name: str, summary: str, *commands: Command) -> Group:
    return Group(name, summary, lambda: tuple(map(_spoken, commands)))


VERBS: tuple[Command | Group, ...] = (
    _spoken(init.COMMAND),
    _spoken(serve.COMMAND),
    _group("entry", "who may have which SPIFFE ID", *entries.COMMANDS),
    _group("token", "join tokens, each of which lets one workload in, once", *tokens.COMMANDS),
    _spoken(issuing.COMMAND),
    asking.JOIN,
    asking.RENEW,
    _spoken(bundles.COMMAND),
    _spoken(rotation.STATUS),
    _spoken(rotation.COMMAND),
    _spoken(rotation.TAINT),
    _spoken(inventory.LIST),
    _spoken(inventory.REVOKE),
    _group("federation", "the bundles of other trust domains that are kept", *federated.COMMANDS),
    _group("audit", "what was done and refused, and whether that was changed", *audits.COMMANDS),
    _spoken(backups.BACKUP),
    _spoken(backups.RESTORE),
)
