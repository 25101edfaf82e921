"""Fixing changes entries of lists, and nothing else to the letter."""

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.span import Span
from parser.edits import Addition, Edit, Removal
from parser.fixing import fixed

FLOW = "rules: [a, b, c]  # three\n"


def at(text: str, written: str, *, nth: int = 0, file: str = "f.yaml") -> Span:
    """The place of the nth occurrence of what is written."""
    position = -1
    for _ in range(nth + 1):
        position = text.index(written, position + 1)
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    return Span(file, line, column, line, column + len(written))


def after(text: str, *edits: Edit, file: str = "f.yaml") -> str:
    return fixed(text.encode(), file, edits).decode()


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("a", "rules: [b, c]  # three\n"),
        ("b", "rules: [a, c]  # three\n"),
        ("c", "rules: [a, b]  # three\n"),
    ],
)
def test_an_entry_between_brackets_goes_with_its_comma(written: str, left: str) -> None:
    assert after(FLOW, Removal(at(FLOW, written))) == left


def test_an_entry_behind_a_dash_goes_with_its_line() -> None:
    text = "rules:\n  # the first\n  - a\n  - b  # why b\n  - c\n"
    assert after(text, Removal(at(text, "a"))) == "rules:\n  # the first\n  - b  # why b\n  - c\n"
    assert after(text, Removal(at(text, "c"))) == "rules:\n  # the first\n  - a\n  - b  # why b\n"
    # What was said beside it stays.
    assert after(text, Removal(at(text, "b"))) == "rules:\n  # the first\n  - a\n  # why b\n  - c\n"


def test_an_entry_is_put_behind_another() -> None:
    assert after(FLOW, Addition(at(FLOW, "a"), "x")) == "rules: [a, x, b, c]  # three\n"
    text = "rules:\n  - a  # first\n  - b"
    assert after(text, Addition(at(text, "a"), "/x")) == "rules:\n  - a  # first\n  - /x\n  - b"
    assert after(text, Addition(at(text, "b"), "/x")) == "rules:\n  - a  # first\n  - b\n  - /x"


def test_lines_end_as_the_others_do() -> None:
    text = "rules:\r\n  - a\r\n  - b\r\n"
    assert after(text, Addition(at(text, "a"), "x")) == "rules:\r\n  - a\r\n  - x\r\n  - b\r\n"
    assert after(text, Removal(at(text, "a"))) == "rules:\r\n  - b\r\n"


@pytest.mark.parametrize(
    ("beside", "value", "written"),
    [
        ("a", "x", "x"),
        ("'a'", "x", "'x'"),
        ('"a"', "x", '"x"'),
        ("a", "*x", '"*x"'),
        ("a", "/x/{*}", '"/x/{*}"'),
        ("'a'", "it's", '"it\'s"'),
        ("a", "x: y", '"x: y"'),
        ("a", "true", '"true"'),
        ("a", "on", '"on"'),
        ("a", "host:*", '"host:*"'),
    ],
)
def test_a_value_is_quoted_as_the_one_beside_it_and_wherever_it_must_be(beside: str, value: str, written: str) -> None:
    text = f"rules: [{beside}]\n"
    assert after(text, Addition(at(text, beside), value)) == f"rules: [{beside}, {written}]\n"


def test_the_last_entry_stays() -> None:
    text = "rules: [a]\n"
    assert after(text, Removal(at(text, "a"))) == text
    text = "rules: [a, b]\n"
    assert after(text, Removal(at(text, "a")), Removal(at(text, "b"))) == text


def test_several_edits_are_made_at_once_unless_they_touch() -> None:
    text = "one: [a, b]\ntwo: [c, d]\n"
    edits = (Removal(at(text, "a")), Addition(at(text, "d"), "x"), Addition(at(text, "d"), "z"))
    assert after(text, *edits) == "one: [b]\ntwo: [c, d, x, z]\n"


@pytest.mark.parametrize(
    "text",
    [
        "one: [&x a, b]\ntwo: [*x, c]\n",
        "one: &y\n  - a\n  - b\ntwo: *y\n",
        "one: [a, # why\n  b]\n",
        "one: ['a\n  x', b]\n",
        "one:\n  - - a\n    - b\n",
        "one:\n  - |\n    a\n  - b\n",
        "{not: yaml: a}\n",
    ],
)
def test_what_cannot_be_edited_safely_stays(text: str) -> None:
    span = at(text, "a") if "&x a" not in text else at(text, "&x a")
    assert after(text, Removal(span)) == text


def test_a_place_of_another_text_is_left_out() -> None:
    assert after(FLOW, Removal(Span("f.yaml", 7, 1, 7, 2))) == FLOW


def test_a_byte_order_mark_and_other_documents_stay() -> None:
    text = "\ufeffrules: [a, b]\n---\nother: [a]   \n"
    assert after(text, Removal(at(text[1:], "a"))) == "\ufeffrules: [b]\n---\nother: [a]   \n"


def test_ward_is_edited_too() -> None:
    text = dedent("""\
        # who reads
        policy readers in shop
          allow to request.path in ["/a", "/a"]  # twice
        """)
    second = at(text, '"/a"', nth=1, file="f.ward")
    assert after(text, Removal(second), file="f.ward") == text.replace('["/a", "/a"]', '["/a"]')
    assert after(text, Addition(second, "/b"), file="f.ward") == text.replace('"/a"]', '"/a", "/b"]')


@given(
    st.lists(st.sampled_from(["a", "'b'", '"c"', "/d", "'*'"]), min_size=2, max_size=5),
    st.booleans(),
    st.integers(0, 4),
)
def test_removing_takes_away_one_entry_and_keeps_every_comment(items: list[str], block: bool, number: int) -> None:  # noqa: FBT001  # drawn
    number %= len(items)
    if block:
        lines = [f"  - {item}  # c{index}\n" for index, item in enumerate(items)]
        text = "# top\nlist:\n" + "".join(lines) + "# end\n"
        place = Span("f.yaml", 3 + number, 5, 3 + number, 5 + len(items[number]))
        lines[number] = f"  # c{number}\n"
        assert after(text, Removal(place)) == "# top\nlist:\n" + "".join(lines) + "# end\n"
    else:
        column = len("list: [") + sum(len(item) + 2 for item in items[:number]) + 1
        text = f"list: [{', '.join(items)}]  # c\n"
        place = Span("f.yaml", 1, column, 1, column + len(items[number]))
        left = [*items[:number], *items[number + 1 :]]
        assert after(text, Removal(place)) == f"list: [{', '.join(left)}]  # c\n"
