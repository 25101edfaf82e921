"""Formatting files: what `meshward format` does, from its arguments to its exit code."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import NamedTuple

from cli.command import ExitCode, UsageError
from cli.diagnostics import print_diagnostics
from cli.rewriting import replace_file
from mesh.files import STDIN, read_manifests
from parser.diagnostics import PolicySyntaxError
from parser.formatting import FormatError, Syntax, format_manifest, syntax_of
from parser.yaml_text import text_for_excerpts

__all__ = ["format_files"]


class _File(NamedTuple):
    """A file as it is, and as it is to be."""

    name: str
    syntax: Syntax
    before: bytes
    after: bytes


def format_files(arguments: argparse.Namespace) -> ExitCode:
    """Format what the arguments name, and print it, compare it or write it, as they say.

    Raises:
        PolicyStoreError: A file cannot be read.
        CommandError: A file cannot be written, or what is asked for cannot be.
    """
    to = None if arguments.to is None else Syntax(arguments.to)
    files = read_manifests(arguments.paths)
    if arguments.check or arguments.diff or arguments.write:
        for name, data in files:
            _refuse_conversion(name, syntax_of(name, data), to)
    if arguments.write and STDIN in arguments.paths:
        raise UsageError("standard input cannot be written anew", help="leave out --write to have it printed")
    done = [found for found in (_formatted(*file, to, arguments) for file in files) if found is not None]
    if len(done) < len(files):
        bad = len(files) - len(done)
        nothing = "; nothing is written" if arguments.write else ""
        print(f"meshward: {bad} of {len(files)} files cannot be formatted{nothing}", file=sys.stderr)
        return ExitCode.INVALID
    if arguments.write:
        return _write(done)
    if arguments.check or arguments.diff:
        return _compare(done, show=arguments.diff)
    return _print(done)


def _refuse_conversion(name: str, syntax: Syntax, to: Syntax | None) -> None:
    if to is not None and to is not syntax:
        raise UsageError(
            f"{name} is {syntax.value}, and stays so with --check, --diff and --write",
            help=f"leave them out, and redirect what is printed: `meshward format … --to {to.value} > …`",
        )


def _formatted(name: str, data: bytes, to: Syntax | None, arguments: argparse.Namespace) -> _File | None:
    """The file as it is to be; none where it cannot be, which has then been said."""
    try:
        found = format_manifest(data, name, to=to, skip_others=arguments.skip_others)
    except PolicySyntaxError as error:
        print_diagnostics(error.diagnostics, {name: text_for_excerpts(data) or ""})
        return None
    except FormatError as error:
        print(f"meshward: {error}\n  help: {error.help}", file=sys.stderr)
        return None
    for note in found.notes:
        print(f"meshward: {note}", file=sys.stderr)
    syntax = syntax_of(name, data)
    return _File(name, syntax if to is None else to, data, found.text.encode())


def _print(files: Sequence[_File]) -> ExitCode:
    syntaxes = {file.syntax for file in files}
    if len(syntaxes) > 1:
        raise UsageError(
            "the files are YAML and ward", help="say `--to yaml` or `--to ward`, or give those of one kind"
        )
    texts = [file.after for file in files if file.after.strip()]
    if not texts:
        raise UsageError(f"no policies in {', '.join(file.name for file in files)}")
    sys.stdout.buffer.write(b"".join(_together(texts, syntaxes.pop())))
    sys.stdout.flush()
    return ExitCode.OK


def _together(texts: Iterable[bytes], syntax: Syntax) -> Iterator[bytes]:
    """The texts of several files as one."""
    for number, text in enumerate(texts):
        if number and syntax is Syntax.WARD:
            yield b"\n"
        elif number and not text.startswith(b"---"):
            yield b"---\n"
        yield text if text.endswith(b"\n") else text + b"\n"


def _compare(files: Sequence[_File], *, show: bool) -> ExitCode:
    changed = [file for file in files if file.before != file.after]
    for file in changed:
        if show:
            before, after = (text.decode("utf-8-sig").splitlines(keepends=True) for text in (file.before, file.after))
            lines = unified_diff(before, after, file.name, f"{file.name} (formatted)")
            sys.stdout.buffer.write("".join(line if line.endswith("\n") else f"{line}\n" for line in lines).encode())
        else:
            print(file.name)
    sys.stdout.flush()
    print(f"meshward: {len(changed)} of {len(files)} files would change", file=sys.stderr)
    return ExitCode.INVALID if changed else ExitCode.OK


def _write(files: Sequence[_File]) -> ExitCode:
    # What a link leads to is written, and once; the link stays.
    places = {Path(file.name).resolve(): file for file in files}
    changed = {path: file for path, file in places.items() if file.before != file.after}
    for path, file in changed.items():
        replace_file(path, file.before, file.after)
        print(file.name)
    sys.stdout.flush()
    print(f"meshward: {len(changed)} of {len(places)} files written", file=sys.stderr)
    return ExitCode.OK
