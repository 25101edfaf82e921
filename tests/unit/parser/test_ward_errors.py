"""What is wrong with ward, where, and what to do about it: each row is a mistake, what is marked, and words that must be said."""

import pytest

from parser.diagnostics import Diagnostic, Severity
from parser.manifests import parse_manifests
from tests.unit.parser.documents import marked

RULE = "policy a in b allow "

SYNTAX = [
    ("polcy a in b allow nothing", "polcy", "did you mean `policy`?"),
    ("policy a shop allow nothing", "shop", "expected `in`"),
    ("policy a in b alow nothing", "alow", "did you mean `allow`?"),
    ("policy a in b allow", "", "for every request write `everything`"),
    ("policy a in b for app=api", "", "say what it does"),
    ("policy a in b for app allow nothing", "allow", "expected `=`"),
    (RULE + "evrything", "evrything", "did you mean `everything`?"),
    (RULE + "request.path in [c]", "request.path", "write `to request.path …`"),
    (RULE + "source.ip in [c]", "source.ip", "write `from source.ip …`"),
    (RULE + "request.headers[x] in [c]", "request.headers[x]", "write `when request.headers[x] …`"),
    (RULE + "to path in [c]", "path", "did you mean `request.path`?"),
    (RULE + "to notPaths in [c]", "notPaths", "did you mean `request.path`?"),
    (RULE + "from principals in [c]", "principals", "did you mean `source.principal`?"),
    (RULE + "to request.path == c", "==", 'write `in ["value"]`'),
    (RULE + "to request.path matches c", "matches", 'write `in ["value"]`'),
    (RULE + 'to request.path in "/c"', '"/c"', 'values stand in brackets: `["/c"]`'),
    (RULE + "to request.path in ['c']", "'c'", "double quotes"),
    (RULE + 'to request.path in ["c]', '"', "close it in the same line"),
    (RULE + "to request.path in [c d]", "d", "expected `]` or `,`"),
    (RULE + "to request.path in [c]#d", "#", "a comment begins after a space"),
    (RULE + "to request.path in [ä]", "ä", "put it in double quotes"),
    (RULE + "to\u00a0request.path in [c]", "\u00a0", "between words stand spaces"),
    (RULE + "to request.path in [c] && request.method in [d]", "&&", "write `and`"),
    (RULE + "to request.path in [c] unless source.ip in [d]", "unless", "write `and not …`"),
    (RULE + "to not (request.path in [c])", "(", "say it of each attribute"),
    (
        RULE + "to (request.path in [c] and request.method in [d] or request.path in [e])",
        "or",
        "put what belongs together",
    ),
    (RULE + "to request.path in [c] or request.path in [d]", "request.path", "`or allow …`"),
    ("policy a in b deny to request.path in [c] or request.path in [d]", "request.path", "`or deny …`"),
    ("apiVersion: v1", "apiVersion:", "let the file's name end in `.yaml`"),
    ("mtls a in b strct", "strct", "did you mean `strict`?"),
    ("mtls a in b", "", "`strict`, `permissive`, `disable` or `unset`"),
    ("tokens a in b accept c", "c", "expected `any` or `issuer`"),
    ("tokens a in b accept issuer c found in header d or parameter e", "parameter", "expected `accept`"),
    ("tokens a in b accept issuer c timeout 5m", "5m", "a duration"),
]

SAID = [
    (RULE + "from source.princpal in [c]", "unknown-key", "source.princpal", "did you mean `source.principal`?"),
    (RULE + "from a.b in [c]", "unknown-key", "a.b", "known here: `source.principal`"),
    (RULE + "from request.path in [c]", "misplaced-key", "request.path", "write `and to request.path …`"),
    (RULE + "to source.ip in [c]", "misplaced-key", "source.ip", "write `and from source.ip …`"),
    (RULE + "to request.auth.claims[c] in [d]", "misplaced-key", "request.auth.claims[c]", "write `and when request"),
    (RULE + "from anything", "misplaced-word", "anything", "write `anyone`"),
    (RULE + "from source.ip in []", "empty-list", "[]", "leave the clause out"),
    (RULE + "when source.ip in [c] but not in []", "empty-list", "[]", "leave the clause out"),
    (RULE + "from source.ip in [c] and from source.ip in [d]", "said-twice", "from", "`from (… or …)`"),
    (
        RULE + "from source.ip in [c] and source.ip in [d]",
        "said-twice",
        "source.ip in [d]",
        "put the values into one list",
    ),
    (RULE + "when (source.ip in [c])", "bad-condition", "(source.ip in [c])", "no parentheses"),
    (RULE + "from (source.ip in [c]) and source.ip in [d]", "no-marker", "source.ip in [d]", "begin another part"),
    (RULE + "nothing or allow everything", "nothing-and-more", "allow nothing", "remove it"),
    (RULE + "everything or deny everything", "several-actions", "deny everything", "write `or allow`"),
    (
        "policy a in b custom by c everything or custom by d everything",
        "several-actions",
        "custom by d everything",
        "own",
    ),
    (RULE + r'to request.path in ["\q"]', "bad-escape", r'"\q"', "write `\\\\` for a backslash"),
    (RULE + r'to request.path in ["\u12"]', "bad-escape", r'"\u12"', "four digits"),
    (RULE + r'to request.path in ["\ud800"]', "bad-escape", r'"\ud800"', "four digits"),
    ("policy a in b for c=d and c=e allow nothing", "said-twice", "c=e", "keep one of them"),
    ('tokens a in b accept issuer ""', "empty-value", '""', "write `any issuer`, if that is meant"),
    ('tokens a in b accept issuer c keys ""', "empty-value", '""', "leave the word out"),
    ("tokens a in b accept issuer c audience in []", "empty-list", "[]", "leave the clause out"),
    ("tokens a in b accept issuer c timeout 5s timeout 6s", "said-twice", "timeout 6s", "keep one of them"),
    ("mtls a in b for c=d strict but port 1 strict but port 1 disable", "said-twice", "but port 1 disable", "keep one"),
]

