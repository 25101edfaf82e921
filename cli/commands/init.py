"""`meshward init`: copies a pack of policies to start from."""

import argparse
import sys
from difflib import get_close_matches
from pathlib import Path
from shlex import quote

from cli.command import Command, ExitCode, UsageError
from parser.diagnostics import quoted

__all__ = ["COMMAND"]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pack", metavar="PACK", nargs="?", help="which one; without it, say which there are")
    parser.add_argument("directory", metavar="DIR", nargs="?", help="where to: a directory that is empty or not there")


def _run(arguments: argparse.Namespace) -> ExitCode:
    from mesh.packs import copy_pack, packs  # noqa: PLC0415  # paid for by who starts

    known = packs()
    if arguments.pack is None:
        width = max(map(len, known), default=0)
        for pack in known.values():
            print(f"{pack.name.ljust(width)}  {pack.summary}")
        print("\nmeshward init PACK DIR copies one")
        return ExitCode.OK
    if arguments.pack not in known:
        near = get_close_matches(arguments.pack, known, n=1)
        raise UsageError(
            f"there is no pack {quoted(arguments.pack)}",
            help=f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}",
        )
    if arguments.directory is None:
        raise UsageError("where to is not said", help=f"meshward init {arguments.pack} DIR")
    copies = copy_pack(known[arguments.pack], Path(arguments.directory))
    given = quote(arguments.directory)
    print(f"{given}: {len(copies)} files of {arguments.pack}")
    print("next:")
    for step, why in (
        (f"less {given}/README.md", "what they say, and what to put in their place"),
        (f"meshward lint {given}", "whether they are good"),
        (f"meshward test {given}", "whether they do what their tests say"),
        (f"meshward show {given} --matrix", "who may call what by them"),
    ):
        print(f"  {step}  # {why}")
    sys.stdout.flush()
    return ExitCode.OK


COMMAND = Command(
    "init",
    "copy policies to start from",
    _add_arguments,
    _run,
    description="Copy one of the packs of policies that come with meshward; without arguments, say which there are.",
    epilog="example: meshward init default-deny policies/",
)
