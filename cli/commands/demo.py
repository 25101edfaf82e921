"""`meshward demo`: everything together with real Envoys, on this machine."""

import argparse
import signal
from types import FrameType

from cli.command import Command, CommandError, ExitCode

__all__ = ["COMMAND"]

_WIDTH = 132


def _add_arguments(_: argparse.ArgumentParser) -> None:
    pass


def _run(_: argparse.Namespace) -> ExitCode:
    # No other verb pays for what this one needs.
    from rich.console import Console  # noqa: PLC0415

    from demo.process import DemoError  # noqa: PLC0415
    from demo.run import run as run_demo  # noqa: PLC0415

    # Ended from outside, it still ends what it started and removes its keys.
    signal.signal(signal.SIGTERM, _as_interrupt)
    console = Console()
    if not console.is_terminal:
        # A file or a pipe has no width; the rows fit into this one.
        console = Console(width=_WIDTH)
    try:
        return ExitCode.OK if run_demo(console) else ExitCode.INTERNAL
    except (DemoError, OSError) as error:
        raise CommandError(f"the demo broke off: {error}") from error


def _as_interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


COMMAND = Command(
    "demo",
    "everything together with real Envoys, on this machine",
    _add_arguments,
    _run,
    epilog="example: meshward demo",
)
