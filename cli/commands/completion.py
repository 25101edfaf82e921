"""`meshward completion`: what makes a shell complete meshward's verbs, options and files."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from cli.command import Command, ExitCode

__all__ = ["COMMAND"]

_SHELLS = ("bash", "zsh", "fish", "tcsh")
_FILES = ("PATH", "FILE")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=_SHELLS, help="for which shell")


def _run(arguments: argparse.Namespace) -> ExitCode:
    # All verbs, those of the authority, too, and shtab: a second that no other verb pays.
    import shtab  # noqa: PLC0415

    from cli.main import whole_parser  # noqa: PLC0415

    parser = whole_parser()
    _complete_names(parser, shtab.FILE, shtab.DIRECTORY)
    sys.stdout.buffer.write(shtab.complete(parser, arguments.shell).encode() + b"\n")
    sys.stdout.flush()
    return ExitCode.OK


def _complete_names(parser: argparse.ArgumentParser, file: Mapping[str, Any], directory: Mapping[str, Any]) -> None:
    """Let shells complete names of files where files are meant."""
    waiting = [parser]
    while waiting:
        for action in waiting.pop()._actions:  # noqa: SLF001  # argparse has no other way to ask for them
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # the same
                waiting += action.choices.values()
                continue
            its: Any = action  # shtab looks for an attribute that argparse knows nothing of
            if action.metavar in _FILES:
                its.complete = file
            elif action.metavar == "DIR":
                its.complete = directory


COMMAND = Command(
    "completion",
    "let a shell complete verbs, options and files",
    _add_arguments,
    _run,
    description="Print what makes a shell complete verbs, options and files.",
    epilog='example: eval "$(meshward completion bash)"',
)
