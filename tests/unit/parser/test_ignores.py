"""Comments that pass over findings, and which lines they are about."""

from textwrap import dedent

import pytest

from parser.ignores import ignores_in

POLICY = dedent("""\
    apiVersion: security.istio.io/v1
    kind: AuthorizationPolicy
    metadata: {name: a}
    spec:
      rules:
        - {}
    """)


def lines(text: str, file: str = "f.yaml") -> list[tuple[tuple[str, ...], str, int, int]]:
    found = ignores_in(text.encode(), file)
    return [(each.codes, each.reason, each.first_line, each.last_line) for each in found]


def test_beside_a_value_it_is_about_its_line() -> None:
    text = POLICY.replace("- {}", "- {}  # meshward-ignore: wide-allow as agreed")
    assert lines(text) == [(("wide-allow",), "as agreed", 6, 6)]


def test_on_a_line_of_its_own_it_is_about_the_next_one_with_something_in_it() -> None:
    text = POLICY.replace(
        "    - {}", "    # meshward-ignore: a one\n    # meshward-ignore: b two\n\n    # other\n    - {}"
    )
    assert lines(text) == [(("a",), "one", 10, 10), (("b",), "two", 10, 10)]


def test_above_a_document_it_is_about_all_of_it() -> None:
    comment = "# meshward-ignore: a one\n"
    text = f"{comment}{POLICY}---\n# two\n{comment}{POLICY}"
    assert lines(text) == [(("a",), "one", 2, 7), (("a",), "one", 11, 16)]
    assert lines(f"{comment}---\n{POLICY}") == [(("a",), "one", 3, 8)]


def test_at_the_end_of_a_file_it_is_about_nothing() -> None:
    assert lines(f"{POLICY}# meshward-ignore: a one\n") == [(("a",), "one", 0, 0)]


@pytest.mark.parametrize(
    ("comment", "codes", "reason"),
    [
        ("# meshward-ignore: wide-allow", ("wide-allow",), ""),
        ("#meshward-ignore: wide-allow,dead-value why", ("wide-allow", "dead-value"), "why"),
        ("# meshward-ignore: wide-allow: why", ("wide-allow",), "why"),
        ("# meshward-ignore: wide-allow, because", ("wide-allow",), "because"),
        ("# meshward-ignore: wide-allow — why", ("wide-allow",), "why"),
        ("# meshward-ignore:", (), ""),
        ("# meshward-ignore: WIDE", (), "WIDE"),
    ],
)
def test_the_code_comes_first_and_the_reason_behind_it(comment: str, codes: tuple[str, ...], reason: str) -> None:
    ((found, why, _, _),) = lines(f"a: 1 {comment}\n")
    assert (found, why) == (codes, reason)


def test_what_is_no_comment_says_nothing() -> None:
    assert lines('a: "# meshward-ignore: a b"\nb: |\n  # meshward-ignore: a b\n') == []
    assert lines("a: b # see meshward-ignore: a b\n") == []


def test_in_ward_above_a_statement_it_is_about_all_of_it() -> None:
    text = dedent("""\
        # meshward-ignore: a one
        policy p in shop
          allow everything  # meshward-ignore: b two

        policy q in shop
          # meshward-ignore: c three
          allow everything
        """)
    assert lines(text, "f.ward") == [(("a",), "one", 2, 3), (("b",), "two", 3, 3), (("c",), "three", 7, 7)]


def test_a_file_that_cannot_be_read_has_none() -> None:
    assert ignores_in(b"\xff meshward-ignore: a b", "f.yaml") == ()