MEANT = [
    ("policy a in b deny nothing", "no-rules", "a", "write `everything`, if it is for every request"),
    ("policy a in b custom everything", "missing-provider", "a", "write `custom by …`"),
    ("policy a in b allow by c everything", "unexpected-provider", "by c", "remove `by …`, or write `custom`"),
    ("policy a in b dry-run audit everything", "dry-run-unsupported", "dry-run", "remove `dry-run`"),
    ("policy a in b for c=d at Gateway e allow nothing", "several-targets", "at Gateway e", "keep one of them"),
    ("policy a in b at Gateway c in d allow nothing", "foreign-target", "d", "remove `in …`"),
    ("policy a in b at Pod c allow nothing", "unknown-target", "Pod", "core/Service"),
    (RULE + "from anyone", "empty-source", "anyone", "leave `from` out"),
    (RULE + "to (request.path in [c] or anything)", "empty-operation", "anything", "leave `to` out"),
    (RULE + "when c.d in []", "missing-values", "c.d in []", "leave the condition out"),
    (RULE + 'when "" in [c]', "missing-key", '""', "name the attribute"),
    (RULE + "when request.path in [c]", "unknown-key", "request.path", "write it as `request.path` behind `to`"),
    (RULE + "when destination.labels[c] in [d]", "retired-key", "destination.labels[c]", "write the labels behind `for`"),
    (RULE + "to destination.port in [http]", "bad-value", "http", "list the ports one by one"),
    ("mtls a in b strict but port 80 strict", "ports-without-selector", "but port 80 strict", "`for app=…`"),
    ("tokens a in b accept issuer c timeout 0.0001s", "bad-duration", "0.0001s", "`0.5s` or `5s`"),
    ('tokens a in b accept issuer c keys at https://d keys "{}"', "two-key-sets", '"{}"', "keep one"),
]  # fmt: skip


def problems(text: str) -> list[Diagnostic]:
    found = parse_manifests([("f.ward", text.encode())])
    return [each for each in found.diagnostics if each.severity is Severity.ERROR]


@pytest.mark.parametrize(("text", "mark", "words"), SYNTAX)
def test_what_cannot_stand_where_it_does_is_said(text: str, mark: str, words: str) -> None:
    (problem,) = problems(text)
    assert (problem.code, marked(text, problem)) == ("ward-syntax", mark)
    assert words in f"{problem.message}\n{problem.help}"


@pytest.mark.parametrize(("text", "code", "mark", "words"), [*SAID, *MEANT])
def test_what_cannot_be_meant_is_said_in_the_words_of_ward(text: str, code: str, mark: str, words: str) -> None:
    problem = next(each for each in problems(text) if each.code == code)
    assert marked(text, problem) == mark
    assert words in (problem.help or "")


def test_messages_call_an_attribute_by_the_word_that_was_written() -> None:
    (problem,) = problems(RULE + "from not source.ip in [c]")
    assert problem.message == "`c` in `source.ip` is not an IP address or a CIDR range"


def test_the_warnings_of_documents_are_given_too() -> None:
    found = parse_manifests([("f.ward", b"policy a in b for all deny to request.method in [PUT]")])
    assert {each.code for each in found.diagnostics} == {"empty-selector", "denies-all-tcp"}
    assert len(found.policies) == 1


def test_a_broken_statement_does_not_hide_the_others() -> None:
    text = """\
policy a in shop
  allow to request.path in [
policy b in shop
  alow everything
policy c in shop
  allow from source.ip in [d]
policy e in shop
  allow nothing
"""
    found = parse_manifests([("f.ward", text.encode())])
    assert [(each.span.line, each.code) for each in found.diagnostics] == [
        (2, "ward-syntax"),
        (4, "ward-syntax"),
        (6, "bad-value"),
    ]
    assert [policy.name for policy in found.policies] == ["e"]


def test_a_value_at_the_start_of_a_line_does_not_begin_a_statement() -> None:
    found = parse_manifests([("f.ward", b"policy a in b\nallow to request.path in [c,\npolicy, tokens,\nmtls\n]")])
    assert not found.errors
    assert found.policies[0].rules[0].operations[0].paths == ("c", "policy", "tokens", "mtls")


@pytest.mark.parametrize("character", ["\0", "\x1b", "\x7f", "\x85", "\u2028", "\u202e", "\u2066", "\ufeff"])
@pytest.mark.parametrize("text", ["policy a in b # {}\n allow nothing", 'policy "{}" in b allow nothing'])
def test_a_character_that_hides_what_is_there_is_refused(text: str, character: str) -> None:
    found = parse_manifests([("f.ward", text.format(character).encode())])
    (problem,) = found.diagnostics
    assert (problem.code, problem.span.line) == ("control-character", 1)
    assert f"\\u{ord(character):04x}" in (problem.help or "")
    assert not found.policies
