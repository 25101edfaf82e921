"""`docs/attacks.md` says what these tests do: every attack has its row, every test that it names exists, and so do its gaps."""

import re
from itertools import dropwhile, takewhile
from pathlib import Path

from authz.mesh_config import PathNormalization
from mesh.testing.mutations import GAPS

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "attacks.md").read_text()
ROWS = 40


def table(after: str) -> list[list[str]]:
    """The cells of the first table behind that heading, without its head."""
    lines = dropwhile(lambda line: not line.startswith("|"), PAGE.split(after, 1)[1].splitlines())
    _, _, *rows = takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def written(pattern: str, *, where: str = "**/*.py") -> set[str]:
    """The names of the test functions in these files."""
    names = (re.findall(rf"^def ({pattern})\(", path.read_text(), re.MULTILINE) for path in TESTS.glob(where))
    return {name for each in names for name in each}


def test_every_attack_has_its_row_and_every_row_a_test_that_there_is() -> None:
    rows = table("# Attacks")
    assert [row[0] for row in rows] == [str(number) for number in range(1, ROWS + 1)]
    there = written("test_[a-z0-9_]+")
    for number, attack, holds, named in rows:
        tests = re.findall(r"`(test_[a-z0-9_]+)`", named)
        assert attack, number
        assert holds, number
        assert tests, number
        assert set(tests) <= there, number


def test_every_test_under_the_name_of_an_attack_is_in_the_row_of_that_attack() -> None:
    rows = table("# Attacks")
    for name in written("test_(?:cve|ghsa|istio)_[a-z0-9_]+", where="attacks/*.py"):
        row = next((row for row in rows if f"`{name}`" in row[3]), None)
        if row is None:
            # Attacks on tokens that are in no list, yet worth a test.
            assert name in written("test_cve_[a-z0-9_]+", where="attacks/test_jwt_attacks.py"), name
            continue
        number = re.match(r"test_(cve_\d+_\d+|ghsa_\w{4}_\w{4}_\w{4}|istio_security_\d+_\d+)", name)
        assert number is not None
        assert number[1].replace("_", "-") in row[1].lower(), (name, row[1])


def test_the_gaps_are_those_that_the_mutations_have() -> None:
    options = [option.value for option in PathNormalization]
    expected = []
    for gap in GAPS:
        names = [name for name in options if PathNormalization(name) in gap.options]
        where = "all" if names == options else ", ".join(f"`{name}`" for name in names)
        mutation = gap.mutation.__name__.replace("_s_", "'s ").replace("_", " ")
        expected.append([mutation, f"`{gap.example}`", where, f"{gap.why} ({gap.source})"])
    assert table("## Ways to write a request otherwise") == expected
