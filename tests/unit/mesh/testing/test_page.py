"""`docs/test.md` lists the words that there are, and its example is one that can be read."""

import re
from pathlib import Path

from mesh.testing.mutations import KINDS
from parser.policy_tests import REASONS, parse_policy_tests

PAGE = (Path(__file__).parents[4] / "docs" / "test.md").read_text()


def between(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_every_reason_is_there_with_its_meaning() -> None:
    rows = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in between("reasons").splitlines()[2:]]
    assert {word.strip("`"): meaning for word, meaning in rows} == dict(REASONS)


def test_every_kind_of_evasion_is_there() -> None:
    assert re.findall(r"`([a-z0-9-]+)`", between("evasions")) == list(KINDS)


def test_the_example_is_a_file_of_tests() -> None:
    (example,) = re.findall(r"^```yaml\n(policies:.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    tests = parse_policy_tests(example.encode(), "docs/test.md")
    assert [test.name for test in tests.tests] == [
        "buyers read the catalogue",
        "administration is closed",
        "no token, no entry",
    ]
