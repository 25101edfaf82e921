"""Colour changes how a policy looks, and nothing of what it says."""

import io
import re

import pytest

from cli.colour import print_coloured
from parser.ward_printer import print_ward
from tests.laws.test_ward import SAMPLES

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    """What takes colours."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_a_coloured_policy_has_the_same_characters(terminal: Terminal) -> None:
    text = "\n".join(map(print_ward, SAMPLES)) + "[bold]no markup[/bold] :smile:\n"
    print_coloured(text, terminal)
    shown = terminal.getvalue()
    assert shown != text
    assert ESCAPE.sub("", shown) == text


def test_what_a_policy_does_and_what_turns_it_around_stand_out(terminal: Terminal) -> None:
    print_coloured("policy a in b\n  deny from not source.ip in [c]\n", terminal)
    assert re.search(r"\x1b\[31mdeny\x1b\[0m", terminal.getvalue())
    assert re.search(r"\x1b\[1;35mnot\x1b\[0m", terminal.getvalue())
