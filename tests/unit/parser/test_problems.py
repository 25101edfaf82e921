import pytest

from authz.span import Span
from parser.problems import MAX_PROBLEMS, Problems, nearest


def place(line: int) -> Span:
    return Span("f.yaml", line, 1, line, 2)


def test_problems_are_kept_up_to_a_number_but_all_errors_count() -> None:
    problems = Problems()
    for line in range(1, 2 * MAX_PROBLEMS + 1):
        problems.error("c", "m", place(line))
    assert problems.full
    assert problems.errors == 2 * MAX_PROBLEMS
    assert [each.code for each in problems.diagnostics] == ["c"] * MAX_PROBLEMS + ["too-many-problems"]


def test_places_with_errors_are_known_and_warnings_make_none() -> None:
    problems = Problems()
    problems.error("c", "m", place(1))
    problems.warning("c", "m", place(2))
    assert [problems.error_at(place(line)) for line in (1, 2, 3)] == [True, False, False]
    assert problems.errors == 1


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("principal", "principals"),
        ("NOTPRINCIPALS", "notPrincipals"),
        ("not_principals", "notPrincipals"),
        ("zzz", None),
        ("principals" * 10, None),
    ],
)
def test_the_nearest_word_is_found_whatever_its_case(word: str, near: str | None) -> None:
    assert nearest(word, ("principals", "notPrincipals", "namespaces")) == near
