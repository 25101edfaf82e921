"""Colour for ward on a terminal: what a policy does, and the words that turn a meaning around, stand out."""

from typing import TextIO

from rich.console import Console
from rich.highlighter import RegexHighlighter
from rich.theme import Theme

__all__ = ["print_coloured"]

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


def print_coloured(text: str, terminal: TextIO) -> None:
    """Print `text` in colours; its lines stay as they are, however long."""
    console = Console(file=terminal, theme=_THEME, highlighter=_Ward(), soft_wrap=True, markup=False, emoji=False)
    console.print(text, end="")
