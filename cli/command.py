"""Command: what a verb is to the command line."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Command", "CommandError", "ExitCode", "Group", "UsageError"]


class ExitCode(IntEnum):
    """How meshward ends. The numbers are part of its interface."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    INVALID = 3
    TESTS = 4
    COVERAGE = 5
    INVARIANT = 6
    DIFFERENCE = 7


class CommandError(Exception):
    """A verb cannot do what it was asked; `help` says what to do about it."""

    code = ExitCode.INTERNAL

    def __init__(self, message: str, *, help: str | None = None) -> None:  # noqa: A002  # as in Diagnostic
        super().__init__(message)
        self.help = help


class UsageError(CommandError):
    """The command line asks for something that cannot be."""

    code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Command:
    """A verb: its name, one line about it, the options it takes, what it does, and what stands at the end of its help."""

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], ExitCode]
    description: str = ""
    epilog: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A verb that has verbs of its own, which are loaded only where they are asked for."""

    name: str
    summary: str
    verbs: Callable[[], "tuple[Command | Group, ...]"]
    description: str = ""
