import json

import pytest

from authz.span import Span
from parser.diagnostics import Diagnostic, PolicySyntaxError, Severity, quoted, render, to_data


def shown(text: str, column: int, end_column: int, *, line: int = 1, end_line: int | None = None) -> list[str]:
    span = Span("f.yaml", line, column, line if end_line is None else end_line, end_column)
    return render(Diagnostic("code", "message", span), text).split("\n")


def test_a_diagnostic_shows_place_excerpt_caret_and_remedy() -> None:
    text = "\n" * 6 + '    when source.princpal == "spiffe://example.org/web"\n'
    message = "unknown key `source.princpal`"
    span = Span("policies/orders.policy", 7, 10, 7, 25)
    diagnostic = Diagnostic("unknown-key", message, span, help="did you mean `source.principal`?")
    assert render(diagnostic, text) == (
        "policies/orders.policy:7:10: error[unknown-key]: unknown key `source.princpal`\n"
        '    7 |     when source.princpal == "spiffe://example.org/web"\n'
        "      |          ^^^^^^^^^^^^^^^\n"
        "  help: did you mean `source.principal`?"
    )


def test_without_the_source_only_the_message_and_the_help_are_shown() -> None:
    diagnostic = Diagnostic("c", "m", Span("f", 3, 1, 3, 2), help="h", severity=Severity.WARNING)
    assert render(diagnostic, None) == "f:3:1: warning[c]: m\n  help: h"


def test_a_place_beyond_the_source_shows_no_excerpt() -> None:
    assert shown("a\n", 1, 2, line=9) == ["f.yaml:9:1: error[code]: message"]


def test_an_empty_span_gets_one_caret() -> None:
    assert shown("a:\n", 3, 3)[2] == "      |   ^"


def test_a_span_of_several_lines_is_marked_to_the_end_of_the_first() -> None:
    assert shown("a: b\nc: d\n", 1, 5, end_line=2)[1:] == ["    1 | a: b", "      | ^^^^"]


def test_an_empty_line_is_shown_without_trailing_space() -> None:
    assert shown("a\n\nb\n", 1, 1, line=2)[1:] == ["    2 |", "      | ^"]


def test_carets_line_up_behind_tabs() -> None:
    _, line, carets = shown("\t\tkey: x\n", 3, 6)
    assert line[carets.index("^") :].startswith("key")


def test_carets_line_up_behind_wide_and_combining_characters() -> None:
    _, line, carets = shown("日本e\u0301: x\n", 7, 8)
    # Two cells each for the first two, none for the accent.
    assert carets.index("^") == len("    1 | ") + 2 + 2 + 1 + 0 + 2
    assert line.endswith("x")


def test_no_control_character_of_a_document_reaches_the_terminal() -> None:
    hostile = "".join(map(chr, [*range(0x20), 0x7F, *range(0x80, 0xA0), 0x202E, 0x2066, 0x200B, 0xFEFF, 0xE000]))
    span = Span(hostile, 1, 1, 1, 5)
    out = render(Diagnostic("c", hostile, span, help=hostile), hostile.replace("\n", "").replace("\r", ""))
    assert all(character.isprintable() or character == "\n" for character in out)
    assert out.count("\n") == 3


def test_an_escape_sequence_is_shown_and_carets_count_what_is_shown() -> None:
    _, line, carets = shown("\x1b[31m: x\u202e\n", 9, 10)
    assert line == "    1 | ␛[31m: x<U+202E>"
    assert carets == "      |         ^^^^^^^^"


def test_a_long_line_is_cut_around_the_caret() -> None:
    _, line, carets = shown("a" * 5000 + "KEY" + "b" * 5000, 5001, 5004)
    assert len(line) < 140
    assert line.startswith("    1 | …a")
    assert line.endswith("b…")
    assert line[carets.index("^") : carets.rindex("^") + 1] == "KEY"


def test_a_lone_carriage_return_ends_a_line_and_is_not_shown() -> None:
    assert shown("a: b\rc: d\r", 1, 2, line=2)[1] == "    2 | c: d"


def test_data_of_a_diagnostic_is_json() -> None:
    diagnostic = Diagnostic("c", "m", Span("f", 1, 2, 3, 4), severity=Severity.WARNING)
    assert json.loads(json.dumps(to_data(diagnostic))) == {
        "severity": "warning",
        "code": "c",
        "message": "m",
        "file": "f",
        "line": 1,
        "column": 2,
        "end_line": 3,
        "end_column": 4,
        "help": None,
    }


def test_an_error_names_the_first_problem_and_counts_the_others() -> None:
    first = Diagnostic("a", "first", Span("f", 1, 1, 1, 1))
    second = Diagnostic("b", "second", Span("f", 2, 1, 2, 1))
    assert str(PolicySyntaxError([first])) == "f:1:1: first"
    assert str(PolicySyntaxError([first, second])) == "f:1:1: first, and 1 more"
    assert PolicySyntaxError([first, second]).diagnostics == (first, second)


@pytest.mark.parametrize(("text", "cut"), [("a", "`a`"), ("a\nb", "`a␊b`"), ("x" * 100, "`" + "x" * 79 + "…`")])
def test_text_in_messages_is_one_short_line(text: str, cut: str) -> None:
    assert quoted(text) == cut
