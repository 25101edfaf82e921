"""Colour on a terminal: in ward what a policy does, in an explanation what held and what did not."""

from typing import TextIO

from rich.console import Console
from rich.highlighter import RegexHighlighter
from rich.theme import Theme

__all__ = ["print_coloured", "print_explanation"]

_THEME = Theme(
    {
        "ward.name": "bold",
        "ward.allow": "green",
        "ward.deny": "red",
        "ward.other": "yellow",
        "ward.word": "dim",
        "ward.not": "bold magenta",
        "ward.text": "cyan",
    }
)


class _Ward(RegexHighlighter):
    """Finds the words by their places alone, so that it needs no parser, and never changes a character."""

    base_style = "ward."
    highlights = [  # noqa: RUF012  # rich declares it so
        r"(?m)^(?P<name>\S+/\S+) \(",
        r"(?m)^ *(?:policy|tokens|mtls) (?P<name>\S+) in ",
        r"(?m)^ *(?:or |dry-run )*(?P<allow>allow|accept)(?= |$)",
        r"(?m)^ *(?:or |dry-run )*(?P<deny>deny)(?= |$)",
        r"(?m)^ *(?:or |dry-run )*(?P<other>audit|custom)(?= |$)",
        r"(?P<other>\bdry-run\b)",
        r"(?P<not>\bbut not\b|\bnot\b)(?= \S+ in \[| in \[)",
        r"(?m)(?P<word>(?<= )(?:and|or|in|from|to|when)(?= |$))",
        r'(?P<text>"(?:[^"\\]|\\.)*")',
    ]


class _Explanation(RegexHighlighter):
    """Finds verdicts and signs by their places alone, so that nothing that a request says is coloured for one."""

    base_style = "ward."
    highlights = [  # noqa: RUF012  # rich declares it so
        r"\A(?P<allow>ALLOW \d+)",
        r"\A(?P<deny>DENY \d+)",
        r"(?m)^  (?P<word>(?:decided by|nearest|matched|to change|seen|also) +)",
        r"(?m)^ +(?:(?:or )?(?:from|to|when) +)?(?P<allow>✓)",
        r"(?m)^ +(?:(?:or )?(?:from|to|when) +)?(?P<deny>✗)",
        r"(?m)^      [✓✗] (?P<name>\S+)",
        r"(?m)(?P<word>  \(line \d+\)$)",
    ]


def print_coloured(text: str, terminal: TextIO) -> None:
    """Print ward in colours; its lines stay as they are, however long."""
    _print(text, terminal, _Ward())


def print_explanation(text: str, terminal: TextIO) -> None:
    """Print an explanation in colours; its lines stay as they are, however long."""
    _print(text, terminal, _Explanation())


def _print(text: str, terminal: TextIO, highlighter: RegexHighlighter) -> None:
    console = Console(file=terminal, theme=_THEME, highlighter=highlighter, soft_wrap=True, markup=False, emoji=False)
    console.print(text, end="")
