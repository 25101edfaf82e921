"""What a YAML parser complains about, in words that say what to do."""

import re
from typing import NamedTuple

import yaml

from parser.diagnostics import Diagnostic
from parser.source import Source
from parser.yaml_text import Chunk

__all__ = ["RENDER_FIRST", "TEMPLATE", "explain"]

TEMPLATE = "this is a template, not a manifest"
RENDER_FIRST = "render it first: `helm template … | meshward …`"

_TEMPLATE = re.compile(r"\{\{.*\}\}")


class _Known(NamedTuple):
    """A complaint of libyaml or PyYAML, by a part of its text, and what we say instead.

    `at_context` is for the complaints that notice far below what was begun.
    """

    part: str
    message: str
    help: str
    at_context: bool = False


_QUOTE = "close the quote; a single quote inside single quotes is written twice"
_BRACKET = "close the bracket, and put commas between the entries"
_INDENT = "check the indentation: what belongs together begins in the same column"
_QUOTE_IT = "put the value in quotes"
_SPACE = "after a key comes a colon and a space, and the keys of one mapping begin in the same column"

_KNOWN = (
    _Known("unexpected end of stream", "this quote is not closed", _QUOTE, at_context=True),
    _Known("unexpected document", "this quote is not closed", _QUOTE, at_context=True),
    _Known("expected ',' or ']'", "this list is not closed, or lacks a comma", _BRACKET, at_context=True),
    _Known("expected ',' or '}'", "this mapping is not closed, or lacks a comma", _BRACKET, at_context=True),
    _Known("expected node content", "expected a value", "put it in quotes, if it is text"),
    _Known(
        "mapping values are not allowed",
        "a mapping cannot begin here",
        f"{_INDENT}; or {_QUOTE_IT}, if the colon is text",
    ),
    _Known("could not find expected ':'", "this line is no `key: value`", _SPACE, at_context=True),
    _Known("expected '-' indicator", "expected another `- ` of this list", _INDENT),
    _Known("expected key", "expected another key of this mapping", f"{_INDENT}; nothing may follow a quoted value"),
    _Known("sequence entries are not allowed", "a list cannot begin here", "put `- ` in a line of its own"),
    _Known("cannot start any token", "a value cannot begin with this character", _QUOTE_IT),
    _Known("invalid Unicode", "this escape is no character", "write the character itself, or `\\U` with eight digits"),
    _Known(
        "escape c", "there is no such escape in double quotes", "write the character itself, or a backslash as `\\\\`"
    ),
    _Known("undefined tag handle", "this tag is not read", "remove it, or put the value in quotes"),
    _Known("alphabetic or numeric", "expected a name after `&` or `*`", _QUOTE_IT),
    _Known("expected <document start>", "expected the end of the document", "put `---` between documents"),
    _Known("directive", "this directive is not read", "remove the line; manifests need no directives"),
    _Known("comment or line break", "nothing may follow `|` or `>` in its line", "begin the text in the next line"),
)


def explain(error: Exception, source: Source, chunk: Chunk) -> Diagnostic:
    """The diagnostic for what a YAML parser raised in the document that is `chunk` of `source`."""
    text = source.text
    at, context, complaint = _marks(error, chunk)
    tab = _tab(text, chunk, at)
    if tab is not None:
        message = "a tab where indentation is expected"
        return Diagnostic("tab", message, source.span(tab, tab + 1), help="indent with spaces")
    known = next((entry for entry in _KNOWN if entry.part in complaint), None)
    if known is not None and known.at_context:
        at = context
    span = source.span(at, min(at + 1, chunk.end))
    if _TEMPLATE.search(text, chunk.start, chunk.end) is not None:
        return Diagnostic("template", TEMPLATE, span, help=RENDER_FIRST)
    if known is None:
        return Diagnostic("yaml-syntax", complaint, span)
    return Diagnostic("yaml-syntax", known.message, span, help=known.help)


def _marks(error: Exception, chunk: Chunk) -> tuple[int, int, str]:
    """Where it was noticed, where that began, and the parser's words."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return chunk.start, chunk.start, "not readable as YAML"
    mark, context = error.problem_mark, error.context_mark
    at = chunk.start if mark is None else min(chunk.start + mark.index, chunk.end)
    began = at if context is None else min(chunk.start + context.index, chunk.end)
    return at, began, error.problem or "not readable as YAML"


def _tab(text: str, chunk: Chunk, at: int) -> int | None:
    """The position of the tab that spoils the indentation of the line of `at`."""
    begin = max(text.rfind("\n", chunk.start, at), text.rfind("\r", chunk.start, at), chunk.start - 1) + 1
    position = begin
    while position < chunk.end and text[position] == " ":
        position += 1
    return position if text.startswith("\t", position) and position < chunk.end else None
