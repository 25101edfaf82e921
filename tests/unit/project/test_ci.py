"""The files for continuous integration say nothing that meshward does not know."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.main import whole_parser

ROOT = Path(__file__).parents[3]
HOOKS = ROOT / ".pre-commit-hooks.yaml"
ACTION = ROOT / "deploy/ci/github/action.yml"
WORKFLOW = ROOT / "deploy/ci/github/workflow.yml"
GITLAB = ROOT / "deploy/ci/gitlab.yml"
PARSER = whole_parser()
FILES = (HOOKS, ACTION, WORKFLOW, GITLAB)

# https://pre-commit.com/#creating-new-hooks
DEMANDED = {"id", "name", "entry", "language"}
KNOWN = DEMANDED | {"description", "args", "files", "pass_filenames", "types", "types_or", "exclude", "require_serial"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def commands(text: str) -> Iterator[list[str]]:
    """The command lines of meshward in a script, as a shell takes them apart."""
    for line in re.findall(r"^\s*(meshward .*)$", text, flags=re.MULTILINE):
        words = shlex.split(line)
        redirected = next((place for place, word in enumerate(words) if word in (">", ">>", "|", "&&")), None)
        yield words[1:redirected]


def scripts() -> Iterator[tuple[str, str]]:
    for hook in read(HOOKS):
        yield hook["id"], shlex.join([*shlex.split(hook["entry"]), *hook.get("args", ())])
    for step in read(ACTION)["runs"]["steps"]:
        yield step["name"], step["run"]
    for line in read(GITLAB)["meshward"]["script"]:
        yield "gitlab", line


CALLS = [(where, words) for where, script in scripts() for words in commands(script)]


@pytest.mark.parametrize(("where", "words"), CALLS, ids=str)
def test_every_command_is_one_that_meshward_takes(where: str, words: list[str]) -> None:
    assert PARSER.parse_args(words).command.name == words[0], where


def test_a_command_that_meshward_does_not_take_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        PARSER.parse_args(["lint", "--no-such-option", "policies"])
    assert "usage" in capsys.readouterr().err


def test_every_file_has_its_commands() -> None:
    assert {where for where, _ in CALLS} >= {"meshward-lint", "meshward-format", "lint", "who may call what", "gitlab"}


@pytest.mark.parametrize("hook", read(HOOKS), ids=lambda hook: str(hook["id"]))
def test_a_hook_has_what_pre_commit_demands_and_nothing_that_it_does_not_know(hook: dict[str, Any]) -> None:
    assert hook.keys() >= DEMANDED
    assert hook.keys() <= KNOWN
    assert re.compile(hook["files"]).search("policies/api.yaml")


def test_the_action_takes_nothing_from_its_inputs_into_a_script() -> None:
    action = read(ACTION)
    assert action["runs"]["using"] == "composite"
    for step in action["runs"]["steps"]:
        assert "${{" not in step["run"]
        assert step["shell"] == "bash"


def test_the_example_gives_the_action_inputs_that_it_has() -> None:
    (job,) = read(WORKFLOW)["jobs"].values()
    (ours,) = [step for step in job["steps"] if "/meshward/" in step["uses"]]
    assert f"/{ACTION.parent.relative_to(ROOT)}@" in ours["uses"]
    inputs = read(ACTION)["inputs"]
    assert ours["with"].keys() <= inputs.keys()
    assert {name for name, its in inputs.items() if its.get("required")} <= ours["with"].keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_says_first_what_it_is_for(path: Path) -> None:
    assert path.read_text().startswith("# ")
