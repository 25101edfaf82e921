"""The entry point: finds the verb, runs it, and turns what it raises into a message and an exit code."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence

from cli.command import Command, CommandError, ExitCode, Group
from cli.commands import (
    ca,
    check,
    completion,
    demo,
    diff,
    explain,
    format,  # noqa: A004  # the verb
    init,
    lint,
    prove,
    replay,
    serve,
    show,
    test,
)
from cli.diagnostics import print_diagnostics
from mesh.errors import InvalidManifestsError, PolicyStoreError, UnknownWorkloadError

__all__ = ["COMMANDS", "main", "run", "whole_parser"]

COMMANDS: tuple[Command | Group, ...] = (
    serve.COMMAND,
    check.COMMAND,
    explain.COMMAND,
    lint.COMMAND,
    test.COMMAND,
    replay.COMMAND,
    prove.COMMAND,
    diff.COMMAND,
    show.COMMAND,
    format.COMMAND,
    init.COMMAND,
    ca.COMMAND,
    demo.COMMAND,
    completion.COMMAND,
)
"""Every verb, in the order of `--help`."""


def run() -> int:
    """What the command `meshward` runs."""
    # Whoever reads our output may stop; that is no error of ours to explain.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    return main(sys.argv[1:])


def main(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Whatever happens, no traceback reaches the user."""
    parser = _parser(arguments)
    parsed = parser.parse_args(arguments)
    logging.basicConfig(format="meshward: %(message)s", level=logging.INFO, stream=sys.stderr)
    # They tell of every store that is opened, and of every request.
    for talkative in ("alembic", "httpx"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    command: Command = parsed.command
    try:
        return command.run(parsed)
    except InvalidManifestsError as error:
        print_diagnostics(error.diagnostics, error.sources)
        return _fail(ExitCode.INVALID, str(error))
    except UnknownWorkloadError as error:
        return _fail(ExitCode.INVALID, str(error))
    except CommandError as error:
        return _fail(error.code, str(error), error.help)
    except PolicyStoreError as error:
        return _fail(ExitCode.USAGE, str(error))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:  # the one place that answers for what nobody foresaw
        if os.environ.get("MESHWARD_TRACEBACK"):
            raise
        return _fail(
            ExitCode.INTERNAL,
            f"internal error: {type(error).__name__}: {error}",
            "this is a bug in meshward; MESHWARD_TRACEBACK=1 shows where",
        )


def _fail(code: ExitCode, message: str, help: str | None = None) -> ExitCode:  # noqa: A002  # as in Diagnostic
    print(f"meshward: {message}", file=sys.stderr)
    if help is not None:
        print(f"  help: {help}", file=sys.stderr)
    return code


class _Version(argparse.Action):
    """Prints the version; looking it up costs more than many a run of a verb does."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # noqa: PLC0415  # paid for by who asks

        print(f"meshward {version('meshward')}")
        parser.exit()


def whole_parser() -> argparse.ArgumentParser:
    """What reads every command line: with all verbs of all groups, which takes its time."""
    return _parser(None)


def _parser(arguments: Sequence[str] | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="meshward",
        description="Istio's security policies as code: decide them offline, and enforce them in front of any Envoy.",
        epilog="exit codes: 0 ok, 1 internal error, 2 usage, 3 invalid or denied input, 4 tests failed, 5 coverage too low, 6 invariant broken, 7 new access",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    _add_verbs(parser, COMMANDS, arguments)
    return parser


def _add_verbs(
    parser: argparse.ArgumentParser, commands: Sequence[Command | Group], arguments: Sequence[str] | None
) -> None:
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for command in commands:
        verb = verbs.add_parser(
            command.name,
            help=command.summary,
            description=command.description or f"{command.summary[0].upper()}{command.summary[1:]}.",
            epilog=command.epilog if isinstance(command, Command) else None,
        )
        match command:
            case Command():
                command.add_arguments(verb)
                verb.set_defaults(command=command)
            case Group() if arguments is None:
                _add_verbs(verb, command.verbs(), None)
            # Nobody else pays for what its verbs need.
            case Group() if command.name in arguments[:1]:
                _add_verbs(verb, command.verbs(), arguments[1:])
            case Group():
                pass
