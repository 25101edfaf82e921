"""What the ward parser complains about, in words that say what to do."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from lark import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from authz.keys import KEYS, OPERATION_FIELDS, SOURCE_FIELDS, key_of
from authz.model import field_name
from parser.diagnostics import Diagnostic, quoted
from parser.problems import nearest
from parser.source import Source
from parser.ward_words import TERMINALS

__all__ = ["explain", "near_attribute"]

_FOUND = re.compile(r'"[^"\\\r\n]*+(?:\\.[^"\\\r\n]*+)*+"|[=!<>~]+|[^\s\[\](),="#]+(?:\[[^\s\[\]"]+\])*|.', re.DOTALL)
_STATEMENTS = frozenset(("_POLICY", "_TOKENS", "_MTLS", "$END"))
# Words that may stand where Istio then refuses what they mean.
_USELESS = frozenset(("ANYONE", "ANYTHING"))

# What other languages write, and ward does not.
_OTHERS = {
    "&&": "write `and`",
    "&": "write `and`",
    "||": "write `or`",
    "|": "write `or`",
    "!": "write `not`",
    "{": "texts that are more than a word stand in double quotes",
    "#": "a comment begins after a space; in a value, `#` stands in double quotes",
    "if": "write `when`",
    "unless": "write `and not …`",
    "except": "write `but not in […]`",
}
_COMPARISONS = ("=", "==", "!=", ":", "~", "is", "are", "equals", "matches", "has")
_SHORT = 64
_LAST_WORD = re.compile(r"(\S+)\s*\Z")
_VERB = re.compile(r"\b(?:allow|deny|audit|custom)\b")
_MANY = 10


class _Mistake(NamedTuple):
    """What is found, the word behind which it is, either any if empty; what may stand there instead; and what to do."""

    found: tuple[str, ...]
    behind: str
    expected: str
    remedy: str


_MISTAKES = (
    _Mistake(_COMPARISONS, "", "_IN", 'write `in ["value"]`'),
    _Mistake((), "", "LSQB", "values stand in brackets: `[{word}]`"),
    _Mistake(("or",), "", "RPAR", "put what belongs together in parentheses: `((… and …) or …)`"),
    _Mistake(
        (),
        "or",
        "ALLOW",
        "each rule says what it does: `or {verb} …`; alternatives within one stand in parentheses: `to (… or …)`",
    ),
    _Mistake(("(",), "not", "KEY", "say it of each attribute: `not … in […] and not … in […]`"),
)

# The attributes, by the last word of their names and by the fields of documents that read them.
_ATTRIBUTES: Mapping[str, str] = {
    **{key.rstrip(".").rpartition(".")[2]: key for key in KEYS},
    **{
        field_name(prefix + field): attribute.key
        for field, attribute in {**SOURCE_FIELDS, **OPERATION_FIELDS}.items()
        for prefix in ("", "not_")
    },
    **{key: key for key in KEYS},
}


def explain(error: UnexpectedInput, source: Source, offset: int) -> Diagnostic:
    """The diagnostic for what the parser raised in the part of `source` that begins at `offset`."""
    allowed: frozenset[str] = frozenset()
    if isinstance(error, UnexpectedToken):
        allowed = frozenset(error.accepts)
        if error.token.type == "$END":
            end = offset + (error.token.end_pos or 0)
            message = f"expected {_list(allowed) or 'more'}, got the end of the statement"
            return Diagnostic("ward-syntax", message, source.span(end, end), help=_at_end(allowed))
    elif isinstance(error, UnexpectedCharacters):
        allowed = frozenset(error.allowed)
    start = offset + error.pos_in_stream  # type: ignore[operator]  # declared as None, and set by both
    found = _FOUND.match(source.text, start)
    word = "" if found is None else found[0]
    span = source.span(start, start + len(word))
    if word == '"':
        remedy = 'close it in the same line with `"`; in it, write a quote as `\\"` and a line break as `\\n`'
        return Diagnostic("ward-syntax", "this text is not closed", span, help=remedy)
    expected = _list(allowed)
    message = f"expected {expected}, got {quoted(word)}" if expected else f"{quoted(word)} cannot stand here"
    short = word if len(word) <= _SHORT else word[: _SHORT - 1] + "…"
    return Diagnostic("ward-syntax", message, span, help=_remedy(short, allowed, source.text[offset:start]))


def near_attribute(word: str) -> str | None:
    """The attribute that `word` was most likely meant to be."""
    name, bracket, argument = word.partition("[")
    near = nearest(name, _ATTRIBUTES)
    return None if near is None else _ATTRIBUTES[near].rstrip(".") + bracket + argument


def _list(allowed: frozenset[str]) -> str:
    """The terminals in words; nothing where there are more than anybody reads."""
    names = [name for name in TERMINALS if name in allowed - _STATEMENTS - _USELESS]
    words = [TERMINALS[name] for name in names if name != "STRING" or not {"WORD", "KEY"} & allowed]
    if "RSQB" in allowed:
        words = ["a value" if word == TERMINALS["WORD"] else word for word in words]
    if statements := allowed & _STATEMENTS:
        others = [TERMINALS[name] for name in TERMINALS if name in statements and name != "$END"]
        words += others if not words else ["the next policy"]
    return "" if len(words) > _MANY else " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _remedy(word: str, allowed: frozenset[str], before: str) -> str | None:
    """What to do about a word that cannot stand behind the text `before` it."""
    if word in _OTHERS:
        return _OTHERS[word]
    last, verb = _LAST_WORD.search(before[-_SHORT:]), _VERB.search(before)
    for mistake in _MISTAKES:
        behind = mistake.behind in ("", last and last[1])
        if word in (mistake.found or (word,)) and behind and mistake.expected in allowed:
            return mistake.remedy.format(word=word, verb=verb[0] if verb else "allow")
    if word.lower().startswith(("apiversion", "kind:", "---")):
        return "this is YAML: let the file's name end in `.yaml`"
    if "FROM" in allowed and (half := _half(word)) is not None:
        return f"write `{half} {word} …`"
    if word.startswith("'"):
        return "texts stand in double quotes"
    if not word.isascii():
        return "put it in double quotes" if word.isprintable() else "remove it; between words stand spaces"
    if "KEY" in allowed and (attribute := near_attribute(word.rstrip(":"))) is not None:
        return f"did you mean `{attribute}`?"
    near = nearest(word, (TERMINALS[name].strip("`") for name in allowed if TERMINALS.get(name, "").startswith("`")))
    return None if near is None else f"did you mean `{near}`?"


def _half(word: str) -> str | None:
    """The part of a rule in which the attribute `word` is asked for."""
    if any(attribute.key == word for attribute in SOURCE_FIELDS.values()):
        return "from"
    if any(attribute.key == word for attribute in OPERATION_FIELDS.values()):
        return "to"
    return None if key_of(word) is None else "when"


def _at_end(allowed: frozenset[str]) -> str | None:
    if "_NOTHING" in allowed:
        return "for every request write `everything`, for none `nothing`"
    return "say what it does: `allow`, `deny`, `audit` or `custom by …`" if "ALLOW" in allowed else None
