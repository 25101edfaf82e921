"""What the documentation shows, and what each verb prints, is what happens."""

from pathlib import Path

import pytest

from cli.command import Command
from cli.main import COMMANDS
from tests.golden.transcripts import Step, agrees, documented_steps, run, steps_in

HERE = Path(__file__).parent
GOLDEN = [step for page in sorted(HERE.glob("*.txt")) for step in steps_in(page.read_text(), page.name)]


@pytest.mark.parametrize("step", [*documented_steps(), *GOLDEN], ids=lambda step: f"{step.source}: {step.command[:60]}")
def test_a_command_prints_what_its_transcript_says(step: Step) -> None:
    printed = run(step.command)
    assert agrees(step.expected, printed), "\n".join(printed)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_each_verb_has_a_golden_transcript(command: Command) -> None:
    assert (HERE / f"{command.name}.txt").exists()


def test_a_transcript_that_is_wrong_is_noticed() -> None:
    assert agrees(("a", "…", "d"), ("a", "b", "c", "d"))
    assert agrees(("revision …",), ("revision 12",))
    assert not agrees(("a", "d"), ("a", "b", "d"))
    assert not agrees(("a.",), ("ab",))
    assert not agrees(("a",), ())
    assert not agrees((), ("a",))
