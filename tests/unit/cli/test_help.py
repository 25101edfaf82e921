"""What every verb says about itself, and what shells make of it."""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.command import Command, Group
from cli.main import COMMANDS, whole_parser


def all_verbs(
    commands: tuple[Command | Group, ...] = COMMANDS, before: str = "meshward"
) -> Iterator[tuple[str, Command]]:
    for command in commands:
        name = f"{before} {command.name}"
        if isinstance(command, Group):
            yield from all_verbs(command.verbs(), name)
        else:
            yield name, command


VERBS = dict(all_verbs())
PARSER = whole_parser()


@pytest.mark.parametrize("name", VERBS)
def test_the_help_of_a_verb_ends_with_an_example_that_it_takes(name: str) -> None:
    _, _, example = (VERBS[name].epilog or "").partition("example:")
    # What comes before a pipe, or around it, is the shell's.
    line = example.strip().splitlines()[0].removeprefix('eval "$(').removesuffix(')"').rpartition("| ")[2]
    assert line.startswith(name)
    assert PARSER.parse_args(shlex.split(line)[1:]).command.name == VERBS[name].name


def test_there_are_verbs_of_the_authority_among_them() -> None:
    assert "meshward ca entry create" in VERBS


def completed(words: list[str]) -> set[str]:
    """What bash offers for the last of `words`."""
    script = f"""
source <({shlex.quote(f"{Path(sys.executable).parent}/meshward")} completion bash)
COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}
_shtab_meshward; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603, S607  # ours
    return set(done.stdout.split())


def test_bash_completes_verbs_options_and_the_verbs_of_the_authority() -> None:
    assert completed(["meshward", "sh"]) == {"show"}
    assert completed(["meshward", "show", "--ma"]) == {"--matrix"}
    assert completed(["meshward", "ca", "entry", "c"]) == {"create"}


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh"])
def test_other_shells_are_told_of_every_verb(shell: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    from cli.main import main  # noqa: PLC0415  # as the command does

    assert main(["completion", shell]) == 0
    said = capfdbinary.readouterr().out.decode()
    assert all(command.name in said for command in COMMANDS)


def test_the_whole_parser_knows_what_the_usual_one_does() -> None:
    def verbs(parser: argparse.ArgumentParser) -> set[str]:
        (action,) = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
        return set(action.choices)

    assert verbs(PARSER) == {command.name for command in COMMANDS}


def test_what_draws_and_proves_is_not_loaded_by_who_only_decides() -> None:
    dear = ["alembic", "fastapi", "grpc", "jinja2", "pysat", "rich", "shtab", "mesh.access", "mesh.proving"]
    script = f"import sys, cli.main; print([name for name in {dear!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603  # ours
    assert done.stdout.strip() == "[]"
