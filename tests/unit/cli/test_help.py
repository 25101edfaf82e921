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


ROOT = Path(__file__).parents[3]
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


PROVES = ("pysat", "authz.analysis", "mesh.proving")
HEAVY = [
    *(
        "aiohttp",
        "alembic",
        "asyncio",
        "cryptography",
        "email",
        "fastapi",
        "google",
        "grpc",
        "h11",
        "http",
        "httpx",
        "jinja2",
    ),
    *(
        "junitparser",
        "jwt",
        "lark",
        "multiprocessing",
        "prometheus_client",
        "pydantic",
        "pysat",
        "rich",
        "shtab",
        "sqlalchemy",
    ),
    *("ssl", "starlette", "tenacity", "uvicorn", "uvloop", "watchfiles"),
    *("authn.jwk_reading", "authz.analysis", "ca", "extauthz.server", "mesh.access", "mesh.proving", "mesh.testing"),
]
"""What no request without a token, no policy and no help needs."""
MANIFESTS = [
    "yaml",
    "orjson",
    "authn",
    "authz.tree",
    "mesh.directory",
    "mesh.deciding",
    "parser.manifests",
    "parser.yaml_nodes",
]
"""What only who reads manifests needs."""


@pytest.mark.parametrize(
    ("line", "unwanted"),
    [
        ("check policies/shop --request examples/denied.json", [*HEAVY, "cli.showing", "mesh.view"]),
        # It proves, and has a solver for that.
        ("lint policies/shop", [each for each in HEAVY if each not in PROVES]),
        ("--help", [*HEAVY, *MANIFESTS]),
        ("--version", sorted({*HEAVY, *MANIFESTS} - {"email"})),  # metadata of packages are mail
    ],
)
def test_a_verb_loads_no_more_than_it_needs(line: str, unwanted: list[str]) -> None:
    script = f"""
import sys
from cli.main import main
try:
    main({shlex.split(line)!r})
except SystemExit:
    pass
print([name for name in {unwanted!r} if name in sys.modules], file=sys.stderr)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT)  # noqa: S603  # ours
    assert done.stderr.splitlines()[-1] == "[]"
